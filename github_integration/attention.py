"""What needs an operator: installations that are left alone, or are gone."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.admin.attention import Section, Trouble, User, buttons, listed, may, trouble_filter
from github_integration.models import PERSONAL, Installation, WorkflowTarget
from github_integration.quota import FAILURES_BEFORE_PAUSE, is_paused

WORDS = {"any": "left alone, suspended, removed or not answered"}


def troubled(installations: QuerySet[Any]) -> QuerySet[Any]:
    """Return those that keep casts from going out. A removed or suspended one counts while an active spell needs it."""
    named = WorkflowTarget.objects.filter(spell__active=True).exclude(installation_id=None)
    needed = Q(pk__in=named.values("installation_id"))
    if settings.GITHUB_APP_INSTALLATION_ID:
        needed |= Q(pk=settings.GITHUB_APP_INSTALLATION_ID)
    lost = Q(suspended_at__isnull=False) | Q(removed_at__isnull=False)
    kept_back = Q(paused_until__gt=timezone.now()) | Q(failures__gte=FAILURES_BEFORE_PAUSE)
    found: QuerySet[Any] = installations.filter((lost & needed) | (kept_back & ~lost))
    return found


InstallationTroubles = trouble_filter(WORDS, lambda rows, word: troubled(rows))


def installations(user: User) -> Section | None:
    """Tell of installations that are rate limited, suspended, removed or not answered for."""
    if not may(user, "github_integration.view_installation"):
        return None
    allowed = may(user, "github_integration.change_installation")
    found = troubled(Installation.objects.order_by("pk"))
    return Section("Installations", tuple(installation_trouble(row, allowed=allowed) for row in found))


def installation_trouble(row: Installation, *, allowed: bool) -> Trouble:
    """Return what to say of one installation, the worst first."""
    name = "The personal token" if row.pk == PERSONAL else f"Installation {row.pk}"
    name += f" ({row.account_login})" if row.account_login else ""
    since: dt.datetime | None = None
    if row.removed_at:
        state, since = "is gone: the App was uninstalled, or the id is wrong", row.removed_at
        advice = "Install the App again, or correct the id in the spells or in GITHUB_APP_INSTALLATION_ID. Then resume."
    elif row.suspended_at:
        state, since = "is suspended", row.suspended_at
        advice = "Its owner must end that on GitHub. It is tried again each minute."
    elif is_paused(row) and row.pause_reason == Installation.Pause.RATE_LIMITED:
        assert row.paused_until is not None
        state = f"is rate limited until {row.paused_until.astimezone(dt.UTC):%H:%M:%S} UTC"
        advice = "It goes on by itself. Calling earlier than GitHub asked can lengthen the limit: resume only to try."
    else:
        state = f"got no answer from GitHub {row.failures} times in a row"
        advice = "See githubstatus.com, and whether the workers reach GitHub. It is tried again each minute at most."
    path = listed("github_integration_installation", id__exact=row.pk)
    return Trouble(
        f"{name} {state}",
        since=since,
        why=row.pause_message,
        advice=advice,
        path=path,
        buttons=buttons(allowed, path, resume="Resume"),
    )
