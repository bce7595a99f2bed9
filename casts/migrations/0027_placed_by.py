# Members cast in the browser, without a key.

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


# On SQLite the column is taken away by making the table anew, which a trigger of another table that reads this one
# (github_integration 0010) would not survive: on the way back such are laid aside, and put back as they were.
aside: list[str] = []


def lay_triggers_aside(apps, schema_editor):
    if schema_editor.connection.vendor != 'sqlite':
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%casts_cast%'")
        found = cursor.fetchall()
        aside[:] = [sql for _, sql in found]
        for name, _ in found:
            cursor.execute(f'DROP TRIGGER "{name}"')


def put_triggers_back(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        while aside:
            cursor.execute(aside.pop())


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0030_test_event'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, put_triggers_back),
        migrations.AddField(
            model_name='cast',
            name='placed_by',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(fields=['placed_by', 'account', '-id'], condition=Q(placed_by__isnull=False), name='cast_by_member'),
        ),
        migrations.RunPython(migrations.RunPython.noop, lay_triggers_aside),
    ]
