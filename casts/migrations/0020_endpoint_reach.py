import accounts.models
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0019_links_epoch'),
    ]

    operations = [
        migrations.AddField(
            model_name='callbackendpoint',
            name='contents',
            field=models.BooleanField(db_default=True, default=True, help_text='Whether messages hold all of a cast, or only its id and its status.'),
        ),
        migrations.AddField(
            model_name='callbackendpoint',
            name='spell_keys',
            field=models.JSONField(blank=True, help_text='The only spells whose casts it is told of.', null=True, validators=[accounts.models.valid_spell_keys]),
        ),
    ]
