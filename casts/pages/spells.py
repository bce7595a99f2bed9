"""The catalogue, and a spell's page, on which members cast."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import principals
from accounts.models import Membership, Role
from accounts.pages.choice import chosen, membership_of
from casts.access import found, reading
from casts.casting import CastOrder, place, with_target
from casts.lifecycle import idempotency
from casts.models import Kept, Spell
from casts.pages.catalogue import catalogue, visible_to
from casts.pages.filling import Filling
from casts.pages.spell import SpellPage, problem_words
from core.errors import InvalidInput, SpellError
from core.numbers import natural

ROUTE = "spell-page"  # of the answers to forms that are sent twice
QUERY_CHARS = 200


@never_cache
@require_safe
@login_required
def spells(request: HttpRequest) -> HttpResponse:
    """Show what the account may see."""
    membership = chosen(request)
    if membership is None:
        return render(request, "casts/spells.html", {"catalogue": None})
    asked = request.GET
    shown = catalogue(
        membership.account,
        query=asked.get("q", "").replace("\0", "")[:QUERY_CHARS],
        tag=asked.get("tag", "")[:QUERY_CHARS],
        number=natural(asked.get("page", ""), digits=5) or 1,
    )
    return render(request, "casts/spells.html", {"catalogue": shown, "membership": membership})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def spell(request: HttpRequest, spell_key: str) -> HttpResponseBase:
    """Show a spell with its form, or do what a button of it asks for."""
    if request.method == "POST":
        return sent(request, spell_key)
    membership = chosen(request)
    if membership is None:
        raise Http404
    it = spell_of(membership, spell_key)
    filling, notes = begun(request, it)
    return shown(request, SpellPage(membership, it, filling, notes=notes))


def spell_of(membership: Membership, spell_key: str) -> Spell:
    spells = with_target(visible_to(membership.account)).filter(key=spell_key).order_by()
    it = None if "\0" in spell_key else spells.first()  # which Postgres would not take
    if it is None:
        raise Http404
    return it


def begun(request: HttpRequest, it: Spell) -> tuple[Filling, list[str]]:
    """Return a form with an earlier cast's input, if one is named that may be read; else an untouched one."""
    if not (asked := request.GET.get("from", "")[:64]):
        return Filling.untouched(it), []
    assert isinstance(request.user, User)
    try:
        cast = found(asked)
        cast = reading(principals.of_user(request.user, account_id=cast.account_id), cast).whole()
    except SpellError:
        return Filling.untouched(it), [f"There is no cast {asked} of which you may see the input. The form is empty."]
    if cast.spell_id != it.pk:
        return Filling.untouched(it), [f"The cast {asked} was one of {cast.spell.name}. The form is empty."]
    if not it.show_input:
        return Filling.untouched(it), ["This spell does not show what was asked of it. The form is empty."]
    if Kept.INPUT in (cast.removed or {}):
        return Filling.untouched(it), [f"What was asked in cast {cast.pk} was deleted. The form is empty."]
    return Filling.of_value(it, cast.input), [f"Filled in with what was asked in cast {cast.pk}."]


def sent(request: HttpRequest, spell_key: str) -> HttpResponseBase:
    """Do what a button of the form asks for. Anything but a cast shows the form again, with all that was typed."""
    act = request.POST.get("act", "")
    # The account that the form was made for: meanwhile another one may have been chosen, in another window.
    account_id = natural(request.POST.get("account", ""))
    if account_id is None:
        if (own := chosen(request)) is None:
            raise Http404
        account_id = own.account_id
    membership = membership_of(request, account_id, Role.MEMBER if act == "cast" else Role.VIEWER)
    it = spell_of(membership, spell_key)
    filling = Filling.sent(it, request.POST, request.FILES)
    once = token_of(request)
    if act == "snippets":
        return render(request, "casts/_snippets.html", {"page": SpellPage(membership, it, filling, once=once)})
    if act != "cast":
        filling.act(act)
        return shown(request, SpellPage(membership, it, filling, once=once))
    page = SpellPage(membership, it, filling, once=once)
    if filling.check():
        try:
            return redirect("cast-page", cast(request, page))
        except InvalidInput as exc:  # the spell is another one since a moment ago
            filling.tell(exc)
        except SpellError as exc:
            page.problem, page.remedy = problem_words(exc), exc.code
    return shown(request, page)


def token_of(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("once", ""))
    except ValueError:
        return uuid.uuid4()


def cast(request: HttpRequest, page: SpellPage) -> Any:
    """Cast what was typed, once for each form; return the cast's id. Raise SpellError."""
    value, account = page.filling.value, page.account
    payload = {"spell_key": page.spell.key, "input": value}
    once = idempotency.once_of_form(account, str(page.once), route=ROUTE, payload=payload)
    accepted = place(CastOrder.of_member(page.membership, spell_key=page.spell.key, input=value), once)
    return accepted.body["cast_id"]


def shown(request: HttpRequest, page: SpellPage) -> HttpResponse:
    return render(request, "casts/spell.html", {"page": page})
