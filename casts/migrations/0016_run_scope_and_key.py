# A run's id is text, and unique within a scope: not every runtime has repositories and numbers.

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0015_targets_moved'),
    ]

    operations = [
        migrations.RemoveConstraint(model_name='cast', name='one_cast_per_run'),
        migrations.RemoveIndex(model_name='cast', name='cast_runless'),
        migrations.RenameField(model_name='cast', old_name='repository', new_name='run_scope'),
        migrations.RenameField(model_name='cast', old_name='run_id', new_name='run_key'),
        migrations.AlterField(
            model_name='cast',
            name='run_key',
            field=models.CharField(max_length=100, null=True),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index('run_scope', condition=Q(run_key=None, status='queued'), name='cast_runless'),
        ),
        migrations.AddConstraint(
            model_name='cast',
            constraint=models.UniqueConstraint(fields=('run_key', 'run_scope'), name='one_cast_per_run'),
        ),
    ]
