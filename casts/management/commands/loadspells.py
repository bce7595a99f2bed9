"""Create and update spells from a TOML file."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import CommandError
from django.db import transaction

from accounts import principals
from accounts.audit import log
from casts.spells import toml
from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = "Create and update spells from a TOML file (see docs/reference/spells-toml.md). All of the file, or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **options: object) -> None:
        try:
            with transaction.atomic():
                created, updated = toml.load(file)
                facts = {"created": created, "updated": updated}
                log.record(principals.of_command("loadspells"), "spells.load", after=facts)
        except toml.BadSpellFile as exc:
            raise CommandError(f"Nothing was loaded.\n{exc}") from exc
        self.stdout.write(f"created: {', '.join(created) or 'none'}; updated: {', '.join(updated) or 'none'}")
