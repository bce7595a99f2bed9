from django.apps import AppConfig


class CastsConfig(AppConfig):
    name = "casts"
    default_auto_field = "django.db.models.BigAutoField"
