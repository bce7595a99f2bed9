"""What an account may spend: its members look, owners and admins change caps, once a password was shown lately."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.models import BudgetScope, Membership, Role
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.middleware import confirm_first
from casts import caps
from casts.pages.account.budget_words import BudgetPage
from core.errors import SpellError
from core.limits import SPELL_KEY_CHARS
from core.money import money, parsed
from core.numbers import natural

CAPPED = (BudgetScope.ACCOUNT, BudgetScope.KEY, BudgetScope.SPELL)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Show this month's caps and what they are used for, and change one."""
    membership = membership_of(request, account_id, Role.ADMIN if request.method == "POST" else Role.MEMBER)
    account, wrong = membership.account, ""
    if request.method == "POST":
        if not proved_lately(request):
            return confirm_first(request, lay_aside=True)
        try:
            change(request, membership)
        except (SpellError, ValueError) as exc:
            wrong = str(exc)
        else:
            return redirect("account-budget", account_id=account.pk)
    shown = BudgetPage(account, may_change=Role(membership.role).includes(Role.ADMIN))
    context = {"page": shown, "account": account, "wrong": wrong, "sent": request.POST if wrong else {}}
    return render(request, "account/budget.html", context)


def change(request: HttpRequest, own: Membership) -> None:
    """Set or lift a cap; raise ValueError for what is no amount, and what `caps.change` raises."""
    scope, ref = named(request.POST.get("of", ""))
    cents = None if request.POST.get("lift") else parsed(request.POST.get("amount", ""))
    caps.change(principals.of_member(own), own.account, scope, ref, cents=cents)
    what = "The cap is lifted." if cents is None else f"The cap is {money(cents)} a month, from now on."
    messages.success(request, what)


def named(text: str) -> tuple[str, str]:
    """Return what a cap is for, as the form names it: the scope, and the key's number or the spell's key."""
    scope, _, ref = text.partition(":")
    if scope == BudgetScope.KEY:  # 007 is no other key than 7, of which there may be a cap already
        number = natural(ref, digits=SPELL_KEY_CHARS)
        ref = "" if number is None else str(number)
    if scope not in CAPPED or bool(ref) == (scope == BudgetScope.ACCOUNT) or len(ref) > SPELL_KEY_CHARS or "\0" in ref:
        raise ValueError("Choose what the cap is for.")
    return scope, ref
