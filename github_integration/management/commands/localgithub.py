"""Serve GitHub's API on this machine and run workflow files with act."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

try:
    from localgithub import server
except ModuleNotFoundError as exc:
    raise CommandError(
        f"The local GitHub is not installed here ({exc.name} is missing): production leaves it out. "
        "Install requirements/local.txt."
    ) from exc


class Command(BaseCommand):
    help = "Serve GitHub's API on this machine and run workflow files with act."
    requires_system_checks = []  # it is another program that only shares our command line

    def add_arguments(self, parser: ArgumentParser) -> None:
        server.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        server.serve(options)
