"""Check the configuration against GitHub."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from django.conf import settings
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.urls import reverse

from casts.models import Spell
from github_integration import errors
from github_integration.api import github
from github_integration.doctor import app, findings, hook, installations, spell_files, workflows
from github_integration.doctor.findings import About, Finding, Level
from github_integration.doctor.once import asking_once
from github_integration.models import WorkflowTarget

PING_SECONDS = 15.0


class Command(BaseCommand):
    help = (
        "Check the App, its installations, the webhook and every active spell's workflow on GitHub, and say how to "
        "fix what is wrong. Changes nothing; but with --spell it keeps which inputs the spell's workflow declares, to "
        "check casts against. Ends with code 1 if there is a problem."
    )
    requires_system_checks = []  # what they would say is among the findings

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--spell", metavar="KEY", help="of all spells only this one, active or not")
        parser.add_argument("--ping", action="store_true", help="have GitHub send a webhook again, and judge by it")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *, spell: str | None, ping: bool, json: bool, **options: object) -> None:
        found = list(examine(spell, ping=ping))
        self.stdout.write(findings.as_json(found) if json else findings.as_text(found))
        if any(finding.level == Level.PROBLEM for finding in found):
            sys.exit(1)


def examine(key: str | None, *, ping: bool) -> Iterator[Finding]:
    """Check everything; where GitHub can't be asked any further, the last finding says so."""
    yield from settings_refused()
    spells: list[Spell] = []
    try:
        asked = Spell.objects.filter(active=True) if key is None else Spell.objects.filter(key=key)
        spells = list(asked.select_related(WorkflowTarget.relation()))
    except DatabaseError as exc:
        hint = "Is DATABASE_URL right? Then: manage.py migrate."
        yield About("Spells").problem("database", f"It can't be read: {str(exc).partition(chr(10))[0]}", hint=hint)
    else:
        if key is not None and not spells:
            raise CommandError(f"There is no spell with the key {key!r}.")
        if not spells:
            hint = "manage.py loadspells spells.toml, or the admin. See docs/how-to/write-a-spell.md."
            yield About("Spells").warning("any", "There are no active spells.", hint=hint)
        if key is None:
            yield from spell_files.check()
    try:
        yield from on_github(spells, ping=ping, keep=key is not None)
    except errors.GitHubError as exc:
        yield findings.broken_off(exc)


# Of the system checks, what is looked at on GitHub as well: the webhook secret, the App's key, no credentials at all.
SEEN_ON_GITHUB = ("spell.E001", "spell.E002", "spell.W001")


def settings_refused() -> Iterator[Finding]:
    for message in run_checks():
        if str(message.id).startswith("spell.E") and message.id not in SEEN_ON_GITHUB:
            yield About("Settings").problem(
                str(message.id), message.msg, hint=message.hint or "See docs/reference/configuration.md, “Settings”."
            )


def on_github(spells: list[Spell], *, ping: bool, keep: bool) -> Iterator[Finding]:
    """Check all that GitHub knows. Raise GitHubError where it can't be asked any further."""
    asked = asking_once(github())
    who = yield from app.credentials(asked)
    if who is not None:
        yield from app.permissions(who, spells, of_many=keep)
        for number in installations.used(settings.GITHUB_APP_INSTALLATION_ID, spells):
            yield from installations.check(asked, who, number, spells)
        yield from hook.check(
            github(),  # its log changes while we look
            who,
            address=settings.PUBLIC_URL + reverse("github-webhook"),
            secret_set=bool(settings.GITHUB_WEBHOOK_SECRETS),
            ping_seconds=PING_SECONDS if ping else 0,
        )
    elif github().personal_token:
        yield hook.of_a_token()
    else:
        message = "The installations, the webhook and the spells were not checked: GitHub does not know us."
        yield app.ABOUT.warning("the rest", message, hint="Fix the problem above, then run the doctor again.")
        return
    for spell in spells:
        yield from workflows.check(asked, spell, keep=keep)
