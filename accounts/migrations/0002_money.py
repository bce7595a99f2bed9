import datetime
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=40)),
                ('dedupe', models.CharField(max_length=200)),
                ('data', models.JSONField()),
                ('at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ('-id',),
            },
        ),
        migrations.CreateModel(
            name='BudgetCap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(choices=[('key', 'Key'), ('spell', 'Spell')], max_length=7)),
                ('ref', models.CharField(help_text="The API key's id, or the spell's key.", max_length=64)),
                ('cap_cents', models.PositiveBigIntegerField(help_text='Cents per calendar month (UTC). 0: nothing may be cast.')),
            ],
            options={
                'ordering': ('scope', 'ref'),
            },
        ),
        migrations.AlterModelOptions(
            name='budgetperiod',
            options={'ordering': ('-month', 'scope', 'ref')},
        ),
        migrations.RemoveConstraint(
            model_name='budgetperiod',
            name='one_period_per_month',
        ),
        migrations.RemoveConstraint(
            model_name='ledgerentry',
            name='one_capture_or_release_per_cast',
        ),
        migrations.AddField(
            model_name='account',
            name='require_idempotency_key',
            field=models.BooleanField(default=False, help_text='Refuse casts that come without an Idempotency-Key.'),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='ref',
            field=models.CharField(blank=True, help_text="The API key's id or the spell's key; blank: all.", max_length=64),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='scope',
            field=models.CharField(choices=[('account', 'Account'), ('key', 'Key'), ('spell', 'Spell')], default='account', max_length=7),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='api_key_id',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='booked_on',
            field=models.DateField(default=datetime.date(2000, 1, 1)),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='hold_cents',
            field=models.PositiveBigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='settles',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='spell_key',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddIndex(
            model_name='ledgerentry',
            index=models.Index(fields=['period', 'booked_on'], name='entry_by_day'),
        ),
        migrations.AddConstraint(
            model_name='budgetperiod',
            constraint=models.UniqueConstraint(fields=('account', 'month', 'scope', 'ref'), name='one_period_per_month'),
        ),
        migrations.AddField(
            model_name='accountevent',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='budgetcap',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='caps', to='accounts.account'),
        ),
        migrations.AddConstraint(
            model_name='accountevent',
            constraint=models.UniqueConstraint(fields=('account', 'dedupe'), name='told_once'),
        ),
        migrations.AddConstraint(
            model_name='budgetcap',
            constraint=models.UniqueConstraint(fields=('account', 'scope', 'ref'), name='one_cap_per_scope'),
        ),
    ]
