"""Serve Stripe's API on this machine, with test cards and no money."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

try:
    from localstripe import server
except ModuleNotFoundError as exc:
    raise CommandError(
        f"The local Stripe is not installed here ({exc.name} is missing): production leaves it out. "
        "Install requirements/local.txt."
    ) from exc


class Command(BaseCommand):
    help = "Serve Stripe's API on this machine, with test cards and no money."
    requires_system_checks = []  # it is another program that only shares our command line

    def add_arguments(self, parser: ArgumentParser) -> None:
        server.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        server.serve(options)
