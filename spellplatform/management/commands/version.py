"""Which version this is, for a report of a bug."""

import platform
from typing import Any

import django
from django.core.management.base import BaseCommand

from spellplatform import __version__


class Command(BaseCommand):
    help = "Print the versions of Spell Platform, Django and Python."
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        self.stdout.write(
            f"Spell Platform {__version__}, Django {django.get_version()}, Python {platform.python_version()}"
        )
