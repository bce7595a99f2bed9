"""The operator's page that makes spells of a repository's workflows: a form, what was found, and making it so."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.models import Account
from github_integration.importing.asking import ImportFailed
from github_integration.importing.making import Found, Preview, State, apply, preview
from github_integration.importing.telling import takes, told_of

MOST_READ = 50  # each is a call, and somebody waits for the page; the command reads them all
KEY, SEEN = "key:", "seen:"  # before a file's name, in the form


WIDE = forms.TextInput(attrs={"class": "vTextField"})


class Where(forms.Form):
    repository = forms.CharField(max_length=300, widget=WIDE, help_text="owner/name, or its address.")
    ref = forms.CharField(
        max_length=200, required=False, help_text="Branch or tag to read and to cast at. Blank: the default branch."
    )
    only = forms.CharField(
        max_length=2000, required=False, help_text="Only these files, separated by blanks. Blank: all of them."
    )
    account = forms.ModelChoiceField(
        Account.objects.order_by("name"),
        required=False,
        empty_label="everybody's",
        help_text="Whose the new spells are: only its keys see them and cast them.",
    )


def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("casts.add_spell"):
        raise PermissionDenied
    return importing(request)


@require_http_methods(["GET", "HEAD", "POST"])
def importing(request: HttpRequest) -> HttpResponse:
    """Show the form; on POST what was found; with `make`, make spells of what is chosen."""
    given = request.POST if request.method == "POST" else None
    form = Where(given, initial={"repository": request.GET.get("repository", settings.GITHUB_REPOSITORY)})
    if given is None or not form.is_valid():
        return shown(request, form)
    said = {name.removeprefix(KEY): str(key).strip() for name, key in given.items() if name.startswith(KEY)}
    keys = {file: key for file, key in said.items() if key}
    repository, ref, files = (form.cleaned_data[name] for name in ("repository", "ref", "only"))
    try:
        seen = preview(repository, ref, files=files.split(), keys=keys, most=MOST_READ)
    except ImportFailed as exc:
        return shown(request, form, wrong=str(exc))
    if "make" not in given:
        return shown(request, form, seen)
    chosen = given.getlist("file")
    try:
        refuse(request, seen, chosen)
        assert isinstance(request.user, User)  # only logged-in users reach the admin
        by = principals.of_user(request.user)
        result = apply(seen, chosen, by=by, account=form.cleaned_data["account"], keys=keys)
    except ImportFailed as exc:
        return shown(request, form, seen, chosen=chosen, wrong=str(exc))
    told = {"Created": result.created, "Changed": result.changed, "Unchanged": result.unchanged}
    messages.success(request, "; ".join(f"{word}: {', '.join(of)}" for word, of in told.items() if of) + ".")
    return HttpResponseRedirect(reverse("admin:casts_spell_changelist"))


def refuse(request: HttpRequest, seen: Preview, chosen: list[str]) -> None:
    """Raise ImportFailed for what may not be done, or is not what was looked at; PermissionDenied for changes."""
    if not chosen:
        raise ImportFailed("Nothing is chosen.")
    found = {one.file: one for one in seen.found}
    for file in chosen:
        one = found.get(file)
        if one is None or one.state == State.LEFT_OUT:
            raise ImportFailed(f"{file} can't be imported any more.")
        if one.spell is not None and not request.user.has_perm("casts.change_spell"):
            raise PermissionDenied
        if request.POST.get(SEEN + file) != one.fingerprint:
            raise ImportFailed(
                f"{file} has changed on GitHub since you looked. This is what it says now; choose again."
            )


def shown(
    request: HttpRequest, form: Where, seen: Preview | None = None, *, chosen: list[str] | None = None, wrong: str = ""
) -> HttpResponse:
    context = admin.site.each_context(request) | {"title": "Import from GitHub", "form": form, "wrong": wrong}
    if seen is not None:
        may_change = request.user.has_perm("casts.change_spell")
        rows = [row(one, chosen, may_change=may_change) for one in seen.found]
        context |= {
            "source": seen.source,
            "rows": [one for one in rows if one["found"].state != State.LEFT_OUT],
            "left_out": [one for one in seen.found if one.state == State.LEFT_OUT],
        }
    return TemplateResponse(request, "admin/github_integration/import.html", context, status=400 if wrong else 200)


def row(found: Found, chosen: list[str] | None, *, may_change: bool) -> dict[str, Any]:
    news = found.state in (State.NEW, State.CHANGED)
    return {
        "found": found,
        "checked": found.file in chosen if chosen is not None else news and (may_change or found.spell is None),
        "disabled": found.spell is not None and not may_change,
        "takes": takes(found) if found.values is not None else "",
        "schema": json.dumps((found.values or {}).get("input_schema"), indent=2, ensure_ascii=False),
        "changes": [told_of(change) for change in found.changes],
    }
