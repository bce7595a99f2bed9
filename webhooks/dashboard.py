"""What the dashboard shows of webhooks: how long after the event they came, and which came only by the sweep."""

from __future__ import annotations

import datetime as dt
import math

from django.utils import timezone

from core.admin.attention import User, listed, may
from core.admin.dashboard import Figure, Panel, duration, figures
from core.db.times import SecondsBetween
from webhooks.models import Delivery

NEWEST = 1000  # deliveries that are looked at: the lag of now is asked for, and their table is large
LATELY = dt.timedelta(days=1)


def lag(user: User) -> Panel | None:
    """Tell how late the newest deliveries of the last day were. GitHub's times are cut to whole seconds."""
    if not may(user, "webhooks.view_delivery"):
        return None
    newest = Delivery.objects.order_by("-id").annotate(lag=SecondsBetween("happened_at", "received_at"))
    since = timezone.now() - LATELY
    found = [
        (late, swept)
        for received, late, swept in newest.values_list("received_at", "lag", "swept")[:NEWEST]
        if received >= since
    ]
    lags = sorted(max(0.0, late) for late, _ in found if late is not None)
    swept = sum(swept for _, swept in found)
    if not found:
        return Panel("Webhooks", (figures([Figure("Received in 24 hours", 0, listed("webhooks_delivery"))]),))
    told = [
        Figure("p50", duration(nearest(lags, 50))),
        Figure("p95", duration(nearest(lags, 95))),
        Figure(
            "Came by the sweep",
            f"{swept:,} of {len(found):,} ({100 * swept / len(found):.1f} %)",
            listed("webhooks_delivery", swept__exact=1),
            bad=swept * 10 > len(found),
        ),
    ]
    note = f"How long after the event the newest {len(found):,} of the last 24 hours were received."
    return Panel("Webhook lag", (figures(told),), note=note)


def nearest(ordered: list[float], percent: int) -> float | None:
    """Return a percentile of values in their order (nearest rank)."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None
