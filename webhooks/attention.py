"""What needs an operator: deliveries that do not apply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from core.admin.attention import (
    RECENT,
    Report,
    Section,
    Trouble,
    User,
    Values,
    buttons,
    listed,
    may,
    trouble_filter,
)
from core.admin.base import as_words, code
from webhooks.models import Delivery, DeliverySweep

MANY_TRIES = 9  # about seven minutes: a run's id is mostly learnt within a second
WORDS = {"given_up": "given up", "failing": "failing, to be tried again", "refused": "refused: they hold what can't be"}


def needing_attention(deliveries: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate deliveries that do not apply with their `trouble` and since when; leave out the others."""
    lately, refused = Q(received_at__gt=timezone.now() - RECENT), Q(outcome=Delivery.Outcome.REFUSED)
    given_up = Q(due_at=None, lease_until=None)
    failing = ~Q(error="") | Q(attempts__gte=MANY_TRIES)
    word = Case(
        When(refused, then=Value("refused")),
        When(given_up & lately, then=Value("given_up")),
        When(~given_up & failing, then=Value("failing")),
        default=Value(""),
    )
    unapplied = deliveries.filter(refused & lately | Q(outcome=Delivery.Outcome.PENDING))
    found: QuerySet[Any] = unapplied.annotate(trouble=word, since=F("received_at")).exclude(trouble="")
    return found


DeliveryTroubles = trouble_filter(WORDS, lambda rows, word: needing_attention(rows).filter(trouble=word))


ADVICE = {
    "given_up": "Nobody tries again by itself. The casts learn by looking what these would have told; apply them again "
    "when the cause is fixed.",
    "failing": "They are tried again by themselves, two hours apart in the end, twenty times. The casts learn by "
    "looking meanwhile.",
    "refused": "GitHub sends no such bodies: who else has the webhook's secret? They change nothing. If it is GitHub "
    "all the same, apply them again after the release that can read them.",
}


def what(first: Values) -> str:
    deliveries = "delivery" if first["counted"] == 1 else "deliveries"
    return f"{deliveries} of {first['event']} {WORDS[first['trouble']].split(',')[0]}"


def line(row: Values, first: Values) -> tuple[str, str]:
    why = f"{as_words(row['action'])} {row['repository']}, tried {row['attempts']} times".strip()
    return code(row["guid"]), why if reason(row) == reason(first) else f"{why}: {reason(row)}"


def reason(row: Values) -> str:
    return row["error"] or "No cast was found that knows its run, while one might yet."


REPORT = Report(
    "webhooks_delivery",
    rows=lambda: needing_attention(Delivery.objects.all()),
    by=["event"],
    filters=lambda first: {"event": first["event"]},
    show=("action", "guid", "repository", "error", "attempts"),
    what=what,
    why=reason,
    advice=lambda first: ADVICE[first["trouble"]],
    line=line,
    action=("apply_again", "Apply again", "Apply all again"),
    mild=lambda first: first["trouble"] == "failing" and not first["error"],
)


def failing_deliveries(user: User) -> Section | None:
    section = REPORT.section("Deliveries", user)
    return section and replace(section, troubles=(*section.troubles, *parked_sweep(user)))


def parked_sweep(user: User) -> list[Trouble]:
    """Return the trouble that GitHub's log is not read any more, for whom it concerns."""
    parked = DeliverySweep.due_rows().parked().first()
    if parked is None or not may(user, "webhooks.view_deliverysweep"):
        return []
    path = listed("webhooks_deliverysweep", id__exact=parked.pk)
    allowed = may(user, "webhooks.change_deliverysweep")
    return [
        Trouble(
            "GitHub's log of deliveries is not read any more: webhooks that were lost stay lost",
            since=parked.finished_at,
            why=f"{parked.error} The last time: {parked.failure}.",
            advice="The workers' log says more. The casts learn by looking meanwhile.",
            path=path,
            buttons=buttons(allowed, path, sweep_again="Sweep again"),
        )
    ]
