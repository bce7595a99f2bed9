"""Tell a database that it comes from a backup, before anything works on it: see docs/how-to/backup.md."""

from django.conf import settings
from django.utils.module_loading import import_string

from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "After a restore, before web and workers start: have what may have happened since the backup was made looked "
        "for first, so that nothing is done twice. May be repeated until they start, and not after."
    )

    def handle(self, **options: object) -> None:
        for path in settings.RESTORED:
            self.stdout.write(import_string(path)())
