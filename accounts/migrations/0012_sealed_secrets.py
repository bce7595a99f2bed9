import json

from django.db import migrations, models

from core import sealing


def seal_all(apps, schema_editor):
    accounts = apps.get_model('accounts', 'Account').objects
    for key, plain in accounts.exclude(sealed_callback_secrets='').values_list('pk', 'sealed_callback_secrets'):
        secrets = json.loads(plain)
        accounts.filter(pk=key).update(sealed_callback_secrets=sealing.seal(secrets) if secrets else '')


def unseal_all(apps, schema_editor):
    accounts = apps.get_model('accounts', 'Account').objects
    for key, sealed in accounts.values_list('pk', 'sealed_callback_secrets'):
        plain = sealing.unseal(sealed) if sealed else []
        accounts.filter(pk=key).update(sealed_callback_secrets=json.dumps(plain))


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_sessions'),
    ]

    operations = [
        migrations.AlterField(
            model_name='account',
            name='callback_secrets',
            field=models.TextField(default='', editable=False),
        ),
        migrations.RenameField(
            model_name='account',
            old_name='callback_secrets',
            new_name='sealed_callback_secrets',
        ),
        migrations.RunPython(seal_all, unseal_all),
    ]
