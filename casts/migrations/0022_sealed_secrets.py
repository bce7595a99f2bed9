import json

from django.db import migrations, models

from core import sealing


def seal_all(apps, schema_editor):
    endpoints = apps.get_model('casts', 'CallbackEndpoint').objects
    for key, plain in endpoints.exclude(sealed_secrets='').values_list('pk', 'sealed_secrets'):
        secrets = json.loads(plain)
        endpoints.filter(pk=key).update(sealed_secrets=sealing.seal(secrets) if secrets else '')


def unseal_all(apps, schema_editor):
    endpoints = apps.get_model('casts', 'CallbackEndpoint').objects
    for key, sealed in endpoints.values_list('pk', 'sealed_secrets'):
        plain = sealing.unseal(sealed) if sealed else []
        endpoints.filter(pk=key).update(sealed_secrets=json.dumps(plain))


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0021_failed_steps'),
    ]

    operations = [
        migrations.AlterField(
            model_name='callbackendpoint',
            name='secrets',
            field=models.TextField(default='', editable=False),
        ),
        migrations.RenameField(
            model_name='callbackendpoint',
            old_name='secrets',
            new_name='sealed_secrets',
        ),
        migrations.RunPython(seal_all, unseal_all),
    ]
