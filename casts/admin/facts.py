"""What the head of a cast's page says: whose it is, who asked for it and how, what it cost, and what is next to it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.audit.models import AuditEntry
from casts.admin.versions import of_cast as version_of
from casts.models import Cast, IdempotencyRecord
from casts.runtime import words_of
from core.admin.base import NOTHING, admin_link, as_words, badge, code, external_link, money
from core.db.documents import TextAt
from core.ids import first_id

NEAR = dt.timedelta(hours=1)  # on either side: within it, the same input again may be a mistake
SHOWN = 10
# Its record is written in the transaction that accepts the cast, moments after the cast was made.
SOON = dt.timedelta(seconds=10)


def spell(cast: Cast) -> SafeString:
    link = admin_link("admin:casts_spell_change", cast.spell.key, cast.spell_id)
    times = admin_link("spell-times", "its times by day", cast.spell_id)
    return format_html("{} ({}), {} · {}", link, cast.spell.name, version_of(cast), times)


def account(cast: Cast) -> SafeString:
    near = {"created_at__gte": cast.created_at - NEAR, "created_at__lt": cast.created_at + NEAR}
    of_account: dict[str, Any] = {"account__id__exact": cast.account_id, "spell__id__exact": cast.spell_id}
    return format_html(
        "{} · {}",
        admin_link("admin:accounts_account_change", cast.account.name, cast.account_id),
        admin_link("admin:casts_cast_changelist", "its casts of this spell within the hour", **of_account, **near),
    )


def placed_by(cast: Cast) -> SafeString | str:
    key, member = cast.api_key, cast.placed_by
    if member is not None:
        return format_html("member {}", admin_link("admin:auth_user_change", member, member.pk))
    if key is None:
        return "an API key or a member that is no longer there"
    made_by = key.created_by_user or key.created_by_key
    link = admin_link("admin:accounts_apikey_change", key, key.pk)
    return format_html("API key {}, made by {}", link, made_by) if made_by else format_html("API key {}", link)


def price(cast: Cast) -> str:
    if cast.charged_cents is not None:
        return f"{money(cast.charged_cents)} charged, of {money(cast.cost_cents)} that were held"
    return f"{money(cast.cost_cents)} " + ("held" if not cast.final else "given back")


def neighbours(cast: Cast) -> SafeString | str:
    """Return the casts that this one repeats, or that repeat it: by retrying, or with the same input about then."""
    about = Cast.objects.order_by("pk").only("pk", "created_at", "status", "status_reason", "charged_cents")
    lines: list[tuple[str, Cast]] = []
    if cast.retry_of_id is not None:
        lines += [("a retry of", one) for one in about.filter(pk=cast.retry_of_id)]
    retries = list(about.filter(retry_of=cast.pk)[:SHOWN])
    lines += [("retried as", one) for one in retries]
    # Known by the text of the input, as it was accepted.
    near = {"pk__gte": first_id(cast.created_at - NEAR), "pk__lt": first_id(cast.created_at + NEAR)}
    same = about.filter(account=cast.account_id, spell=cast.spell_id, input=cast.input, **near)
    known = [cast.pk, *(one.pk for _, one in lines)]
    lines += [("the same input", one) for one in same.exclude(pk__in=known)[:SHOWN]]
    if not lines:
        return "none: not retried, and no cast of the same input within the hour"
    return format_html_join("", "<p>{} {}: {}, {}, {}</p>", (neighbour(cast, how, one) for how, one in lines))


def neighbour(cast: Cast, how: str, one: Cast) -> tuple[Any, ...]:
    seconds = (one.created_at - cast.created_at).total_seconds()
    link = admin_link("admin:casts_cast_change", code(one.pk), one.pk)
    when = f"{abs(seconds):,.1f} s {'later' if seconds >= 0 else 'earlier'}"
    charged = "open" if one.charged_cents is None else f"{money(one.charged_cents)} charged"
    return how, link, badge(one.status), when, charged


def links(cast: Cast) -> SafeString:
    known = [admin_link("cast-page", "progress page", cast.pk)]
    if cast.run_key is not None:
        known.append(admin_link("admin:webhooks_delivery_changelist", "deliveries about its run", q=cast.run_key))
    if cast.run_url:
        known.append(format_html("run {} on {}", external_link(cast.run_url, cast.run_key), words_of(cast).name))
    if cast.links_epoch:
        known.append(format_html("callers' links revoked ({})", cast.links_epoch))
    return format_html_join(" · ", "{}", ((link,) for link in known))


def request(cast: Cast, user: Any) -> SafeString | str:
    """Return what the audit log keeps of the request that made a cast."""
    if not user.has_perm("accounts.view_auditentry"):
        return "in the audit log, which you may not see"
    made = AuditEntry.objects.filter(
        object_kind="cast", object_id=str(cast.pk), action__in=("cast.create", "cast.retry")
    ).order_by("id")
    entry = made.first()
    if entry is None:
        return "not in the audit log: an operator cast it again, or it is older than the log"
    told = admin_link("admin:accounts_auditentry_change", as_words(entry.action), entry.pk)
    number = code(entry.request_id) if entry.request_id else NOTHING
    return format_html("{} by {}, request {}, from {}", told, entry.actor, number, entry.address or NOTHING)


def trace(cast: Cast) -> SafeString | str:
    """Return the id by which a cast's trace is found; without its flags and the span that it was accepted in."""
    return code(cast.traceparent.split("-")[1]) if cast.traceparent else "none: its request named none"


def idempotency_key(cast: Cast) -> SafeString | str:
    """Return the key of the request that made a cast, by the record that was written with it."""
    with_it = {"account": cast.account_id, "created_at__gte": cast.created_at, "created_at__lt": cast.created_at + SOON}
    records = IdempotencyRecord.objects.filter(**with_it).annotate(cast_id=TextAt("body", "cast_id"))
    record = records.filter(cast_id=str(cast.pk)).values("route", "key").first()
    if record is None:
        return "none, or its record is gone (they are kept for seven days)"
    return code(record["key"])
