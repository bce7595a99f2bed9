"""What the dashboard shows of GitHub: what is left of its rate limits."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from core.admin.attention import User, listed, may
from core.admin.dashboard import Panel, duration, linked, listing
from github_integration.models import PERSONAL, Installation

SHOWN = 10


def quota(user: User) -> Panel | None:
    """Tell what is left of each installation's requests of this hour, as GitHub last said; the least first."""
    if not may(user, "github_integration.view_installation"):
        return None
    now, rows = timezone.now(), []
    least_first = (F("rate_remaining") * 1.0 / F("rate_limit")).asc(nulls_last=True)
    known = Installation.objects.filter(removed_at=None).exclude(rate_limit=0).order_by(least_first, "pk")
    for one in known[:SHOWN]:
        name = one.account_login or ("the personal token" if one.pk == PERSONAL else "installation")
        left, until = "not told yet", "-"
        if one.rate_limit and one.rate_remaining is not None:
            # After the reset all is there again, whatever the last answer said.
            over = one.rate_reset_at is not None and one.rate_reset_at <= now
            remaining = one.rate_limit if over else one.rate_remaining
            left = f"{remaining:,} of {one.rate_limit:,}, {100 * remaining // one.rate_limit} %"
            if one.rate_reset_at is not None and not over:
                until = f"in {duration((one.rate_reset_at - now).total_seconds())}"
        path = listed("github_integration_installation", id__exact=one.pk)
        rows.append([linked(path, f"{name} ({one.pk})"), left, until])
    table = listing(
        "Requests left of this hour, as GitHub last told", ["Installation", "Left", "All again"], rows, "None is known."
    )
    return Panel("GitHub", (table,))
