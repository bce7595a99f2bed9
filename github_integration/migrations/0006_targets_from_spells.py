from django.db import migrations

FIELDS = ('repository', 'workflow_file', 'ref', 'event_type', 'installation_id')


def from_spells(apps, schema_editor):
    Spell = apps.get_model('casts', 'Spell')
    WorkflowTarget = apps.get_model('github_integration', 'WorkflowTarget')
    WorkflowTarget.objects.bulk_create(
        WorkflowTarget(spell_id=pk, **dict(zip(FIELDS, values)))
        for pk, *values in Spell.objects.values_list('pk', *FIELDS)
    )


def to_spells(apps, schema_editor):
    Spell = apps.get_model('casts', 'Spell')
    WorkflowTarget = apps.get_model('github_integration', 'WorkflowTarget')
    for pk, *values in WorkflowTarget.objects.values_list('spell_id', *FIELDS):
        Spell.objects.filter(pk=pk).update(**dict(zip(FIELDS, values)))
    WorkflowTarget.objects.all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0014_answer_lost'),
        ('github_integration', '0005_workflow_target'),
    ]
    run_before = [
        ('casts', '0015_targets_moved'),  # which takes the columns from the spells
    ]

    operations = [
        migrations.RunPython(from_spells, to_spells),
    ]
