"""The Idempotency-Key first in its index: operators search by it alone. For its request nothing changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("casts", "0027_placed_by")]

    operations = [
        migrations.RemoveConstraint(model_name="idempotencyrecord", name="one_answer_per_key"),
        migrations.AddConstraint(
            model_name="idempotencyrecord",
            constraint=models.UniqueConstraint(fields=("key", "account", "route"), name="one_answer_per_key"),
        ),
    ]
