"""The progress page: the state as it is, kept live by a small script, readable without."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.principals import Kind
from casts import disclosure, links
from casts.access import Reach, Reading, readable_cast
from casts.models import Kept
from casts.pages import asked, deeds, jobs, outlook, presenter, results, trouble
from casts.pages.refusals import refused
from casts.representation import shown_to
from casts.runtime import words_of
from casts.spells import history
from casts.versions import as_accepted
from core.errors import SpellError
from core.times import day_text, stamp


@require_safe
def progress(request: HttpRequest, cast_id: uuid.UUID) -> HttpResponse:
    """Show one cast to whoever has its link, or is logged in as somebody who may read it."""
    try:
        reading = readable_cast(request, str(cast_id))
    except SpellError as exc:
        if exc.status == 401 and "token" not in request.GET:
            return redirect_to_login(request.path)
        return refused(request, exc)
    response = render(request, "casts/progress.html", context_of(request, reading))
    response["Cache-Control"] = "no-store"
    return response


def context_of(request: HttpRequest, reading: Reading) -> dict[str, Any]:
    """Return what the page is made of, as far as its reader may see it."""
    cast, now = reading.cast, timezone.now()
    words, by_link, whole = words_of(cast), reading.principal.kind == Kind.LINK, reading.reach == Reach.ALL
    shown = shown_to(reading.principal, cast)
    if by_link:
        shown = links.carrying(request.GET["token"], shown)
    show_input = whole and cast.spell.show_input and Kept.INPUT not in (cast.removed or {})
    usual = None if cast.final else history.usual_of(cast)
    return {
        "cast": cast,
        "shown": shown,
        "page": presenter.page_state(shown, now),
        "result": results.result_of(cast, shown),
        "outlook": outlook.outlook_of(shown, usual.usual_seconds if usual else None, now),
        "trouble": trouble.trouble_of(shown),
        "asked": asked.asked_of(cast.input, as_accepted(cast).spell.input_schema) if show_input else None,
        "removed": presenter.removed(shown),
        "jobs": jobs_of(request, reading, now) if whole else None,
        "whole": whole,
        "by_link": by_link,
        "opened_until": until(cast.pk, request.GET["token"]) if by_link else None,
        "own_page": reverse("cast-page", args=[cast.pk]),
        "words": words,
        "last_seq": cast.last_seq,
        "now": stamp(now),
        **deeds.offered(reading),
    }


def jobs_of(request: HttpRequest, reading: Reading, now: dt.datetime) -> dict[str, Any]:
    cast = reading.cast
    opened = jobs.asked_for(request.GET.getlist("job"))
    mask = None if cast.spell.show_run else disclosure.mask_of(cast)
    shown = jobs.jobs_of(cast.jobs, jobs.Look(now, cast.final, words_of(cast), mask, opened))
    for row in shown["rows"]:
        if row["more"]:
            query = request.GET.copy()
            query.setlist("job", [str(number) for number in (*opened, row["number"])])
            row["more_url"] = f"?{query.urlencode()}#job-{row['number']}"
    return shown


def until(cast_id: uuid.UUID, token: str) -> str:
    """Return the day until which a link opens."""
    link = links.read_token(cast_id, token)
    assert link is not None  # it has just opened
    return day_text(dt.datetime.fromtimestamp(link.expires_at, dt.UTC))
