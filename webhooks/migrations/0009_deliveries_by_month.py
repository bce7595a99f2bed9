"""Deliveries have a part of their table for each month on Postgres. What is there goes on being read and written.

New ones get ids that hold their time, from the database, whichever release stores them. A GUID is unique in its part by
its key, and across all parts by a trigger, which waits for whoever is storing the same one, as a key does.
"""

from django.db import migrations

from core.db.by_month import PartByMonth
from core.ids import NUMBER_BITS, first_number

BEGIN = (
    'ALTER TABLE webhooks_delivery ALTER id DROP IDENTITY',
    'CREATE SEQUENCE webhooks_delivery_number OWNED BY webhooks_delivery.id',
    f"""
    CREATE FUNCTION webhooks_delivery_next_id() RETURNS bigint LANGUAGE sql AS $$
      SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << {NUMBER_BITS})
        | (nextval('webhooks_delivery_number') & {(1 << NUMBER_BITS) - 1})
    $$
    """,
    'ALTER TABLE webhooks_delivery ALTER id SET DEFAULT webhooks_delivery_next_id()',
    """
    CREATE FUNCTION webhooks_delivery_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(hashtextextended(NEW.guid, 9));
      IF EXISTS (SELECT 1 FROM webhooks_delivery WHERE guid = NEW.guid) THEN
        RAISE unique_violation USING MESSAGE = 'a delivery with this GUID is stored already',
          CONSTRAINT = 'one_delivery_per_guid', TABLE = 'webhooks_delivery';
      END IF;
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER webhooks_delivery_once BEFORE INSERT ON webhooks_delivery
    FOR EACH ROW EXECUTE FUNCTION webhooks_delivery_once()
    """,
)
END = (
    'DROP TRIGGER webhooks_delivery_once ON webhooks_delivery',
    'DROP FUNCTION webhooks_delivery_once()',
    'ALTER TABLE webhooks_delivery ALTER id DROP DEFAULT',
    'DROP FUNCTION webhooks_delivery_next_id()',
)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('webhooks', '0008_happened_and_swept'),
    ]

    operations = [
        PartByMonth(
            'delivery',
            'id',
            first_number,
            keys={'one_delivery_per_guid': 'UNIQUE (guid)'},
            also=BEGIN,
            undo=END,
        ),
    ]
