"""What an operator should know: who has been refused within the day, and for what."""

from __future__ import annotations

import datetime as dt

from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from django.utils.html import format_html

from accounts.models import Account, ApiKey
from accounts.rationing.models import Refusal
from core.admin.attention import OLDEST, Row, Section, Trouble, User, listed, may
from core.admin.base import admin_link
from core.api.address import UNKNOWN, is_trusted

LATELY = dt.timedelta(days=1)
WHAT = {
    "key": "API keys over their allowance",
    "account": "accounts over their allowance",
    "link": "links over their allowance",
    "address": "addresses over their allowance",
    "bad-keys": "addresses with bad API keys or links",
    "bad-signatures": "addresses whose webhooks are not signed with our secret",
    "failed-logins": "addresses with failed logins",
    "failed-logins-here": "addresses with failed logins for one user name",
}
MORE = "If they should have more, give their account a number of its own; RATION_* settings are for all."
ADVICE = {
    "key": MORE,
    "account": MORE,
    "bad-keys": "A program with a revoked or mistyped key, or somebody who guesses. Good keys are let through.",
    "bad-signatures": "If it is GitHub: is the App's webhook secret the one in GITHUB_WEBHOOK_SECRET?",
}
PROXY = "127.0.0.1, or another proxy of ours, is among them: it should say in X-Forwarded-For for whom it asks."


def refusals(user: User) -> Section | None:
    if not may(user, "accounts.view_refusal"):
        return None
    lately = Refusal.objects.filter(last_at__gt=timezone.now() - LATELY)
    found = lately.order_by().values("allowance").annotate(subjects=Count("pk"), first=Min("first_at"))
    return Section("Refused requests", tuple(trouble(lately, **row) for row in found))


def trouble(lately: QuerySet[Refusal], *, allowance: str, subjects: int, first: dt.datetime) -> Trouble:
    rows = list(lately.filter(allowance=allowance)[:OLDEST])
    behind_proxy = any(row.subject != UNKNOWN and is_trusted(row.subject) for row in rows)
    return Trouble(
        WHAT.get(allowance, allowance),
        subjects,
        first,
        advice=PROXY if behind_proxy else ADVICE.get(allowance, ""),
        path=listed("accounts_refusal", allowance=allowance),
        oldest=tuple(Row(whose(row), row.first_at, f"last at {row.last_at:%H:%M} UTC") for row in rows),
        mild=True,  # rationing does what it is for
    )


def whose(row: Refusal) -> str:
    """Return who was refused, as a link where there is a page about it."""
    if row.allowance == "key" and (key := ApiKey.objects.filter(pk=row.subject).first()):
        return admin_link("admin:accounts_apikey_change", str(key), key.pk)
    if row.allowance == "account" and (account := Account.objects.filter(pk=row.subject).first()):
        return admin_link("admin:accounts_account_change", account.name, account.pk)
    if row.allowance == "link":
        cast_id = row.subject.partition(" ")[0]
        return admin_link("admin:casts_cast_change", f"link to {cast_id}", cast_id)
    return format_html("{}", row.subject.rpartition(" ")[2])  # without the digest of a name that was typed
