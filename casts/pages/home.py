"""Where a member begins: the account's casts, live, its money of this month, and the spells that are used most."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.pages import choice
from casts.pages.home_presenter import HomePage


@never_cache
@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show the casts of the account that was chosen, as far as the role goes."""
    membership = choice.chosen(request)
    if membership is None:
        return render(request, "casts/no_account.html")
    return render(request, "casts/home.html", {"page": HomePage(membership, request.GET)})
