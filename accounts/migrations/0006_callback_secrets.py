
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_limits'),
    ]

    operations = [
        migrations.AddField(
            model_name='account',
            name='callback_secrets',
            field=models.JSONField(default=list, editable=False),
        ),
    ]
