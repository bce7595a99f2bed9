
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_money'),
        ('casts', '0002_defaults_from_settings'),
    ]

    operations = [
        migrations.AddField(
            model_name='cast',
            name='retry_of',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='retries', to='casts.cast'),
        ),
        migrations.CreateModel(
            name='IdempotencyRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('route', models.CharField(max_length=60)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('body', models.JSONField()),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='accounts.account')),
            ],
            options={
                'indexes': [models.Index(models.F('created_at'), name='idempotency_age')],
                'constraints': [models.UniqueConstraint(fields=('account', 'route', 'key'), name='one_answer_per_key')],
            },
        ),
    ]
