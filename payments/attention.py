"""What needs an operator about money: what Stripe does not take, cards that are declined, disputes with a deadline."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from core.admin.attention import OLDEST, RECENT, Button, Row, Section, Trouble, User, buttons, listed, may
from core.admin.base import admin_link
from core.money import money
from core.queue.due import GIVE_UP_AFTER
from payments import autotopup, subscriptions
from payments.models import (
    Customer,
    Dispute,
    Invoice,
    MeterReport,
    Refund,
    StripeEvent,
    Subscription,
    TopUp,
    Verification,
)

SOON = dt.timedelta(minutes=15)  # what is not done by then does not pass by itself as fast as usual
A_DAY = dt.timedelta(days=1)
REPORTABLE = dt.timedelta(days=30)  # Stripe takes usage of 35 days
NEEDS_EVIDENCE = ("warning_needs_response", "needs_response")


def topups(user: User) -> Section | None:
    """Tell of payments that are stuck, refunds that failed, and cards that are declined again and again."""
    if not may(user, "payments.view_topup"):
        return None
    now, allowed = timezone.now(), may(user, "payments.change_topup")
    waiting = TopUp.objects.filter(state__in=TopUp.OPEN).select_related("customer__account")
    unanswered = waiting.filter(state=TopUp.State.NEW, created_at__lt=now - SOON)
    parked = waiting.filter(failed_steps__gt=GIVE_UP_AFTER, lease_until=None, due_at=None)
    confirming = waiting.filter(state=TopUp.State.REQUIRES_ACTION, origin=TopUp.Origin.AUTO, created_at__lt=now - A_DAY)
    refunds = Refund.objects.select_related("topup__customer__account")
    failed = refunds.filter(state=Refund.State.FAILED, created_at__gt=now - RECENT)
    slow = refunds.filter(state=Refund.State.NEW, created_at__lt=now - SOON)
    found = [
        trouble(
            TopUp.objects.exclude(to_settle="").select_related("customer__account"),
            "payments that are not as they were asked for",
            listed("payments_topup", to_settle__gt=""),
            advice="Look at them at Stripe, give back or grant what is due, and say so here.",
            allowed=allowed,
            settled="It is settled",
        ),
        trouble(
            unanswered | parked,
            "top-ups of which Stripe has not said what became",
            listed("payments_topup", state__exact=TopUp.State.NEW),
            advice="They are asked for again under the same idempotency key, so nothing is charged twice.",
            allowed=allowed,
            look_now="Look now",
        ),
        trouble(
            confirming,
            "top-ups that a cardholder has not confirmed within a day",
            listed("payments_topup", state__exact=TopUp.State.REQUIRES_ACTION),
            advice="The account's members were told, with the link. Nothing is charged until they follow it.",
            mild=True,
        ),
        trouble(
            failed | slow,
            "refunds that did not arrive",
            listed("payments_refund", state__in=f"{Refund.State.FAILED},{Refund.State.NEW}"),
            advice="If Stripe could not give it back, the account's credit has it again: agree on another way.",
            allowed=may(user, "payments.change_refund"),
            look_now="Try again",
        ),
        declined(),
    ]
    return Section("Top-ups", tuple(one for one in found if one is not None))


def declined() -> Trouble | None:
    """Tell of accounts whose card was declined until topping up by itself was switched off."""
    # Also off where a card was removed or a payment given back, but that is as somebody wanted it.
    stopped = Customer.objects.exclude(auto_topup_off_reason="").filter(auto_topup_failures__gte=autotopup.FAILURES_MAX)
    rows = list(stopped.select_related("account")[: OLDEST + 1])
    if not rows:
        return None
    count = len(rows) if len(rows) <= OLDEST else stopped.count()
    return Trouble(
        "account does not top up by itself any more" if count == 1 else "accounts do not top up by themselves any more",
        count,
        advice="Their members were told. Their casts go on while credit lasts.",
        path=listed("payments_customer", auto="stopped"),
        oldest=tuple(Row(link(row), None, row.auto_topup_off_reason) for row in rows[:OLDEST]),
        mild=True,
    )


def disputes(user: User) -> Section | None:
    """Tell of disputes that wait for evidence, with the time by which it must be there."""
    if not may(user, "payments.view_dispute"):
        return None
    rows = list(
        Dispute.objects.filter(status__in=NEEDS_EVIDENCE)
        .select_related("topup__customer__account")
        .order_by("due_by", "id")
    )
    if not rows:
        return Section("Disputes")
    first = rows[0].due_by
    found = Trouble(
        "dispute needs evidence" if len(rows) == 1 else "disputes need evidence",
        len(rows),
        min(row.opened_at for row in rows),
        why=f"The first by {first:%Y-%m-%d %H:%M} UTC." if first else "",
        advice="Answer them at Stripe: one that is not answered is lost. The amount is taken from the account's credit "
        "until it is won.",
        path=listed("payments_dispute", status__in=",".join(NEEDS_EVIDENCE)),
        oldest=tuple(Row(link(row), row.opened_at, due(row)) for row in rows[:OLDEST]),
    )
    return Section("Disputes", (found,))


def due(dispute: Dispute) -> str:
    by = f", evidence by {dispute.due_by:%Y-%m-%d %H:%M} UTC" if dispute.due_by else ""
    return f"{dispute.topup.customer.account}: {money(dispute.cents)}, {dispute.reason}{by}"


def reports(user: User) -> Section | None:
    """Tell of usage that Stripe has not taken, and of invoices that are not paid."""
    if not may(user, "payments.view_meterreport"):
        return None
    now, allowed = timezone.now(), may(user, "payments.change_meterreport")
    every = MeterReport.objects.select_related("customer__account")
    failed = every.filter(state=MeterReport.State.FAILED)
    unsent = every.filter(state__in=(MeterReport.State.NEW, MeterReport.State.DOUBTFUL))
    late = unsent.filter(Q(created_at__lt=now - A_DAY) | Q(hour__lt=now - REPORTABLE))
    overdue = Invoice.objects.filter(status="open", due_at__lt=now).select_related("customer__account")
    found = [
        trouble(
            failed,
            "reports of usage that Stripe refused",
            listed("payments_meterreport", state__exact=MeterReport.State.FAILED),
            advice="Until they are taken, invoices are too low. manage.py verifybilling names the differences.",
            allowed=allowed,
            try_again="Try again",
        ),
        trouble(
            late,
            "reports of usage that have not reached Stripe within a day",
            listed("payments_meterreport", state__in=f"{MeterReport.State.NEW},{MeterReport.State.DOUBTFUL}"),
            advice="Stripe takes usage for 35 days; what is older must be invoiced by hand.",
            allowed=allowed,
            try_again="Try now",
        ),
    ]
    if may(user, "payments.view_subscription"):
        found.append(
            trouble(
                subscriptions.troubled().select_related("customer__account"),
                "subscriptions that do not go as they should",
                listed("payments_subscription"),
                advice="While one has not begun, or its card is declined, its account's casts go on up to the limit.",
            )
        )
    if may(user, "payments.view_verification"):
        found.append(differences())
    if may(user, "payments.view_invoice"):
        advice = "Their accounts' credit comes back when they are paid. Stripe sends reminders, if it is told to."
        path = listed("payments_invoice", status__exact="open")
        found.append(trouble(overdue, "invoices that are overdue", path, advice=advice, mild=True))
    return Section("Invoicing", tuple(one for one in found if one is not None))


def differences() -> Trouble | None:
    """Tell of what the last verifybilling found."""
    last = Verification.objects.first()
    lines = last.differences.splitlines() if last is not None else []
    if last is None or not lines:
        return None
    return Trouble(
        "difference between our books and Stripe's"
        if len(lines) == 1
        else "differences between our books and Stripe's",
        len(lines),
        last.at,
        why=lines[0],
        advice="Run manage.py verifybilling again once reports have arrived; what stays must be looked into by hand.",
        path=listed("payments_verification"),
    )


def events(user: User) -> Section | None:
    """Tell of events that do not apply."""
    if not may(user, "payments.view_stripeevent"):
        return None
    failed = StripeEvent.objects.filter(state=StripeEvent.State.FAILED, received_at__gt=timezone.now() - RECENT)
    found = trouble(
        failed.order_by("received_at"),
        "events of Stripe's that could not be applied",
        listed("payments_stripeevent", state__exact=StripeEvent.State.FAILED),
        advice="Nobody tries again by itself. Apply them again when the cause is fixed.",
        allowed=may(user, "payments.change_stripeevent"),
        apply_again="Apply again",
    )
    return Section("Stripe's events", (found,) if found else ())


def trouble(
    rows: QuerySet[Any],
    what: str,
    path: str,
    *,
    advice: str,
    allowed: bool = False,
    mild: bool = False,
    **actions: str,
) -> Trouble | None:
    """Return what is wrong with rows, None if there are none. `what` is said of several."""
    found = list(rows.order_by("pk")[: OLDEST + 1])
    if not found:
        return None
    count = len(found) if len(found) <= OLDEST else rows.count()

    def pressed(where: str) -> tuple[Button, ...]:
        return buttons(allowed and bool(actions), where, **actions)

    app = f"payments_{rows.model._meta.model_name}"
    return Trouble(
        what,
        count,
        since(found[0]),
        why=reason(found[0]),
        advice=advice,
        path=path,
        buttons=pressed(path) if count > 1 else (),
        oldest=tuple(
            Row(link(row), since(row), whose(row), pressed(listed(app, pk__exact=row.pk))) for row in found[:OLDEST]
        ),
        mild=mild,
    )


def since(row: Any) -> dt.datetime:
    at: dt.datetime = row.received_at if isinstance(row, StripeEvent) else row.created_at
    return at


def reason(row: Any) -> str:
    found = (str(getattr(row, name, "")) for name in ("to_settle", "error", "message", "failure"))
    return next(filter(None, found), "")


def whose(row: Any) -> str:
    if isinstance(row, StripeEvent):
        return f"{row.type} of {row.object_id}"
    account = row.topup.customer.account if isinstance(row, Refund) else row.customer.account
    if isinstance(row, Subscription):
        return f"{account}: {row.status or row.state}. {reason(row)}".strip()
    cents = row.total_cents if isinstance(row, Invoice) else row.cents
    return f"{account}: {money(cents)}. {reason(row)}".strip()


def link(row: Any) -> str:
    text = row.account.name if isinstance(row, Customer) else str(row.pk)
    return admin_link(f"admin:payments_{row._meta.model_name}_change", text, row.pk)
