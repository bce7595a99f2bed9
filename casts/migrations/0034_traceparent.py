from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("casts", "0040_storage")]

    operations = [
        migrations.AddField("cast", "traceparent", models.CharField(max_length=55, null=True)),
    ]
