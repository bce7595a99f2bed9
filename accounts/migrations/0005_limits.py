
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_guard_ledger'),
    ]

    operations = [
        migrations.AddField(
            model_name='account',
            name='max_running',
            field=models.PositiveIntegerField(blank=True, help_text='How many of its casts may run at once. Blank: any number.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
    ]
