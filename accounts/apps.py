from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.rationing import refusals  # needs the models
        from core.rationing import refused

        refused.connect(refusals.note)
