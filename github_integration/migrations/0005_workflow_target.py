import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0014_answer_lost'),
        ('github_integration', '0004_recent_runs'),
    ]

    operations = [
        migrations.CreateModel(
            name='WorkflowTarget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('repository', models.CharField(blank=True, help_text='owner/name. Blank: GITHUB_REPOSITORY.', max_length=140, validators=[django.core.validators.RegexValidator('^[\\w.-]+/[\\w.-]+$', 'Write the repository as owner/name.')])),
                ('workflow_file', models.CharField(blank=True, help_text='A file in .github/workflows. Blank: GITHUB_WORKFLOW_FILE.', max_length=200, validators=[django.core.validators.RegexValidator('^[\\w.-]+\\.ya?ml$', 'Name the file in .github/workflows, such as cast.yml.')])),
                ('ref', models.CharField(blank=True, help_text='Branch or tag. Blank: GITHUB_WORKFLOW_REF.', max_length=200)),
                ('event_type', models.CharField(blank=True, help_text="For repository_dispatch: the event's type.", max_length=100)),
                ('installation_id', models.PositiveBigIntegerField(blank=True, help_text='Of the GitHub App. Blank: GITHUB_APP_INSTALLATION_ID.', null=True)),
                ('spell', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='%(class)s', to='casts.spell')),
            ],
            options={
                'verbose_name': 'workflow',
            },
        ),
    ]
