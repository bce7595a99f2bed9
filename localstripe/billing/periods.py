"""When the periods of a subscription begin and end: at its anchor, and whole intervals after it, in UTC."""

import calendar
import datetime as dt
from typing import Any

FIXED = {"day": 86_400, "week": 7 * 86_400}


def after(anchor: int, interval: str, count: int) -> int:
    """Return the time `count` intervals after an anchor; on the last of the month if the month is too short."""
    if interval in FIXED:
        return anchor + FIXED[interval] * count
    start = dt.datetime.fromtimestamp(anchor, dt.UTC)
    month = start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = start.year + month // 12, month % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def next_end(anchor: int, moment: int, recurring: dict[str, Any]) -> int:
    """Return the first end of a period after a moment."""
    count = 0
    while (end := after(anchor, recurring["interval"], count * recurring["interval_count"])) <= moment:
        count += 1
    return end


def next_day(moment: int, config: dict[str, Any]) -> int:
    """Return when the day of a month comes next that `billing_cycle_anchor_config` names."""
    now = dt.datetime.fromtimestamp(moment, dt.UTC)
    time = {"hour": now.hour, "minute": now.minute, "second": now.second}
    time |= {name: config[name] for name in time if config.get(name) is not None}
    year, month = now.year, now.month
    while True:
        day = min(config["day_of_month"], calendar.monthrange(year, month)[1])
        found = dt.datetime(year, month, day, **time, tzinfo=dt.UTC)
        if found > now and config.get("month") in (None, month):
            return int(found.timestamp())
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
