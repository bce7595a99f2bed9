
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0018_line_for_turns'),
    ]

    operations = [
        migrations.AddField(
            model_name='cast',
            name='links_epoch',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(models.F('id'), condition=models.Q(('links_epoch__gt', 0)), name='cast_links_revoked'),
        ),
    ]
