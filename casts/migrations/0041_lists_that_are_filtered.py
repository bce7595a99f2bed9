from django.db import migrations, models

from core.db.online import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('casts', '0035_events_by_month'),
    ]

    operations = [
        AddIndexOnline(
            model_name='cast',
            index=models.Index(fields=['account', 'spell', '-id'], name='cast_by_spell'),
        ),
        AddIndexOnline(
            model_name='cast',
            index=models.Index(condition=models.Q(('status', 'succeeded'), _negated=True), fields=['account', 'status', '-id'], name='cast_by_status'),
        ),
    ]
