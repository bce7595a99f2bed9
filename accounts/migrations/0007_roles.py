
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_callback_secrets'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='membership',
            name='role',
            field=models.CharField(choices=[('owner', 'owner: everything, and who is a member'), ('admin', 'admin: API keys, caps and callbacks'), ('member', 'member: cast, and read every cast whole'), ('viewer', 'viewer: see that casts exist, their status and price, and nothing that is in them')], db_default='member', default='member', max_length=6),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['owner', 'admin', 'member', 'viewer'])), name='membership_role_known'),
        ),
    ]
