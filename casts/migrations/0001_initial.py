
import core.ids
import casts.models
import django.core.validators
import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Spell',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='The name that callers use.', max_length=64, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9][a-z0-9._-]*$', 'Use lower-case letters, digits, dots, dashes, and _.')])),
                ('name', models.CharField(max_length=100)),
                ('description', models.TextField(blank=True)),
                ('active', models.BooleanField(default=True, help_text='An inactive spell is not found; its casts go on.')),
                ('runtime', models.CharField(choices=[('workflow_dispatch', 'workflow_dispatch (one workflow file)'), ('repository_dispatch', 'repository_dispatch (an event type)')], default='workflow_dispatch', max_length=32)),
                ('repository', models.CharField(blank=True, help_text='owner/name. Blank: GITHUB_REPOSITORY.', max_length=140, validators=[django.core.validators.RegexValidator('^[\\w.-]+/[\\w.-]+$', 'Write the repository as owner/name.')])),
                ('workflow_file', models.CharField(blank=True, help_text='A file in .github/workflows. Blank: GITHUB_WORKFLOW_FILE.', max_length=200, validators=[django.core.validators.RegexValidator('^[\\w.-]+\\.ya?ml$', 'Name the file in .github/workflows, such as cast.yml.')])),
                ('ref', models.CharField(blank=True, help_text='Branch or tag. Blank: GITHUB_WORKFLOW_REF.', max_length=200)),
                ('event_type', models.CharField(blank=True, help_text="For repository_dispatch: the event's type.", max_length=100)),
                ('installation_id', models.PositiveBigIntegerField(blank=True, help_text='Of the GitHub App. Blank: GITHUB_APP_INSTALLATION_ID.', null=True)),
                ('input_schema', models.JSONField(blank=True, default=dict, help_text='JSON Schema 2020-12', validators=[casts.models.valid_schema])),
                ('output_schema', models.JSONField(blank=True, help_text='Of result.json. Blank: anything goes.', null=True, validators=[casts.models.valid_schema])),
                ('price_cents', models.PositiveIntegerField(default=0)),
                ('carries_token', models.BooleanField(default=False, editable=False)),
                ('charge_failed_runs', models.BooleanField(default=True, help_text='Take the price also when the run itself fails. What never ran is never charged.')),
                ('timeout_seconds', models.PositiveIntegerField(default=21600, help_text='A run may take this long.', validators=[django.core.validators.MinValueValidator(1)])),
                ('ttl_seconds', models.PositiveIntegerField(default=86400, help_text='A cast must start in this time.', validators=[django.core.validators.MinValueValidator(1)])),
                ('artifact_retention_days', models.PositiveIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ('key',),
            },
        ),
        migrations.CreateModel(
            name='Cast',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('token', models.PositiveBigIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('input', models.JSONField()),
                ('metadata', models.JSONField(default=dict)),
                ('callback_url', models.URLField(blank=True, max_length=2000)),
                ('cost_cents', models.PositiveIntegerField()),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=10)),
                ('status_reason', models.CharField(default='accepted', max_length=40)),
                ('message', models.CharField(default='Accepted; waiting for a worker.', max_length=500)),
                ('progress', models.PositiveSmallIntegerField(default=0)),
                ('step_name', models.CharField(blank=True, max_length=300)),
                ('last_seq', models.PositiveIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('dispatch_attempts', models.PositiveSmallIntegerField(default=0)),
                ('dispatch_started_at', models.DateTimeField(null=True)),
                ('dispatched_at', models.DateTimeField(null=True)),
                ('repository', models.CharField(max_length=140)),
                ('run_id', models.BigIntegerField(null=True)),
                ('run_attempt', models.PositiveIntegerField(null=True)),
                ('run_url', models.URLField(blank=True, max_length=500)),
                ('observation', models.JSONField(null=True)),
                ('jobs', models.JSONField(default=list)),
                ('run_finished_at', models.DateTimeField(null=True)),
                ('cancel_requested_at', models.DateTimeField(null=True)),
                ('cancel_reason', models.CharField(blank=True, max_length=40)),
                ('cancel_asked_at', models.DateTimeField(null=True)),
                ('cancel_forced_at', models.DateTimeField(null=True)),
                ('error', models.JSONField(null=True)),
                ('output', models.JSONField(null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='casts', to='accounts.account')),
                ('api_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='casts', to='accounts.apikey')),
                ('spell', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='casts', to='casts.spell')),
            ],
            options={
                'ordering': ('-id',),
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Artifact',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('token', models.PositiveBigIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=300)),
                ('remote_id', models.BigIntegerField()),
                ('remote_digest', models.CharField(blank=True, max_length=80)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('stored', 'Stored'), ('failed', 'Failed'), ('expired', 'Expired')], default='pending', max_length=10)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('file', models.FileField(blank=True, max_length=300, upload_to='')),
                ('file_name', models.CharField(blank=True, max_length=310)),
                ('size_bytes', models.PositiveBigIntegerField(null=True)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('stored_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('cast', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='artifacts', to='casts.cast')),
            ],
            options={
                'ordering': ('name',),
                'abstract': False,
                'indexes': [models.Index(models.F('due_at'), condition=models.Q(('due_at__isnull', False)), name='artifact_due'), models.Index(models.F('lease_until'), condition=models.Q(('lease_until__isnull', False)), name='artifact_leased')],
                'constraints': [models.UniqueConstraint(fields=('cast', 'name'), name='one_artifact_per_name')],
            },
        ),
        migrations.CreateModel(
            name='CastEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seq', models.PositiveIntegerField()),
                ('kind', models.CharField(max_length=40)),
                ('data', models.JSONField()),
                ('at', models.DateTimeField()),
                ('cast', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='casts.cast')),
            ],
            options={
                'ordering': ('cast_id', 'seq'),
                'constraints': [models.UniqueConstraint(fields=('cast', 'seq'), name='one_event_per_number')],
            },
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(models.F('due_at'), condition=models.Q(('due_at__isnull', False)), name='cast_due'),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(models.F('lease_until'), condition=models.Q(('lease_until__isnull', False)), name='cast_leased'),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(fields=['account', '-id'], name='cast_by_account'),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(models.F('repository'), condition=models.Q(('run_id', None), ('status', 'queued')), name='cast_runless'),
        ),
        migrations.AddConstraint(
            model_name='cast',
            constraint=models.UniqueConstraint(fields=('run_id', 'repository'), name='one_cast_per_run'),
        ),
        migrations.AddConstraint(
            model_name='cast',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['queued', 'running', 'succeeded', 'failed', 'cancelled'])), name='cast_status_known'),
        ),
        migrations.AddConstraint(
            model_name='cast',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('status__in', ['succeeded', 'failed', 'cancelled'])), models.Q(('finished_at', None), ('status__in', ['queued', 'running'])), _connector='OR'), name='cast_final_iff_finished'),
        ),
    ]
