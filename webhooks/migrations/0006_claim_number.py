# The number of a row's claim is called so.

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('webhooks', '0005_one_delivery_per_guid'),
    ]

    operations = [
        migrations.RenameField(model_name='delivery', old_name='token', new_name='claim_number'),
        migrations.RenameField(model_name='deliverysweep', old_name='token', new_name='claim_number'),
    ]
