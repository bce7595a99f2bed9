from django.db import migrations, models

REFUSE = {
    "postgresql": (
        """
        CREATE FUNCTION accounts_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the ledger is append-only: book another entry' USING ERRCODE = 'restrict_violation'; END $$;
        CREATE TRIGGER accounts_ledger_no_change BEFORE UPDATE OR DELETE ON accounts_ledgerentry
        FOR EACH ROW EXECUTE FUNCTION accounts_ledger_is_append_only();
        """,
        "DROP TRIGGER accounts_ledger_no_change ON accounts_ledgerentry; DROP FUNCTION accounts_ledger_is_append_only();",
    ),
    "sqlite": (
        """
        CREATE TRIGGER accounts_ledger_no_update BEFORE UPDATE ON accounts_ledgerentry
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: book another entry'); END;
        CREATE TRIGGER accounts_ledger_no_delete BEFORE DELETE ON accounts_ledgerentry
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: book another entry'); END;
        """,
        "DROP TRIGGER accounts_ledger_no_update; DROP TRIGGER accounts_ledger_no_delete;",
    ),
}


def run(schema_editor, statements):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.connection.cursor().executescript(statements)
    else:
        schema_editor.execute(statements)


def guard(apps, schema_editor):
    """Have the database itself refuse changes of history."""
    run(schema_editor, REFUSE[schema_editor.connection.vendor][0])


def unguard(apps, schema_editor):
    run(schema_editor, REFUSE[schema_editor.connection.vendor][1])


class Migration(migrations.Migration):

    dependencies = [("accounts", "0003_fill_ledger")]

    operations = [
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.UniqueConstraint(condition=models.Q(('settles', True)), fields=('cast_id',), name='one_settlement_per_cast'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.CheckConstraint(condition=models.Q(('cents__lte', models.F('hold_cents'))), name='no_more_than_was_held'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'hold'), _negated=True), models.Q(('cents', models.F('hold_cents')), ('settles', False)), _connector='OR'), name='a_hold_settles_nothing'),
        ),
        migrations.RunPython(guard, unguard),
    ]
