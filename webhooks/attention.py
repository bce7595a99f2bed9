"""What needs an operator on floor 4: deliveries that do not apply."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from core.admin.attention import RECENT, Row, Section, Trouble, User, buttons, grouped, listed, may, trouble_filter
from core.admin.base import code, inside, spaced
from webhooks.models import Delivery

MANY_TRIES = 9  # about seven minutes: a run's id is mostly learnt within a second
WORDS = {"given_up": "given up", "failing": "failing, to be tried again"}


def judged(deliveries: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate deliveries that do not apply with their `trouble` and since when; leave out the others."""
    given_up = Q(due_at=None, lease_until=None)
    failing = ~Q(error="") | Q(attempts__gte=MANY_TRIES)
    word = Case(
        When(given_up & Q(received_at__gt=timezone.now() - RECENT), then=Value("given_up")),
        When(~given_up & failing, then=Value("failing")),
        default=Value(""),
    )
    pending = deliveries.filter(outcome=Delivery.Outcome.PENDING)
    found: QuerySet[Any] = pending.annotate(trouble=word, since=F("received_at")).exclude(trouble="")
    return found


DeliveryTroubles = trouble_filter(WORDS, lambda rows, word: judged(rows).filter(trouble=word))


def failing_deliveries(user: User) -> Section | None:
    """Tell of deliveries that fail to apply, and of those that were given up."""
    if not may(user, "webhooks.view_delivery"):
        return None
    allowed = may(user, "webhooks.change_delivery")
    shown = ("action", "guid", "repository", "error", "attempts")
    groups = grouped(judged(Delivery.objects.all()), "trouble", "event", show=shown)
    return Section("Deliveries", tuple(deliveries_trouble(group, allowed=allowed) for group in groups))


def deliveries_trouble(group: list[dict[str, Any]], *, allowed: bool) -> Trouble:
    """Return what to say of one event's deliveries in one trouble."""
    first = group[0]
    kind, count = first["trouble"], first["counted"]
    listing = listed("webhooks_delivery", trouble=kind, event=first["event"])
    advice = {
        "given_up": "Nobody tries again by itself. The casts learn by looking what these would have told; apply them "
        "again when the cause is mended.",
        "failing": "They are tried again by themselves, two hours apart in the end, twenty times. The casts learn by "
        "looking meanwhile.",
    }[kind]
    return Trouble(
        f"deliver{'y' if count == 1 else 'ies'} of {first['event']} {WORDS[kind].split(',')[0]}",
        count,
        first["since"],
        why=reason(first),
        advice=advice,
        path=listing,
        buttons=buttons(allowed and count > 1, listing, apply_again="Apply all again"),
        oldest=tuple(delivery_row(row, first, allowed=allowed) for row in group),
        mild=kind == "failing" and not first["error"],
    )


def delivery_row(row: dict[str, Any], first: dict[str, Any], *, allowed: bool) -> Row:
    """Return one delivery that does not apply."""
    link = inside("admin:webhooks_delivery_change", code(row["guid"]), row["pk"])
    why = f"{spaced(row['action'])} {row['repository']}, tried {row['attempts']} times".strip()
    if reason(row) != reason(first):
        why += f": {reason(row)}"
    path = listed("webhooks_delivery", id__exact=row["pk"])
    return Row(link, row["since"], why, buttons(allowed, path, apply_again="Apply again"))


def reason(row: dict[str, Any]) -> str:
    """Return why a delivery did not apply."""
    return row["error"] or "No cast was found that knows its run, while one might yet."
