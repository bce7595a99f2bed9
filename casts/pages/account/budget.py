"""What an account may spend: its members look, owners and admins change caps, once a password was shown lately."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.models import Account, Role
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.middleware import confirm_first
from casts import caps
from casts.pages.account.budget_words import BudgetPage
from core.errors import SpellError
from core.money import money, parsed


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
            change(request, account)
        except (SpellError, ValueError) as exc:
            wrong = str(exc)
        else:
            return redirect("account-budget", account_id=account.pk)
    shown = BudgetPage(account, may_change=Role(membership.role).includes(Role.ADMIN))
    context = {"page": shown, "account": account, "wrong": wrong, "sent": request.POST if wrong else {}}
    return render(request, "account/budget.html", context)


def change(request: HttpRequest, account: Account) -> None:
    """Set or lift a cap; raise ValueError for what is no amount, and what `caps.change` raises."""
    assert isinstance(request.user, User)  # login_required
    scope, _, ref = request.POST.get("of", "").partition(":")
    named = (scope == "account" and not ref) or (scope == "key" and ref.isdecimal()) or (scope == "spell" and ref)
    if not named or len(ref) > 64 or "\0" in ref:
        raise ValueError("Choose what the cap is for.")
    cents = None if request.POST.get("lift") else parsed(request.POST.get("amount", ""))
    who = principals.of_user(request.user, account_id=account.pk)
    caps.change(who, account, scope, ref, cents=cents)
    what = "The cap is lifted." if cents is None else f"The cap is {money(cents)} a month, from now on."
    messages.success(request, what)
