"""Try the storage of artifacts, or fill it from a folder."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError

from casts.execution import moving
from core import storage
from core.numbers import counted


class Command(BaseCommand):
    help = "Try where artifacts are kept (check), or copy those of a folder into the bucket of STORAGE_URL (fill)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        what.add_parser("check", help="write, read, sign and delete a file")
        fill = what.add_parser("fill", help="copy artifacts from a folder; may be stopped and begun again")
        fill.add_argument("folder", nargs="?", type=Path, default=settings.ARTIFACT_ROOT, help="default: ARTIFACT_ROOT")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what == "check":
            self.check_storage()
        else:
            self.fill(options["folder"])

    def check_storage(self) -> None:
        try:
            for told in steps():
                self.stdout.write(f"ok: {told}")
        except (OSError, requests.RequestException) as exc:
            told = getattr(exc, "strerror", None) or type(exc).__name__  # str() may hold a signature
            raise CommandError(f"{told}. See docs/how-to/storage.md.") from None

    def fill(self, folder: Path) -> None:
        if not hasattr(default_storage, "signed_url"):
            raise CommandError("STORAGE_URL is not set: artifacts are kept in a folder as they are.")
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder that can be read.")
        found: Counter[str] = Counter()
        try:
            for moved in moving.copy_all(folder):
                found[moved.how] += 1
                if moved.how in ("missing", "damaged"):
                    where = f"{moved.artifact.cast_id}, {moved.artifact.name}"
                    self.stderr.write(f"{moved.how} in the folder: {where}")
        except OSError as exc:
            done = counted(found["copied"], "artifact")
            raise CommandError(f"{done} copied, then: {exc.strerror or type(exc).__name__}. Begin again.") from None
        self.stdout.write(
            f"{counted(found['copied'], 'artifact')} copied, {found['there']} there before, "
            f"{found['missing']} missing, {found['damaged']} damaged."
        )
        if found["missing"] or found["damaged"]:
            raise CommandError("What is missing or damaged stays as it is: its downloads fail.")


def steps() -> Iterator[str]:
    """Use the storage as artifacts do; yield what went well. Raise OSError or RequestException."""
    name, content = f"check/{secrets.token_hex(8)}", secrets.token_bytes(100_000)
    default_storage.save(name, ContentFile(content))
    try:
        yield "a file is written"
        with default_storage.open(name) as file:
            file.seek(-1000, 2)
            if file.read() != content[-1000:]:
                raise OSError(5, "What was read is not what was written")
        yield "its end is read"
        if (url := storage.signed_url(name, save_as="check")) is not None:
            answer = requests.get(url, timeout=30)
            if (answer.status_code, answer.content) != (200, content):
                raise OSError(5, f"A signed address answered {answer.status_code}")
            yield "a signed address hands it out"
            if requests.get(url.partition("?")[0], timeout=30).ok:
                raise OSError(5, "The bucket hands out files to everybody: make it private")
            yield "and only a signed one"
    finally:
        storage.discard(name)
    yield "it is deleted"
    if why := storage.trouble():
        raise OSError(5, f"It can't be listed: {why}")
    yield "the storage can be asked whether it is there"
