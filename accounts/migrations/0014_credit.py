from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

REFUSE = {
    "postgresql": (
        """
        CREATE FUNCTION accounts_credit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'credit is append-only: book another one' USING ERRCODE = 'restrict_violation'; END $$;
        CREATE TRIGGER accounts_credit_no_change BEFORE UPDATE OR DELETE ON accounts_credit
        FOR EACH ROW EXECUTE FUNCTION accounts_credit_is_append_only();
        """,
        "DROP TRIGGER accounts_credit_no_change ON accounts_credit; DROP FUNCTION accounts_credit_is_append_only();",
    ),
    "sqlite": (
        """
        CREATE TRIGGER accounts_credit_no_update BEFORE UPDATE ON accounts_credit
        BEGIN SELECT RAISE(ABORT, 'credit is append-only: book another one'); END;
        CREATE TRIGGER accounts_credit_no_delete BEFORE DELETE ON accounts_credit
        BEGIN SELECT RAISE(ABORT, 'credit is append-only: book another one'); END;
        """,
        "DROP TRIGGER accounts_credit_no_update; DROP TRIGGER accounts_credit_no_delete;",
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


def guard_ledger_again(apps, schema_editor):
    """On SQLite a table that gets a column may be made anew, and its triggers go with the old one."""
    if schema_editor.connection.vendor == "sqlite":
        for name in ("accounts_ledger_no_update", "accounts_ledger_no_delete"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
        import_module("accounts.migrations.0004_guard_ledger").guard(apps, schema_editor)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0013_audit_log'),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, guard_ledger_again),
        migrations.AddField(
            model_name='account',
            name='billed',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text='Whether its casts are paid for from its credit.'),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='low_cents',
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='budgetperiod',
            name='cap_cents',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='budgetperiod',
            name='scope',
            field=models.CharField(choices=[('account', 'Account'), ('key', 'Key'), ('spell', 'Spell'), ('credit', 'Credit')], default='account', max_length=7),
        ),
        migrations.AddConstraint(
            model_name='budgetperiod',
            constraint=models.CheckConstraint(condition=Q(('scope', 'credit'), ('cap_cents', None), ('cap_cents__gte', 0), _connector='OR'), name='cap_is_no_debt'),
        ),
        migrations.AddConstraint(
            model_name='budgetperiod',
            constraint=models.CheckConstraint(condition=Q(Q(('scope', 'credit'), _negated=True), ('cap_cents__isnull', False), _connector='OR'), name='credit_is_a_number'),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='on_credit',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunPython(guard_ledger_again, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='ledgerentry',
            index=models.Index(condition=Q(('kind', 'capture'), ('on_credit', True)), fields=['period', 'id'], name='entry_to_bill'),
        ),
        migrations.CreateModel(
            name='Credit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credits', to='accounts.account')),
                ('kind', models.CharField(choices=[('grant', 'Grant'), ('topup', 'top-up'), ('paid', 'Paid'), ('refund', 'Refund'), ('dispute', 'Dispute'), ('won', 'dispute won')], max_length=7)),
                ('cents', models.BigIntegerField(help_text='Negative: taken back.')),
                ('source', models.CharField(help_text="What it is booked for, such as a payment's id: nothing is booked twice.", max_length=255, unique=True)),
                ('note', models.CharField(blank=True, max_length=500)),
                ('by', models.CharField(blank=True, help_text='Who granted it.', max_length=200)),
                ('at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ('-id',),
                'abstract': False,
                'constraints': [
                    models.CheckConstraint(condition=Q(('cents', 0), _negated=True), name='credit_changes_something'),
                    models.CheckConstraint(condition=Q(Q(('kind__in', ['topup', 'paid', 'won']), _negated=True), ('cents__gt', 0), _connector='OR'), name='credit_paid'),
                    models.CheckConstraint(condition=Q(Q(('kind', 'dispute'), _negated=True), ('cents__lt', 0), _connector='OR'), name='credit_disputed'),
                ],
            },
        ),
        migrations.RunPython(guard, unguard),
    ]
