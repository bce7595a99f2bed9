"""Whether Stripe and we say the same of what went back to cardholders: refunds and disputes of top-ups.

For `verifybilling`, which finds what a month's objects at Stripe have otherwise than our rows and credit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.db.models import Sum

from accounts.models import Credit
from core.money import money
from payments import client, disputes, refunds
from payments.models import Dispute, Refund, TopUp

Tell = Callable[[TopUp, str], None]
TellLate = Callable[[TopUp, int, str], None]  # with when it happened: what is new may not have been told yet


def verify(since: dt.datetime, until: dt.datetime, differ: Tell, late: TellLate) -> int:
    """Compare what Stripe made in this time; return how many objects. Raise what `client.errors` raises."""
    return verify_refunds(since, until, differ, late) + verify_disputes(since, until, differ, late)


def verify_refunds(since: dt.datetime, until: dt.datetime, differ: Tell, late: TellLate) -> int:
    seen = set()
    for topup, facts in _listed(client.client().v1.refunds, since, until):
        seen.add(facts["id"])
        refund, said = Refund.objects.filter(refund_id=facts["id"]).first(), f"refund {facts['id']}"
        if refund is None:
            late(
                topup,
                facts["created"],
                f"{said} gave back {money(facts['amount'])} of top-up {topup.pk}, unknown here.",
            )
        elif refund.cents != facts["amount"]:
            differ(topup, f"{said} gave back {money(facts['amount'])}; here it is {money(refund.cents)}.")
        elif refund.state != refunds.STATES[facts["status"] or "pending"]:
            late(topup, facts["created"], f"{said} is {facts['status']}, here {refund.state}.")
    given = Refund.objects.filter(state__in=refunds.GIVEN, refund_id__isnull=False).exclude(refund_id__in=seen)
    for refund in given.filter(created_at__gte=since, created_at__lt=until).select_related("topup__customer__account"):
        if not _is_there(client.client().v1.refunds, str(refund.refund_id)):
            told = f"refund {refund.refund_id} of {money(refund.cents)} is {refund.state} here, and Stripe has none."
            differ(refund.topup, told)
    return len(seen)


def verify_disputes(since: dt.datetime, until: dt.datetime, differ: Tell, late: TellLate) -> int:
    seen = set()
    for topup, facts in _listed(client.client().v1.disputes, since, until):
        seen.add(facts["id"])
        dispute, said = Dispute.objects.filter(pk=facts["id"]).first(), f"dispute {facts['id']}"
        if dispute is None:
            late(
                topup, facts["created"], f"{said} is about {money(facts['amount'])} of top-up {topup.pk}, unknown here."
            )
            continue
        if dispute.status != facts["status"]:
            late(topup, facts["created"], f"{said} is {facts['status']}, here {dispute.status}.")
            continue
        if dispute.cents != facts["amount"]:
            differ(topup, f"{said} is about {money(facts['amount'])}; here {money(dispute.cents)}.")
        taken = -dispute.cents if disputes.is_taken(facts) and facts["status"] != disputes.WON else 0
        sources = (dispute.pk, f"{dispute.pk}:won")
        booked = Credit.objects.filter(source__in=sources).aggregate(sum=Sum("cents", default=0))["sum"]
        if booked != taken:
            differ(topup, f"{said} is {dispute.status}: credit has {money(booked)} for it in place of {money(taken)}.")
    unseen = Dispute.objects.filter(opened_at__gte=since, opened_at__lt=until).exclude(pk__in=seen)
    for dispute in unseen.select_related("topup__customer__account"):
        if not _is_there(client.client().v1.disputes, dispute.pk):
            differ(dispute.topup, f"dispute {dispute.pk} is {dispute.status} here, and Stripe has none.")
    return len(seen)


def _listed(service: Any, since: dt.datetime, until: dt.datetime) -> list[tuple[TopUp, dict[str, Any]]]:
    """Return what Stripe made in this time that is about top-ups, with these."""
    created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
    with client.errors():
        listed = [client.plain(one) for one in service.list({"created": created, "limit": 100}).auto_paging_iter()]
    found = []
    for facts in listed:
        intent = client.id_of(facts.get("payment_intent"))
        topup = TopUp.objects.filter(intent_id=intent).select_related("customer__account").first() if intent else None
        if topup is not None:
            found.append((topup, facts))
    return found


def _is_there(service: Any, named: str) -> bool:
    """Return whether Stripe has what it did not make in the time that was listed, by its clock."""
    try:
        with client.errors():
            service.retrieve(named)
    except client.Missing:
        return False
    return True
