"""Where a member begins: one's accounts, and what was cast in them lately."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import Membership
from casts.models import Cast

SHOWN = 10  # of each account's casts, the newest


@never_cache
@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show what a member may look at. Names, states and times are for every role; the pages ask again."""
    memberships = (
        Membership.objects.filter(user=request.user.pk or 0).select_related("account").order_by("account__name")
    )
    parts = [
        {
            "account": membership.account,
            "role": membership.role,
            "casts": Cast.objects.filter(account=membership.account)
            .select_related("spell")
            .only("status", "created_at", "spell__name")
            .order_by("-pk")[:SHOWN],
        }
        for membership in memberships
    ]
    return render(request, "casts/home.html", {"parts": parts})
