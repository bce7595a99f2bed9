"""The progress page: the state as it is, kept live by a small script, readable without."""

from __future__ import annotations

import uuid

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.principals import Kind
from casts.access import Reach, readable_cast
from casts.links import carrying
from casts.pages import presenter
from casts.representation import shown_to
from casts.runtime import words_of
from core.errors import SpellError
from core.times import stamp

HTML_STATUS = {401: 403}  # a browser would ask for a password on 401


@require_safe
def progress(request: HttpRequest, cast_id: uuid.UUID) -> HttpResponse:
    """Show one cast to whoever has its link, or is logged in as somebody who may read it."""
    try:
        reading = readable_cast(request, str(cast_id))
    except SpellError as exc:
        if exc.status == 401 and "token" not in request.GET:
            return redirect_to_login(request.path)
        status = HTML_STATUS.get(exc.status, exc.status)
        refused = render(request, "casts/unavailable.html", {"problem": exc}, status=status)
        for name, value in exc.headers.items():
            refused[name] = value
        return refused
    cast, whole = reading.cast, reading.reach == Reach.ALL
    now, words = timezone.now(), words_of(cast)
    shown = shown_to(reading.principal, cast)
    if reading.principal.kind == Kind.LINK:
        shown = carrying(request.GET["token"], shown)
    context = {
        "cast": cast,
        "shown": shown,
        "page": presenter.page_state(shown, now, words, show_input=whole and cast.spell.show_input),
        "whole": whole,
        "words": words,
        "last_seq": cast.last_seq,
        "now": stamp(now),
    }
    response = render(request, "casts/progress.html", context)
    response["Cache-Control"] = "no-store"
    return response
