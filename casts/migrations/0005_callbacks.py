
import casts.models
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_callback_secrets'),
        ('casts', '0004_limits'),
    ]

    operations = [
        migrations.CreateModel(
            name='Callback',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('token', models.PositiveBigIntegerField(default=0, editable=False)),
                ('id', models.CharField(default=casts.models.message_id, editable=False, max_length=40, primary_key=True, serialize=False)),
                ('url', models.CharField(max_length=2000)),
                ('type', models.CharField(choices=[('cast.succeeded', 'Succeeded'), ('cast.failed', 'Failed'), ('cast.cancelled', 'Cancelled')], max_length=40)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('disabled', 'Disabled')], default='pending', max_length=10)),
                ('last_status', models.PositiveSmallIntegerField(null=True)),
                ('last_error', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField()),
                ('delivered_at', models.DateTimeField(null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='callbacks', to='accounts.account')),
                ('cast', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='callbacks', to='casts.cast')),
            ],
            options={
                'ordering': ('-id',),
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='CallbackAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('url', models.CharField(max_length=2000)),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('duration_ms', models.PositiveIntegerField()),
                ('response_excerpt', models.TextField(blank=True)),
                ('callback', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tries', to='casts.callback')),
            ],
            options={
                'ordering': ('id',),
            },
        ),
        migrations.CreateModel(
            name='CallbackEndpoint',
            fields=[
                ('id', models.CharField(default=casts.models.endpoint_id, editable=False, max_length=40, primary_key=True, serialize=False)),
                ('url', models.CharField(max_length=2000)),
                ('description', models.CharField(blank=True, max_length=200)),
                ('types', models.JSONField(default=casts.models.usual_types, help_text='Which messages it gets.')),
                ('secrets', models.JSONField(editable=False)),
                ('active', models.BooleanField(default=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_reason', models.CharField(blank=True, max_length=200)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='callback_endpoints', to='accounts.account')),
            ],
            options={
                'ordering': ('id',),
            },
        ),
        migrations.AddField(
            model_name='callback',
            name='endpoint',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='callbacks', to='casts.callbackendpoint'),
        ),
        migrations.AddIndex(
            model_name='callbackendpoint',
            index=models.Index(fields=['account', 'active'], name='endpoint_by_account'),
        ),
        migrations.AddIndex(
            model_name='callback',
            index=models.Index(models.F('due_at'), condition=models.Q(('due_at__isnull', False)), name='callback_due'),
        ),
        migrations.AddIndex(
            model_name='callback',
            index=models.Index(models.F('lease_until'), condition=models.Q(('lease_until__isnull', False)), name='callback_leased'),
        ),
        migrations.AddIndex(
            model_name='callback',
            index=models.Index(fields=['account', '-id'], name='callback_by_account'),
        ),
        migrations.AddConstraint(
            model_name='callback',
            constraint=models.UniqueConstraint(fields=('cast', 'endpoint'), name='one_callback_per_endpoint'),
        ),
        migrations.AddConstraint(
            model_name='callback',
            constraint=models.UniqueConstraint(condition=models.Q(('endpoint', None)), fields=('cast',), name='one_callback_to_its_own_url'),
        ),
    ]
