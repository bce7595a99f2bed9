from django.apps import AppConfig
from django.db.models.signals import post_migrate

from core.db import months


class WebhooksConfig(AppConfig):
    name = "webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(months.after_migrate, sender=self)
