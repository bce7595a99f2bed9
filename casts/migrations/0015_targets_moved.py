# Where a spell runs is its runtime's: github_integration 0006 has moved it there.

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0014_answer_lost'),
    ]

    operations = [
        migrations.RemoveField(model_name='spell', name='repository'),
        migrations.RemoveField(model_name='spell', name='workflow_file'),
        migrations.RemoveField(model_name='spell', name='ref'),
        migrations.RemoveField(model_name='spell', name='event_type'),
        migrations.RemoveField(model_name='spell', name='installation_id'),
    ]
