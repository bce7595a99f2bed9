"""Spells that keep failing, for the run's own or our reason: what callers asked to cancel is no failure."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Min, Q
from django.urls import reverse
from django.utils import timezone

from casts.models import Cast, CastStatus, Spell
from core.admin.attention import Section, Trouble, User, may
from core.ids import first_id

LATELY = dt.timedelta(days=1)
ENOUGH = 20  # casts that ended, for a part of them to say something
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ADVICE = "Its page has what fails and since when. See what changed in the spell or its workflow, or switch it off."


def failing_spells(user: User) -> Section | None:
    """Tell of active spells whose last ALARM_FAILURES casts failed, or ALARM_FAILURE_PERCENT of those of a day."""
    if not (may(user, "casts.view_spell") and may(user, "casts.view_cast")):
        return None
    return Section("Failing spells", tuple(trouble(row) for row in failing()))


def failing() -> list[dict[str, Any]]:
    """Return spells with how many of their casts of the last day failed, in all and since the last that succeeded."""
    ended = Cast.objects.filter(
        pk__gte=first_id(timezone.now() - LATELY),
        status__in=(CastStatus.SUCCEEDED, CastStatus.FAILED),
        spell__active=True,
    ).order_by()
    failed, succeeded = Q(status=CastStatus.FAILED), Q(status=CastStatus.SUCCEEDED)
    by_spell = ended.values("spell").annotate(
        ended=Count("pk"), failed=Count("pk", filter=failed), last_success=Max("finished_at", filter=succeeded)
    )
    some = {row["spell"]: row for row in by_spell.filter(failed__gte=least())}
    if not some or not least():
        return []
    after = Q()
    for spell, row in some.items():
        after |= Q(spell=spell, finished_at__gt=row["last_success"] or BEGINNING)
    since = ended.filter(after, failed).values("spell").annotate(row=Count("pk"), began=Min("finished_at"))
    in_a_row = {row["spell"]: row for row in since}
    keys = dict(Spell.objects.filter(pk__in=some).values_list("pk", "key"))
    found = []
    for spell, row in sorted(some.items()):
        run = in_a_row.get(spell, {"row": 0, "began": None})
        all_of_late = 0 < settings.ALARM_FAILURES <= int(run["row"] or 0)
        too_many = (
            settings.ALARM_FAILURE_PERCENT > 0
            and row["ended"] >= ENOUGH
            and row["failed"] * 100 >= settings.ALARM_FAILURE_PERCENT * row["ended"]
        )
        if all_of_late or too_many:
            found.append({**row, **run, "spell": spell, "key": keys.get(spell, ""), "all": all_of_late})
    return found


def least() -> int:
    """Return how many failures a spell needs at least to be looked at, 0 if none is."""
    rows = [settings.ALARM_FAILURES] if settings.ALARM_FAILURES else []
    if settings.ALARM_FAILURE_PERCENT:
        rows.append(-(-ENOUGH * settings.ALARM_FAILURE_PERCENT // 100))
    return min(rows, default=0)


def trouble(row: dict[str, Any]) -> Trouble:
    if row["all"]:
        what = f"casts of “{row['key']}” failed one after the other, and none succeeded since"
        count, since = row["row"], row["began"]
    else:
        what = f"of {row['ended']:,} casts of “{row['key']}” failed in the last 24 hours"
        count, since = row["failed"], None
    path = reverse("spell-times", args=[row["spell"]])
    return Trouble(what, count, since, advice=ADVICE, path=path, key=f"failing {row['spell']}")
