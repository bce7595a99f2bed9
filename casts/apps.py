from django.apps import AppConfig


class CastsConfig(AppConfig):
    name = "casts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what operators see: it is in several files, of which Django looks for one."""
        import casts.admin.artifacts
        import casts.admin.casts
        import casts.admin.spells
        import casts.callbacks.admin  # noqa: F401 - registering is its effect
