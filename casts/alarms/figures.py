"""How much "Needs attention" shows, for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from casts.alarms import messages, watch
from casts.metrics import ATTENTION
from casts.models import Alarm
from core.brief import Brief
from core.telemetry.metrics import Sample

LOOKED: Brief[None, Counter[str]] = Brief(seconds=60)


def attention() -> Iterator[Sample]:
    """Yield how many troubles each source tells of: as workers last saw, or as they are if nobody is sent alarms."""
    on = Alarm.objects.filter(over_at=None).values_list("source", flat=True)
    found = Counter(on) if messages.channels() else LOOKED.get(None, look)
    for source in dict.fromkeys([*watch.sources(), *found]):
        yield ATTENTION.is_(found[source], source)


def look() -> Counter[str]:
    return Counter(seen.source for seen in watch.look()[0].values())
