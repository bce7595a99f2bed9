from django.apps import AppConfig
from django.contrib.admin import apps


class SpellPlatformConfig(AppConfig):
    name = "spellplatform"
    default = True

    def ready(self) -> None:
        from spellplatform import alarm_checks, billing_checks, checks, storage_checks  # noqa: F401 - registering is their effect


class ConsoleConfig(apps.AdminConfig):
    """The admin, on a site of our own."""

    default = False
    default_site = "accounts.pages.console.Console"
