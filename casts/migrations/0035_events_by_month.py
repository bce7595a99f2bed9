"""Events have a part of their table for each month on Postgres. What is there goes on being read and written."""

from django.db import migrations

from core.db.by_month import PartByMonth
from core.ids import first_id


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('casts', '0036_retention'),
    ]

    operations = [
        PartByMonth(
            'castevent',
            'cast_id',
            first_id,
            keys={'casts_castevent_pkey': 'PRIMARY KEY (id)'},
            references={
                'casts_castevent_cast_id_1343708a_fk_casts_cast_id':
                    'FOREIGN KEY (cast_id) REFERENCES casts_cast(id) DEFERRABLE INITIALLY DEFERRED',
            },
        ),
    ]
