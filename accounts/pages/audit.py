"""An account's audit log, for its owners: in words, with filters, and as a file."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from accounts.audit import words
from accounts.audit.models import AuditEntry
from accounts.models import Role
from accounts.pages.choice import membership_of
from core.admin import export
from core.times import midnight

SHOWN = 50
COLUMNS = (
    *("id", "at", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id"),
    *("before", "after", "address", "request_id"),
)
# The page that shows what an entry is about, by its kind; and what of it goes into the address.
PAGES = {
    "cast": ("cast-page", "cast_id"),
    "callbackendpoint": ("account-callbacks-endpoint", "endpoint_id"),
    "callback": ("account-callbacks", ""),
    "apikey": ("account-keys", ""),
    "membership": ("account-members", ""),
    "invitation": ("account-members", ""),
    "account": ("account-settings", ""),
}


class Filters(forms.Form):
    """Which entries are shown."""

    who = forms.CharField(label="Who: a name, or how a key begins", max_length=200, required=False)
    what = forms.ChoiceField(
        choices=[("", "anything"), *sorted(words.ACTIONS.items(), key=lambda one: one[1])], required=False
    )
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def of(self, entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        asked = self.cleaned_data
        if asked.get("who"):
            entries = entries.filter(actor__startswith=asked["who"])
        if asked.get("what"):
            entries = entries.filter(action=asked["what"])
        if asked.get("since"):
            entries = entries.filter(at__gte=midnight(asked["since"]))
        if asked.get("until") and asked["until"] < dt.date.max:
            entries = entries.filter(at__lt=midnight(asked["until"]) + dt.timedelta(days=1))
        return entries


@require_safe
@login_required
def audit(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Show who changed what, newest first; `?format=csv` sends all that the filters leave."""
    membership_of(request, account_id, at_least=Role.OWNER)
    form = Filters(request.GET)
    entries = AuditEntry.objects.filter(account_id=account_id)
    if form.is_valid():
        entries = form.of(entries)
        if request.GET.get("format") == "csv":
            keys = list(entries.order_by("-pk").values_list("pk", flat=True)[: export.MOST_ROWS])
            return export.answer("audit", keys, AuditEntry.objects.all(), export.attributes(COLUMNS))
    if before := uuid_of(request.GET.get("before", "")):
        entries = entries.filter(pk__lt=before)
    found = list(entries.order_by("-pk")[: SHOWN + 1])
    asked = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    context = {
        "form": form,
        "lines": [line(entry, account_id) for entry in found[:SHOWN]],
        "older": urlencode(asked | {"before": str(found[SHOWN - 1].pk)}) if len(found) > SHOWN else "",
        "csv": urlencode(asked | {"format": "csv"}),
        "most": f"{export.MOST_ROWS:,}",
        "asked": asked,
    }
    return render(request, "account/audit.html", context, status=200 if form.is_valid() else 422)


def uuid_of(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def line(entry: AuditEntry, account_id: int) -> dict[str, Any]:
    return {
        "row": entry,
        "said": words.said(entry),
        "changed": words.changed(entry),
        "url": page_of(entry, account_id),
        "about": words.about(entry),
    }


def page_of(entry: AuditEntry, account_id: int) -> str:
    """Return where what an entry is about is shown, blank if nowhere."""
    name, argument = PAGES.get(entry.object_kind, ("", ""))
    given: dict[str, Any] = {} if name == "cast-page" else {"account_id": account_id}
    try:
        return reverse(name, kwargs=given | ({argument: entry.object_id} if argument else {})) if name else ""
    except NoReverseMatch:
        return ""
