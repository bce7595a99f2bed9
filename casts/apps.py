from django.apps import AppConfig
from django.db.models.signals import post_migrate

from core.db import months


class CastsConfig(AppConfig):
    name = "casts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Django finds `casts.admin` by itself, but not the modules in it, nor those elsewhere.
        import casts.admin.artifacts
        import casts.admin.caps
        import casts.admin.casts
        import casts.admin.retention
        import casts.admin.spells
        import casts.alarms.admin
        import casts.callbacks.admin  # noqa: F401 - registering is its effect
        from casts import versions

        versions.connect()
        post_migrate.connect(months.after_migrate, sender=self)
