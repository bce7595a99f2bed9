from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from github_integration.local import server


class Command(BaseCommand):
    """The local GitHub as a command of the project."""

    help = "Serve GitHub's API on this machine and run workflow files with act."
    requires_system_checks = []  # it is another program that only shares our command line

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the same arguments as python -m github_integration.local."""
        server.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped."""
        server.serve(options)
