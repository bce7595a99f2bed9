
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_limits'),
        ('casts', '0003_idempotency_and_retry'),
    ]

    operations = [
        migrations.CreateModel(
            name='SpellTurn',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('served_at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='spell',
            name='max_running',
            field=models.PositiveIntegerField(blank=True, help_text='How many of its casts may run at once, of all accounts together. Blank: any number.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(condition=models.Q(('status__in', ['queued', 'running'])), fields=['spell', 'account'], name='cast_open'),
        ),
        migrations.AddField(
            model_name='spellturn',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='accounts.account'),
        ),
        migrations.AddField(
            model_name='spellturn',
            name='spell',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='casts.spell'),
        ),
        migrations.AddConstraint(
            model_name='spellturn',
            constraint=models.UniqueConstraint(fields=('spell', 'account'), name='one_turn_per_account'),
        ),
    ]
