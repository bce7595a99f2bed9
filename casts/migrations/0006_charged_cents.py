
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0005_callbacks'),
    ]

    operations = [
        migrations.AddField(
            model_name='cast',
            name='charged_cents',
            field=models.PositiveIntegerField(null=True),
        ),
    ]
