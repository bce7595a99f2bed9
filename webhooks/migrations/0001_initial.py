
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('token', models.PositiveBigIntegerField(default=0, editable=False)),
                ('guid', models.CharField(max_length=64, unique=True)),
                ('event', models.CharField(max_length=40)),
                ('action', models.CharField(blank=True, max_length=40)),
                ('repository', models.CharField(blank=True, max_length=140)),
                ('run_id', models.BigIntegerField(blank=True, null=True)),
                ('body', models.TextField()),
                ('received_at', models.DateTimeField()),
                ('repeats', models.PositiveIntegerField(default=0)),
                ('outcome', models.CharField(choices=[('pending', 'Pending'), ('applied', 'Applied'), ('nothing_new', 'Nothing New'), ('not_ours', 'Not Ours')], default='pending', max_length=12)),
                ('applied_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ('-id',),
                'abstract': False,
                'indexes': [models.Index(models.F('due_at'), condition=models.Q(('due_at__isnull', False)), name='delivery_due'), models.Index(models.F('lease_until'), condition=models.Q(('lease_until__isnull', False)), name='delivery_leased'), models.Index(models.F('run_id'), name='delivery_by_run')],
            },
        ),
    ]
