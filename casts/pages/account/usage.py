"""What an account spent, for its members, and the same as a file."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import usage
from accounts.models import Role
from accounts.pages.choice import membership_of
from casts.pages.account import files
from casts.pages.account.spending import SpendingPage, this_month
from core import csv_files
from core.errors import BadQuery


@never_cache
@require_safe
@login_required
def page(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Show what was spent in some days, which the query names."""
    membership = membership_of(request, account_id)
    wrong, days = "", this_month()
    if request.GET.get("from") or request.GET.get("to"):
        try:
            days = usage.span(request.GET.get("from"), request.GET.get("to"))
        except BadQuery as exc:
            wrong = str(exc)
    shown = SpendingPage(
        membership.account,
        days,
        spell=request.GET.get("spell", "").replace("\0", ""),
        # As of a cast, viewers see the price and the time, and nothing of who cast it.
        whole=Role(membership.role).reads_contents,
    )
    asked = {name: request.GET.get(name, "")[:40] for name in ("from", "to")} if wrong else {}
    context = {"page": shown, "wrong": wrong, "asked": asked, "account": membership.account}
    return render(request, "account/usage.html", context)


@never_cache
@require_safe
@login_required
def download(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Send what the page shows as CSV, by day and spell, or each cast."""
    membership = membership_of(request, account_id)
    try:
        days = usage.span(request.GET.get("from"), request.GET.get("to"))
    except BadQuery:  # the page says what is wrong
        return redirect(f"{reverse('account-usage', args=[account_id])}?{request.GET.urlencode()}")
    spell = request.GET.get("spell", "").replace("\0", "")
    only, whole = [spell] if spell else None, Role(membership.role).reads_contents
    if request.GET.get("per") == "cast":
        parts = files.by_cast(membership.account, days, only, whole=whole)
    else:
        parts = files.by_day_and_spell(membership.account, days, only)
    return csv_files.answer(f"usage-{days.first}-{days.last}", parts)
