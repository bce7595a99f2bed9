"""Some spells' own part of the examination, while somebody waits for it."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from casts.models import Spell
from github_integration import errors
from github_integration.api import GitHub, as_configured
from github_integration.doctor import app, findings, installations, workflows
from github_integration.doctor.findings import Finding
from github_integration.doctor.once import asking_once

SECONDS = 15.0  # then nothing further is asked
TIMEOUT = 4.0  # of one try, of which a call has three


def examine(spells: list[Spell], *, keep: bool = True) -> list[Finding]:
    """Check these spells, and `keep` what their workflows declare. Where GitHub is away, the last finding says so."""
    return list(_as_far_as_it_goes(spells, keep=keep))


def _as_far_as_it_goes(spells: list[Spell], *, keep: bool) -> Iterator[Finding]:
    github = as_configured(timeout=min(TIMEOUT, settings.GITHUB_TIMEOUT))
    try:
        yield from _on_github(asking_once(github, seconds=SECONDS), spells, keep=keep)
    except errors.GitHubError as exc:
        yield findings.broken_off(exc)


def _on_github(github: GitHub, spells: list[Spell], *, keep: bool) -> Iterator[Finding]:
    who = yield from app.credentials(github)
    if who is not None:
        yield from app.permissions(who, spells, of_many=True)
        for number in installations.used(None, spells):
            yield from installations.check(github, who, number, spells)
    elif not github.personal_token:
        return  # what is wrong with the credentials has been said
    for spell in spells:
        yield from workflows.check(github, spell, keep=keep)
