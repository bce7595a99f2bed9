
import casts.models
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='spell',
            name='artifact_retention_days',
            field=models.PositiveIntegerField(default=casts.models.standard_retention, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AlterField(
            model_name='spell',
            name='timeout_seconds',
            field=models.PositiveIntegerField(default=casts.models.standard_timeout, help_text='A run may take this long.', validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AlterField(
            model_name='spell',
            name='ttl_seconds',
            field=models.PositiveIntegerField(default=casts.models.standard_ttl, help_text='A cast must start in this time.', validators=[django.core.validators.MinValueValidator(1)]),
        ),
    ]
