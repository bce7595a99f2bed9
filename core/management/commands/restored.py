"""Tell a database that it comes from a backup, before anything works on it: see docs/how-to/backup.md."""

from typing import Any

from django.conf import settings
from django.core.management import CommandError, CommandParser
from django.utils.module_loading import import_string

from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "After a restore, before web and workers start: have what may have happened since the backup was made looked "
        "for first, so that nothing is done twice. May be repeated until they start, and not after."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--stopped", action="store_true", help="workers are stopped, though the backup has one of a minute ago"
        )

    def handle(self, **options: Any) -> None:
        # Where workers run, it would end casts whose runs can't be found, and everybody's session.
        if not options["stopped"] and not import_string(settings.READINESS["worker"])():
            raise CommandError(
                "A worker was seen in this database within a minute. This is for a restored database alone, before "
                "anything works on it: stop web and workers, wait a minute, or say --stopped."
            )
        for path in settings.RESTORED:
            self.stdout.write(import_string(path)())
