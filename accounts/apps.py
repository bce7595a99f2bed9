from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import sessions  # these need the models
        from accounts.audit import receivers as audited
        from accounts.pages import receivers
        from accounts.rationing import refusals
        from core.rationing import refused

        refused.connect(refusals.note)
        sessions.connect()
        receivers.connect()
        audited.connect()
