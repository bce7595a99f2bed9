"""An account's money, for its members: what there is, the card, top-ups and invoices.

Owners and admins act; members see what is left, as they meet the 402; viewers see nothing of it. Each act is a form,
and needs a password that was shown lately. What needs a card's number happens on Stripe's pages, to which a page of
ours leads: a form may be sent to nobody but us (form-action), and browsers hold its redirects to that, too.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import principals
from accounts.models import Membership, Role
from accounts.pages import choice
from accounts.pages.adapters import proved_lately
from accounts.pages.middleware import confirm_first
from accounts.principals import Principal
from core.errors import SpellError
from core.money import money as money_text
from payments import cards, currency, customers, paying, topup_work
from payments.client import StripeTrouble
from payments.errors import BillingOff
from payments.models import CardSetup, Customer, TopUp
from payments.pages.presenter import MoneyPage
from payments.returning import money_page

logger = logging.getLogger(__name__)

WENT_FOR = "top_up_at_stripe"  # in the session: the top-up for which the member went to Stripe's page
BACK = "back"  # in the query, of whoever comes back from a page of Stripe's: what it was for


def readers_of(request: HttpRequest) -> list[Membership]:
    paying.check_on()
    return [one for one in choice.memberships(request) if Role(one.role).includes(Role.MEMBER)]


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Answer 404 where billing is off."""

    def run(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, **kwargs)
        except BillingOff as exc:
            raise Http404 from exc

    return never_cache(login_required(run))


@require_safe
@guarded
def accounts(request: HttpRequest) -> HttpResponseBase:
    """Lead to the account's page, or show which ones there are."""
    found = readers_of(request)
    if len(found) == 1:
        return redirect("money", account_id=found[0].account_id)
    return render(request, "payments/accounts.html", {"memberships": found})


@require_http_methods(["GET", "HEAD", "POST"])
@guarded
def money(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Show an account's money, or do what a form asks for."""
    others = readers_of(request)
    membership = choice.membership_of(request, account_id, Role.ADMIN if request.method == "POST" else Role.MEMBER)
    account = membership.account
    customer = customers.of(account)
    if request.method == "POST":
        return act(request, membership, customer)
    if customer is not None and BACK in request.GET:
        look(request, customer)
        customer.refresh_from_db()
    may_pay = Role(membership.role).includes(Role.ADMIN)
    page = MoneyPage(account, customer, amount=request.GET.get("amount", ""))
    context = {"page": page, "account": account, "may_pay": may_pay, "others": others, "once": uuid.uuid4()}
    return render(request, "payments/money.html", context)


def look(request: HttpRequest, customer: Customer) -> None:
    """Ask Stripe what became of what the member did there: its webhook may come later than the member."""
    what, setup = request.GET[BACK], CardSetup.objects.filter(customer=customer).first()
    went_for = request.session.pop(WENT_FOR, None)
    topup = customer.topups.filter(pk=went_for).first() if went_for else customer.topups.first()
    try:
        if what == "card" and setup is not None and setup.completed_at is None:
            cards.look(setup)
        elif what == "topup" and topup is not None and topup.state in TopUp.OPEN:
            topup = topup_work.advance(topup)
    except StripeTrouble:
        logger.warning("could not ask what became of a visit to Stripe's page", extra={"account": customer.pk})
    if went_for and what == "topup" and topup is not None and topup.state not in TopUp.OPEN:
        tell(request, topup)


def tell(request: HttpRequest, topup: TopUp) -> None:
    """Say what came of a top-up."""
    state = TopUp.State(topup.state)
    if state == TopUp.State.SUCCEEDED:
        messages.success(request, f"{money_text(topup.cents)} were added to the account's credit.")
    elif state in TopUp.OPEN:
        messages.info(request, "Stripe has not said yet what came of it. Look again soon.")
    else:
        why = topup.message or topup.code or "Stripe did not say why."
        messages.error(request, f"The card was not charged: {why}")


def act(request: HttpRequest, membership: Membership, customer: Customer | None) -> HttpResponseBase:
    """Do what a form asks for, once its sender has shown a password lately."""
    account = membership.account
    wanted = ACTS.get(request.POST.get("act", ""))
    if wanted is None or customer is None:
        messages.error(
            request, "This account is not billed." if wanted else "Nothing was done: the form was not whole."
        )
        return redirect("money", account_id=account.pk)
    if not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    try:
        return wanted(request, principals.of_member(membership), customer)
    except (SpellError, ValueError) as exc:
        messages.error(request, str(exc))
        again = {"amount": request.POST.get("amount", "")[:20]} if wanted is top_up else {}
        return redirect(money_page(account.pk, **again))


def save_card(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    setup = paying.save_card(who, customer, return_url=money_page(customer.account_id, back="card"))
    return redirect("money-to-stripe", account_id=customer.account_id, kind="card", pk=setup.pk)


def remove_card(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    paying.remove_card(who, customer)
    messages.success(request, "The card is removed.")
    return redirect("money", account_id=customer.account_id)


def portal(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    url = paying.open_portal(who, customer, return_url=money_page(customer.account_id))
    return leading(request, customer.account_id, url, "Your invoices and receipts are at Stripe")


def top_up(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    """Top up; raise ValueError for what is no amount."""
    cents, hosted = currency.parsed(request.POST.get("amount", "")), request.POST.get("how") != "card"
    once = request.POST.get("once", "")
    topup, _ = paying.top_up(
        who,
        customer,
        cents=cents,
        hosted=hosted,
        return_url=money_page(customer.account_id, back="topup"),
        # Sent twice, by a double click or a reload, it is one; with another amount it was meant anew.
        key=f"page:{once[:36]}:{cents}:{hosted}" if once else "",
        digest="page",
    )
    if topup.action_url and topup.state in TopUp.OPEN:
        return redirect("money-to-stripe", account_id=customer.account_id, kind="topup", pk=topup.pk)
    tell(request, topup)
    return redirect("money", account_id=customer.account_id)


def set_auto(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    """Change topping up by itself; raise ValueError for what is no amount."""
    if request.POST.get("off"):
        paying.set_auto(who, customer, below_cents=None, cents=None)
        messages.success(request, "The account no longer tops up by itself.")
    else:
        below, cents = (currency.parsed(request.POST.get(name, "")) for name in ("below", "amount"))
        paying.set_auto(who, customer, below_cents=below, cents=cents)
        messages.success(request, f"Below {money_text(below)} the account tops up by {money_text(cents)} by itself.")
    return redirect("money", account_id=customer.account_id)


def cancel(request: HttpRequest, who: Principal, customer: Customer) -> HttpResponseBase:
    """Cancel a top-up that waits for its page; raise ValueError for what is no id."""
    topup = customer.topups.filter(pk=uuid.UUID(request.POST.get("topup", ""))).first()
    if topup is not None:
        topup = paying.cancel_top_up(who, topup)
        if topup.state == TopUp.State.SUCCEEDED:
            tell(request, topup)
        else:
            messages.success(request, "Nobody can pay that top-up any more.")
    return redirect("money", account_id=customer.account_id)


Act = Callable[[HttpRequest, Principal, Customer], HttpResponseBase]
ACTS: dict[str, Act] = {
    "save_card": save_card,
    "remove_card": remove_card,
    "portal": portal,
    "top_up": top_up,
    "auto": set_auto,
    "cancel": cancel,
}


@require_safe
@guarded
def to_stripe(request: HttpRequest, account_id: int, kind: str, pk: uuid.UUID) -> HttpResponseBase:
    """Lead to a page of Stripe's that waits for the member, unless what it is for is done."""
    paying.check_on()
    choice.membership_of(request, account_id, Role.ADMIN)
    if kind == "card":
        setup = CardSetup.objects.filter(pk=pk, customer=account_id, completed_at=None).first()
        url, title = setup.url if setup else "", "Save a card at Stripe"
    else:
        topup = TopUp.objects.filter(pk=pk, customer=account_id, state__in=TopUp.OPEN).first()
        url = topup.action_url if topup else ""
        title = f"Pay {money_text(topup.cents)} at Stripe" if topup else ""
        request.session[WENT_FOR] = str(pk)
    return leading(request, account_id, url, title) if url else redirect("money", account_id=account_id)


def leading(request: HttpRequest, account_id: int, url: str, title: str) -> HttpResponse:
    """Return a page that goes on to Stripe's by itself, and has a link for browsers that do not."""
    if not url.startswith(("https://", "http://")):
        raise Http404
    return render(request, "payments/to_stripe.html", {"url": url, "title": title, "account_id": account_id})
