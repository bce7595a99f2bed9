from django.apps import AppConfig


class SpellPlatformConfig(AppConfig):
    name = "spellplatform"

    def ready(self) -> None:
        from spellplatform import checks  # noqa: F401 - registering is its effect
