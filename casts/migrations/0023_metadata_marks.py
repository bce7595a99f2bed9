import hashlib
from itertools import islice

import django.db.models.deletion
from django.db import migrations, models


def mark_of(account_id, name, value):
    digest = hashlib.sha256(f"{account_id}\0{name}\0{value}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def mark_old_casts(apps, schema_editor):
    """Have lists find the casts that there are."""
    cast, mark = apps.get_model("casts", "Cast"), apps.get_model("casts", "MetadataMark")
    rows = cast.objects.order_by("pk").values_list("pk", "account_id", "metadata").iterator(1000)
    marks = (
        mark(cast_id=pk, mark=one)
        for pk, account_id, metadata in rows
        for one in {mark_of(account_id, name, value) for name, value in (metadata or {}).items()}
    )
    while some := list(islice(marks, 1000)):
        mark.objects.bulk_create(some)


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0022_sealed_secrets'),
    ]

    operations = [
        migrations.CreateModel(
            name='MetadataMark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('mark', models.BigIntegerField()),
                ('cast', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='metadata_marks', to='casts.cast')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('mark', 'cast'), name='one_mark_per_entry')],
            },
        ),
        migrations.RunPython(mark_old_casts, migrations.RunPython.noop),
    ]
