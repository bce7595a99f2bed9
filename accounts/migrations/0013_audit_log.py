import core.ids
from django.db import migrations, models


REFUSE = {
    "postgresql": (
        """
        CREATE FUNCTION accounts_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation'; END $$;
        CREATE TRIGGER accounts_audit_no_change BEFORE UPDATE OR DELETE ON accounts_auditentry
        FOR EACH ROW EXECUTE FUNCTION accounts_audit_is_append_only();
        """,
        "DROP TRIGGER accounts_audit_no_change ON accounts_auditentry; DROP FUNCTION accounts_audit_is_append_only();",
    ),
    "sqlite": (
        """
        CREATE TRIGGER accounts_audit_no_update BEFORE UPDATE ON accounts_auditentry
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        CREATE TRIGGER accounts_audit_no_delete BEFORE DELETE ON accounts_auditentry
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        """,
        "DROP TRIGGER accounts_audit_no_update; DROP TRIGGER accounts_audit_no_delete;",
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

    dependencies = [
        ('accounts', '0012_sealed_secrets'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('account_id', models.BigIntegerField(null=True)),
                ('actor_kind', models.CharField(choices=[('key', 'key'), ('link', 'link'), ('user', 'user'), ('command', 'command')], max_length=7)),
                ('actor_id', models.CharField(blank=True, max_length=40)),
                ('actor', models.CharField(max_length=200)),
                ('action', models.CharField(max_length=60)),
                ('object_kind', models.CharField(blank=True, max_length=60)),
                ('object_id', models.CharField(blank=True, max_length=100)),
                ('before', models.JSONField(null=True)),
                ('after', models.JSONField(null=True)),
                ('address', models.GenericIPAddressField(null=True)),
                ('request_id', models.CharField(blank=True, max_length=64)),
            ],
            options={
                'verbose_name': 'entry of the audit log',
                'verbose_name_plural': 'audit log',
                'ordering': ('-id',),
                'abstract': False,
                'indexes': [models.Index(fields=['account_id', '-id'], name='audit_by_account'), models.Index(fields=['object_kind', 'object_id', '-id'], name='audit_by_object')],
            },
        ),
        migrations.RunPython(guard, unguard),
    ]
