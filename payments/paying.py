"""What members and their programs do with money: each act once, for the API and the pages, with its audit entry."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import credit
from accounts.audit import log
from accounts.models import Account
from accounts.principals import Principal
from core import limits
from payments import autotopup, cards, customers, portal, topup_work, topups
from payments.client import StripeTrouble, Unavailable
from payments.errors import (
    BillingOff,
    KeyReused,
    NotBilled,
    NotCancelled,
    PaymentsUnavailable,
    TooManyDeclines,
    TooManyTopUps,
)
from payments.models import CardSetup, Customer, TopUp

logger = logging.getLogger(__name__)

AN_HOUR = dt.timedelta(hours=1)


def check_on() -> None:
    """Raise BillingOff."""
    if not settings.BILLING:
        raise BillingOff("This installation takes no money: accounts are limited by their caps alone.")


def customer_of(account: Account) -> Customer:
    """Raise BillingOff or NotBilled."""
    check_on()
    if (customer := customers.of(account)) is None:
        raise NotBilled("Casts of this account cost no credit. An operator can turn billing on for it.")
    return customer


@contextmanager
def stripe_answers() -> Iterator[None]:
    """Raise PaymentsUnavailable in place of Stripe's trouble."""
    try:
        yield
    except Unavailable as exc:
        raise PaymentsUnavailable(
            "Stripe does not answer just now. Nothing is lost: ask again in a moment.", headers={"Retry-After": "5"}
        ) from exc
    except StripeTrouble as exc:
        logger.error("Stripe refuses a member's request", extra={"why": str(exc), "request": exc.request_id})
        raise PaymentsUnavailable("Stripe refuses what we ask. An operator has to look at it.") from exc


def save_card(who: Principal, customer: Customer, *, return_url: str) -> CardSetup:
    """Return a page of Stripe's on which a card is saved. Raise PaymentsUnavailable."""
    with stripe_answers():
        setup = cards.begin_setup(customer, return_url=return_url)
    with transaction.atomic():
        log.record(who, "billing.save_card", setup, account_id=customer.account_id)
    return setup


def remove_card(who: Principal, customer: Customer) -> None:
    """Remove the saved card, and with it topping up by itself. Raise PaymentsUnavailable."""
    with stripe_answers():
        cards.remove(customer)
    with transaction.atomic():
        log.record(who, "billing.remove_card", customer, account_id=customer.account_id)


def open_portal(who: Principal, customer: Customer, *, return_url: str) -> str:
    """Return the address of Stripe's page about what the customer paid. Raise PaymentsUnavailable."""
    with stripe_answers():
        url = portal.link(customer, return_url=return_url)
    with transaction.atomic():
        log.record(who, "billing.open_portal", customer, account_id=customer.account_id)
    return url


def set_auto(who: Principal, customer: Customer, *, below_cents: int | None, cents: int | None) -> None:
    """Have the account top up by itself, or no longer (None). Raise AmountRefused, NoCard or PaysByInvoice."""
    before = {name: getattr(customer, f"auto_topup_{name}") for name in ("below_cents", "cents")}
    after = {"below_cents": below_cents, "cents": cents}
    with transaction.atomic():
        # First: an entry is never written while the account's counter is locked.
        log.record(who, "billing.set_auto_topup", customer, account_id=customer.account_id, before=before, after=after)
        if below_cents is None or cents is None:
            autotopup.switch_off(customer)
        else:
            autotopup.switch_on(customer, below_cents=below_cents, cents=cents)


def set_low(who: Principal, customer: Customer, cents: int | None) -> None:
    """Have the callback `credit.low` sent when less than `cents` are left; None: never."""
    state = credit.state(customer.account)
    before = {"low_cents": state.low_cents if state else None}
    with transaction.atomic():
        # First, as above.
        after = {"low_cents": cents}
        log.record(who, "billing.set_low", customer, account_id=customer.account_id, before=before, after=after)
        credit.set_low(customer.pk, cents)


def top_up(
    who: Principal, customer: Customer, *, cents: int, hosted: bool, return_url: str, key: str = "", digest: str = ""
) -> tuple[TopUp, bool]:
    """Take money from the saved card, or (`hosted`) open a page of Stripe's for it.

    Return the top-up, and whether it is an earlier one: of a request with the same `key` and `digest`. Raise KeyReused,
    AmountRefused, NoCard, TopUpUnderWay, TooManyTopUps or TooManyDeclines; if Stripe does not answer, the worker asks
    again.
    """
    if (earlier := _earlier(customer, key, digest)) is not None:
        return earlier, True
    topups.check_amount(cents)
    _check_pace(customer)
    try:
        with transaction.atomic():
            topup = topups.begin(
                customer,
                cents,
                by=who.label,
                hosted=hosted,
                return_url=return_url,
                request_key=key,
                request_digest=digest,
            )
            facts = {"cents": cents, "hosted": hosted}
            log.record(who, "billing.top_up", topup, account_id=customer.account_id, after=facts)
    except IntegrityError:  # its twin was faster
        if (earlier := _earlier(customer, key, digest)) is None:
            raise
        return earlier, True
    topup = topup_work.advance(topup)
    if topup.state == TopUp.State.REQUIRES_ACTION and not topup.action_url:
        # The card's bank wants its holder, who may well be here: with the page that the next step opens.
        topup = topup_work.advance(topup)
    return topup, False


def cancel_top_up(who: Principal, topup: TopUp) -> TopUp:
    """Close the page on which a top-up is paid; one that was paid before has succeeded. Return it anew.

    Raise NotCancelled for others, or PaymentsUnavailable.
    """
    was_open = topup.state in TopUp.OPEN
    with stripe_answers():
        topup = topup_work.cancel(topup)
    if topup.state in TopUp.OPEN:
        raise NotCancelled("Only a top-up that is to be paid on a page of Stripe's can be cancelled.")
    if was_open and topup.state != TopUp.State.SUCCEEDED:
        with transaction.atomic():
            log.record(who, "billing.cancel_top_up", topup, account_id=topup.customer_id)
    return topup


def _earlier(customer: Customer, key: str, digest: str) -> TopUp | None:
    found = TopUp.objects.filter(customer=customer, request_key=key).first() if key else None
    if found is not None and found.request_digest != digest:
        raise KeyReused("This Idempotency-Key came with another top-up before. Use a new key for a new one.")
    return found


def _check_pace(customer: Customer) -> None:
    # Whoever has a key or a login could otherwise try a card, or many, here.
    if TopUp.objects.filter(customer=customer, state__in=TopUp.OPEN).count() >= limits.OPEN_TOPUPS:
        raise TooManyTopUps(
            f"{limits.OPEN_TOPUPS} top-ups are under way, and no more can be: finish them, or wait until they end."
        )
    ago = timezone.now() - AN_HOUR
    failed = TopUp.objects.filter(customer=customer, state=TopUp.State.FAILED, ended_at__gt=ago).order_by("-ended_at")
    if (oldest := failed.values_list("ended_at", flat=True)[limits.FAILED_TOPUPS - 1 :].first()) is not None:
        seconds = max(1, int((oldest - ago).total_seconds()))
        raise TooManyDeclines(
            f"{limits.FAILED_TOPUPS} top-ups failed within the hour. Ask the card's bank, or save another card, and "
            "come back later.",
            headers={"Retry-After": str(seconds)},
        )
