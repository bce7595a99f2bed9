"""Make spells of the workflows that a repository has."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from accounts import principals
from accounts.models import Account
from core.commands import DatabaseCommand
from github_integration.importing import ImportFailed, Preview, Result, apply, preview
from github_integration.importing.telling import details_of, example_of, table_of
from github_integration.importing.writing import OtherFile, as_toml, write


class Command(DatabaseCommand):
    help = (
        "Make a spell of each workflow of a repository that has workflow_dispatch, with the schema of its inputs; or "
        "bring such spells up to date. What a person has changed since the last import stays. All or nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("repository", help="owner/name, or its address")
        parser.add_argument(
            "--workflow", action="append", default=[], metavar="FILE", help="only this file, such as deploy.yml; again"
        )
        parser.add_argument("--ref", default="", help="branch or tag to read and to cast at; else the default branch")
        parser.add_argument("--dry-run", action="store_true", help="show what would be made and changed, do nothing")
        parser.add_argument(
            "--write", type=Path, metavar="FILE", help="write the spells to this file too, as loadspells takes them"
        )
        parser.add_argument("--account", metavar="NAME", help="whose new spells are: only its keys cast them")
        parser.add_argument("--prefix", default="", help="what the keys of new spells begin with, such as shop-")
        parser.add_argument(
            "--key", action="append", default=[], metavar="FILE=KEY", help="the key of one file's spell; again"
        )

    def handle(
        self,
        *,
        repository: str,
        workflow: list[str],
        ref: str,
        dry_run: bool,
        write: Path | None,
        account: str | None,
        prefix: str,
        key: list[str],
        **options: object,
    ) -> None:
        whose = None if account is None else account_named(account)
        how: dict[str, Any] = {"keys": dict(map(pair, key)), "prefix": prefix}
        try:
            seen = preview(repository, ref, files=workflow, **how)
            self.tell(seen)
            if seen.problems:
                hint = "Choose with --key FILE=KEY, with --prefix, or leave files out by naming others with --workflow."
                raise CommandError("\n".join(["Nothing was imported.", *seen.problems, hint]))
            text = as_toml(seen)
            with transaction.atomic():  # both, or neither
                by = principals.of_command("importspells")
                result = None if dry_run else apply(seen, by=by, account=whose, **how)
                if write is not None:
                    write_file(write, text)
        except ImportFailed as exc:
            raise CommandError(f"Nothing was imported.\n{exc}") from exc
        if write is not None:
            self.stdout.write(f"\nWritten to {write}, as loadspells takes it.")
        self.say_what_next(seen, result)

    def tell(self, seen: Preview) -> None:
        source, number = seen.source, len(seen.source.workflows)
        self.stdout.write(f"{source.repository} at {source.ref}: {number} workflow{'s' * (number != 1)}.")
        for note in source.notes:
            self.stdout.write(f"Note: {note}")
        self.stdout.write(table_of(seen.found))
        self.stdout.write(details_of(seen.found))

    def say_what_next(self, seen: Preview, result: Result | None) -> None:
        if result is None:
            self.stdout.write("\nA dry run: nothing was changed.")
            return
        counts = {"created": result.created, "changed": result.changed, "unchanged": result.unchanged}
        self.stdout.write("\n" + "; ".join(f"{word}: {', '.join(keys) or 'none'}" for word, keys in counts.items()))
        first = next((one for one in seen.found if one.key in result.created), None)
        if first is not None and first.values is not None:
            body = {"spell_key": first.key, "input": example_of(first.values["input_schema"])}
            self.stdout.write(
                "\nCast it, with your API key for KEY (createapikey ACCOUNT makes one; the rest of its input: GET "
                f"/api/v1/spells/{first.key}):\n\n"
                f"curl -sS {settings.PUBLIC_URL}/api/v1/cast -H 'Authorization: Bearer KEY' "
                f"-H 'Content-Type: application/json' -H 'Prefer: wait=60' "
                f"-d {shlex.quote(json.dumps(body, ensure_ascii=True))}"
            )


def account_named(name: str) -> Account:
    if (found := Account.objects.filter(name=name).first()) is None:
        names = ", ".join(Account.objects.order_by("name").values_list("name", flat=True)[:20]) or "none"
        raise CommandError(f"There is no account {name!r}. There are: {names}.")
    return found


def pair(given: str) -> tuple[str, str]:
    file, cut, key = given.partition("=")
    if not (file and cut and key):
        raise CommandError(f"--key {given!r}: write FILE=KEY, such as deploy.yml=deploy-shop.")
    return file, key


def write_file(path: Path, text: str) -> None:
    try:
        write(path, text)
    except OtherFile as exc:
        raise CommandError(str(exc)) from exc
    except OSError as exc:
        raise CommandError(f"{path} can't be written: {exc.strerror}.") from exc
