# Columns and a table are named by what they hold.

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0016_run_scope_and_key'),
    ]

    operations = [
        migrations.RenameField(model_name='artifact', old_name='token', new_name='claim_number'),
        migrations.RenameField(model_name='callback', old_name='token', new_name='claim_number'),
        migrations.RenameField(model_name='cast', old_name='token', new_name='claim_number'),
        migrations.RenameField(model_name='cast', old_name='turn_at', new_name='pace_at'),
        migrations.RenameField(model_name='spell', old_name='carries_token', new_name='tags_runs'),
        migrations.RenameModel(old_name='SpellTurn', new_name='SlotOrder'),
    ]
