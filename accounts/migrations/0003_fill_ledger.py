from django.db import migrations
from django.db.models import F, Q


def fill(apps, schema_editor):
    """Give entries from before their hold, their day, and which of them settled. Until then all took the whole hold."""
    entries = apps.get_model("accounts", "LedgerEntry").objects
    entries.update(hold_cents=F("cents"), booked_on=F("at__date"))
    entries.filter(~Q(kind="hold")).update(settles=True)


class Migration(migrations.Migration):

    dependencies = [("accounts", "0002_money")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
