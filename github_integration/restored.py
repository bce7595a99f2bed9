"""After a restore: runs on GitHub of casts that were accepted after the backup was made, and are gone."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

from django.db.models import Max
from django.utils import timezone

from casts.lifecycle.binding import RUN_TAG
from casts.models import Cast
from casts.runtime import Observation
from github_integration import errors
from github_integration.api import Repository, github
from github_integration.models import PERSONAL, WorkflowTarget

MOST_PAGES = 10  # GitHub gives a thousand runs at most
OVERLAP = dt.timedelta(minutes=15)


def tell_orphans() -> str:
    """Name the runs that carry the tag of a cast that is not in the database, since its newest cast was accepted."""
    newest = Cast.objects.aggregate(newest=Max("created_at"))["newest"]
    since = (newest or timezone.now() - dt.timedelta(days=1)) - OVERLAP
    lines: list[str] = []
    troubles: list[str] = []
    for installation, name, event in sorted(places()):
        try:
            found = orphans(github().repository(installation, name), event, since)
            lines += [f"  {seen.url} {seen.title}" for seen in found]
        except errors.GitHubError as exc:
            troubles.append(f"Whether {name} has runs of casts that are gone, GitHub does not tell: {exc}")
    if lines:
        lines.insert(0, "GitHub has runs of casts that were accepted after the backup, and are gone:")
    return "\n".join([*lines, *troubles]) or "GitHub has no runs of casts that are gone."


def places() -> set[tuple[int, str, str]]:
    """Return where spells run: through which installation, in which repository, and by which event."""
    found = set()
    for target in WorkflowTarget.objects.select_related("spell"):
        installation = PERSONAL if github().personal_token else (target.installation_used or PERSONAL)
        found.add((installation, target.repository_used.lower(), target.spell.runtime))
    return found


def orphans(repository: Repository, event: str, since: dt.datetime) -> Iterator[Observation]:
    for page in range(1, MOST_PAGES + 1):
        runs = repository.runs(event=event, page=page, created=f">={since:%Y-%m-%dT%H:%M:%SZ}")
        tagged = [(seen, uuid.UUID(tags[0])) for seen in runs if (tags := RUN_TAG.findall(seen.title))]
        known = set(Cast.objects.filter(pk__in=[cast for _, cast in tagged]).values_list("pk", flat=True))
        yield from (seen for seen, cast in tagged if cast not in known)
        if len(runs) < 100:
            return
