from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('casts', '0010_documents'),
    ]

    operations = [
        migrations.AddField(
            model_name='castevent',
            name='by',
            field=models.CharField(blank=True, db_default='', default='', max_length=150),
        ),
        migrations.AddField(
            model_name='spell',
            name='show_input',
            field=models.BooleanField(db_default=True, default=True, help_text='The progress page shows the input to everybody who has the link. The API always gives it.'),
        ),
        migrations.AddField(
            model_name='spell',
            name='show_run',
            field=models.BooleanField(db_default=True, default=True, help_text='Callers see where its runs are: their address, and what GitHub says of them. Operators always do.'),
        ),
        migrations.AddIndex(
            model_name='cast',
            index=models.Index(models.F('spell'), condition=models.Q(('status_reason', 'dispatch_refused')), name='cast_refused'),
        ),
    ]
