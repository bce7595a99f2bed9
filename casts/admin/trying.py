"""Trying a spell as its form has it, before it is saved: nothing is stored, and what was typed stays where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.forms import all_valid
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.template.response import TemplateResponse

from accounts.models import Account, Membership, Role
from casts.models import Spell, SpellTarget
from casts.pages.filling import Filling
from casts.pages.spell import SpellPage
from casts.runtime import runtime_for

Try = Callable[[Any, HttpRequest, Spell], HttpResponse]


def view(console: Any, request: HttpRequest, what: str, object_id: int | None = None) -> HttpResponse:
    """Show what a try finds of the spell that was typed, or what is wrong with the form."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    stored = None if object_id is None else console.get_object(request, str(object_id))
    if object_id is not None and stored is None:
        raise Http404("There is no such spell.")
    allowed = console.has_add_permission(request) if stored is None else console.has_change_permission(request, stored)
    if not allowed:
        raise PermissionDenied
    if what not in console.tries:
        raise Http404("There is no such try.")
    form: Any = console.get_form(request, stored, change=stored is not None)(request.POST, instance=stored)
    sound = form.is_valid()
    spell: Spell = form.instance
    # Django's own way to the inlines of a form; it has no public name.
    formsets, _ = console._create_formsets(request, spell, change=stored is not None)
    if not all_valid(formsets) or not sound:
        return refused(console, request, form, formsets)
    for formset in formsets:
        if issubclass(formset.model, SpellTarget):
            take_target(spell, formset)
    tried: Try = console.tries[what][1]
    return tried(console, request, spell)


def take_target(spell: Spell, formset: Any) -> None:
    """Have the spell run where the form says; only a target of the runtime that was chosen."""
    wanted = runtime_for(spell.runtime).target
    if wanted is not None and formset.model is wanted and formset.forms:
        setattr(spell, wanted.relation(), formset.forms[0].instance)


def refused(console: Any, request: HttpRequest, form: Any, formsets: list[Any]) -> HttpResponse:
    wrong = [
        (form.fields[name].label or name if name in form.fields else "", found) for name, found in form.errors.items()
    ]
    for formset in formsets:
        for row in formset.forms:
            wrong += [
                (row.fields[name].label or name if name in row.fields else "", e) for name, e in row.errors.items()
            ]
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": "The form has mistakes",
        "wrong": wrong,
    }
    return TemplateResponse(request, "admin/casts/spell/mistakes.html", context, status=422)


def form(console: Any, request: HttpRequest, spell: Spell) -> HttpResponse:
    """Show the form that members get, by the input schema as it is typed."""
    nobody = Membership(account=Account(name="their account"), role=Role.MEMBER)
    page = SpellPage(nobody, spell, Filling.untouched(spell))
    return render(request, "admin/casts/spell/form_preview.html", {"page": page})
