"""What members do with a cast on its page: cancel it, cast it again, share it, end its links."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import principals
from casts import acting, links
from casts.access import Reading, found, may_change, may_read, not_found, session_user
from casts.casting import priced_for
from casts.errors import CastNotFound
from casts.lifecycle.idempotency import once_of_form
from casts.models import Cast, Kept, Spell
from casts.pages.catalogue import FREE, price_words
from casts.pages.refusals import refused
from casts.pricing import Price
from core.errors import Forbidden, SpellError
from core.times import day_text


def offered(reading: Reading) -> dict[str, Any]:
    """Return what the page offers its reader to do, nothing to whoever came by a link or may only look."""
    cast = reading.cast
    if reading.principal.user is None or not may_change(reading.principal, cast):
        return {"actions": {}, "share": None}
    actions: dict[str, Any] = {}
    if not cast.final and cast.cancel_requested_at is None and cast.run_finished_at is None:
        actions["cancel"] = reverse("cast-page-cancel", args=[cast.pk])
    if cast.final and Kept.INPUT not in (cast.removed or {}):
        actions |= {"again": reverse("cast-page-again", args=[cast.pk]), "once": uuid.uuid4(), "price": price_of(cast)}
    if "again" in actions and cast.spell.show_input:
        actions["other"] = f"{reverse('spell-page', args=[cast.spell.key])}?{urlencode({'from': cast.pk})}"
    url = links.progress_url(cast.pk, cast.links_epoch)
    return {
        "actions": actions,
        "share": {
            "url": url,
            "until": day_text(links.expires_at()),
            "epoch": cast.links_epoch,
            "revoke": reverse("cast-page-links", args=[cast.pk]),
        },
    }


def price_of(cast: Cast) -> str:
    """Return what casting it again costs its account, as its spell's page says it."""
    words = price_words(Price.of(priced_for(cast.account_id, Spell.objects.filter(pk=cast.spell_id)).get()))
    return "free" if words == FREE else words


@never_cache
@require_POST
def cancel(request: HttpRequest, cast_id: uuid.UUID) -> HttpResponse:
    """Cancel a cast, once however often the button is pressed."""

    def act(reading: Reading) -> None:
        with transaction.atomic():
            now = Cast.objects.select_for_update(of=("self",), no_key=True).get(pk=reading.cast.pk)
            if now.final:
                messages.info(request, "It had ended already; nothing was cancelled.")
            elif now.cancel_requested_at is None:
                acting.cancel(reading.principal, reading.cast)

    return done(request, cast_id, act)


@never_cache
@require_POST
def again(request: HttpRequest, cast_id: uuid.UUID) -> HttpResponse:
    """Cast the same again, and lead to the new cast."""

    def act(reading: Reading) -> str:
        token = request.POST.get("once", "")
        once = once_of_form(reading.cast.account, token, route=f"again:{reading.cast.pk}", payload={})
        accepted = acting.again(reading.principal, reading.cast, once)
        return reverse("cast-page", args=[accepted.body["cast_id"]])

    return done(request, cast_id, act)


@never_cache
@require_POST
def end_links(request: HttpRequest, cast_id: uuid.UUID) -> HttpResponse:
    """End all links to a cast that there were when the page was made."""

    def act(reading: Reading) -> None:
        with transaction.atomic():
            now = Cast.objects.select_for_update(of=("self",), no_key=True).get(pk=reading.cast.pk)
            if str(now.links_epoch) == request.POST.get("epoch"):
                acting.revoke_links(reading.principal, reading.cast)
        messages.success(request, "All links that were handed out are ended.")

    return done(request, cast_id, act)


def done(request: HttpRequest, cast_id: uuid.UUID, act: Any) -> HttpResponse:
    """Do what a member asks for, and lead to where it is seen; a refusal is told on the cast's page."""
    page = reverse("cast-page", args=[cast_id])
    user = session_user(request)
    if user is None:
        return redirect_to_login(page)
    try:
        cast = found(str(cast_id))
        principal = principals.of_user(user, account_id=cast.account_id)
        if not (reach := may_read(principal, cast)):
            raise not_found(str(cast_id))
        if not may_change(principal, cast):
            raise Forbidden("You may look at this cast, and not act on it. An owner of its account can change that.")
        return redirect(act(Reading(cast, principal, reach)) or page)
    except (CastNotFound, Forbidden) as exc:
        return refused(request, exc)
    except SpellError as exc:
        messages.error(request, str(exc))
        return redirect(page)
