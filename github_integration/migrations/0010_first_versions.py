from django.db import migrations

BEFORE_TARGET = ('name', 'description', 'runtime')
OF_TARGET = ('repository', 'workflow_file', 'ref', 'event_type', 'input_mapping', 'matching', 'installation_id')
AFTER_TARGET = (
    *('input_schema', 'output_schema', 'result_artifact', 'result_file', 'price_cents', 'charge_failed_runs'),
    *('max_running', 'timeout_seconds', 'ttl_seconds', 'artifact_retention_days', 'show_run', 'show_input'),
)
LEARNT = ('declared_inputs',)


def first_versions(apps, schema_editor):
    """Keep what each spell is now as its version 1. Casts of before have none, and run as their spell says."""
    Spell = apps.get_model('casts', 'Spell')
    SpellVersion = apps.get_model('casts', 'SpellVersion')
    Target = apps.get_model('github_integration', 'WorkflowTarget')
    for pk in list(Spell.objects.filter(version=0).order_by('pk').values_list('pk', flat=True)):
        spell = Spell.objects.get(pk=pk)
        target = Target.objects.filter(spell=spell).first() or Target(spell=spell)
        rows = [*((name, spell) for name in BEFORE_TARGET), *((name, target) for name in OF_TARGET)]
        rows += [*((name, spell) for name in AFTER_TARGET), *((name, target) for name in LEARNT)]
        definition = {name: getattr(row, name) for name, row in rows}
        SpellVersion.objects.create(spell=spell, number=1, definition=definition, created_at=spell.updated_at)
        Spell.objects.filter(pk=pk).update(version=1)


# Of a table of `casts`: what is in it needs the targets, so all that is done to it is done here.
REFUSE = {
    'postgresql': (
        """
        CREATE FUNCTION casts_versions_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'versions of spells are append-only' USING ERRCODE = 'restrict_violation'; END $$;
        CREATE TRIGGER casts_versions_no_update BEFORE UPDATE ON casts_spellversion
        FOR EACH ROW EXECUTE FUNCTION casts_versions_are_append_only();
        CREATE FUNCTION casts_versions_are_of_casts() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT 1 FROM casts_cast WHERE spell_id = OLD.spell_id) THEN
                RAISE EXCEPTION 'versions of spells that were cast are append-only'
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN OLD;
        END $$;
        CREATE TRIGGER casts_versions_no_delete BEFORE DELETE ON casts_spellversion
        FOR EACH ROW EXECUTE FUNCTION casts_versions_are_of_casts();
        """,
        """
        DROP TRIGGER casts_versions_no_update ON casts_spellversion;
        DROP TRIGGER casts_versions_no_delete ON casts_spellversion;
        DROP FUNCTION casts_versions_are_append_only();
        DROP FUNCTION casts_versions_are_of_casts();
        """,
    ),
    'sqlite': (
        """
        CREATE TRIGGER casts_versions_no_update BEFORE UPDATE ON casts_spellversion
        BEGIN SELECT RAISE(ABORT, 'versions of spells are append-only'); END;
        CREATE TRIGGER casts_versions_no_delete BEFORE DELETE ON casts_spellversion
        WHEN EXISTS (SELECT 1 FROM casts_cast WHERE spell_id = OLD.spell_id)
        BEGIN SELECT RAISE(ABORT, 'versions of spells that were cast are append-only'); END;
        """,
        'DROP TRIGGER casts_versions_no_update; DROP TRIGGER casts_versions_no_delete;',
    ),
}


def run(schema_editor, statements):
    if schema_editor.connection.vendor == 'sqlite':
        schema_editor.connection.cursor().executescript(statements)
    else:
        schema_editor.execute(statements)


def guard(apps, schema_editor):
    """Have the database itself refuse changes of history."""
    run(schema_editor, REFUSE[schema_editor.connection.vendor][0])


def unguard(apps, schema_editor):
    run(schema_editor, REFUSE[schema_editor.connection.vendor][1])


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0024_versions'),
        ('github_integration', '0009_exclusive_start'),
    ]

    operations = [
        migrations.RunPython(guard, unguard),
        migrations.RunPython(first_versions, migrations.RunPython.noop),
    ]
