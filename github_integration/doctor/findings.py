"""What a check found, and how a row of findings is shown."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from github_integration import errors

WIDTH = 110  # characters of a line

# Errors that are about the way to GitHub, not about what was asked: whatever comes next would meet them too.
OUTAGES = (errors.NotSent, errors.Unavailable, errors.RateLimited, errors.NotConfigured)


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. `hint` says how to fix it, and is blank only if it is all right."""

    level: Level
    subject: str
    check: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class About:
    """Makes findings about one subject."""

    subject: str

    def ok(self, check: str, message: str) -> Finding:
        """All is as it should be."""
        return Finding(Level.OK, self.subject, check, message)

    def warning(self, check: str, message: str, *, hint: str) -> Finding:
        """Casts work, but less well than they could; or it could not be checked."""
        return Finding(Level.WARNING, self.subject, check, message, hint)

    def problem(self, check: str, message: str, *, hint: str) -> Finding:
        """Something that was set up can't work like this."""
        return Finding(Level.PROBLEM, self.subject, check, message, hint)


def broken_off(exc: errors.GitHubError) -> Finding:
    """Say that GitHub could not be asked any further."""
    hint = "See https://www.githubstatus.com, and try again later. If it lasts, see docs/how-to/troubleshooting.md."
    if isinstance(exc, errors.NotConfigured):
        hint = "`manage.py connectgithub` sets them: docs/how-to/github-actions-setup.md, step 2."
    elif isinstance(exc, errors.RateLimited):
        hint = f"Try again after {exc.retry_at:%Y-%m-%d %H:%M:%S} UTC. Casts wait for that by themselves."
    elif isinstance(exc, errors.NotSent):
        hint = (
            "Is there a network, and is GITHUB_API_URL right? A proxy goes into HTTPS_PROXY, the certificate of an "
            "authority of your own into REQUESTS_CA_BUNDLE. Casts wait meanwhile, and go on by themselves."
        )
    return About("GitHub").problem("asking it", f"{exc}. Nothing further was checked.", hint=hint)


def as_json(findings: Iterable[Finding]) -> str:
    listed = list(findings)
    counted = Counter(finding.level for finding in listed)
    counts = {level.value: counted[level] for level in Level}
    return json.dumps({"counts": counts, "findings": [asdict(f) for f in listed]}, indent=2, ensure_ascii=False)


def as_text(findings: Iterable[Finding]) -> str:
    """Return the findings for people: in columns, grouped by subject in the order of their first one."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.subject, []).append(finding)
    every = [finding for group in groups.values() for finding in group]
    checks = max((len(finding.check) for finding in every), default=0)
    lines: list[str] = []
    for subject, group in groups.items():
        lines += [subject, *(line for finding in group for line in _lines(finding, checks)), ""]
    counted = Counter(finding.level for finding in every)
    return "\n".join([*lines, ", ".join(f"{level.value}: {counted[level]}" for level in Level)])


def _lines(finding: Finding, checks: int) -> Iterator[str]:
    head = f"  {finding.level.value:<9}{finding.check:<{checks}}  "
    yield from _wrapped(head, finding.message)
    if finding.hint:
        yield from _wrapped(" " * len(head) + "fix: ", finding.hint)


def _wrapped(head: str, text: str) -> list[str]:
    """Break a text into lines below each other. Names and addresses stay whole, to be copied."""
    return textwrap.wrap(
        " ".join(text.split()),
        max(WIDTH, len(head) + 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
