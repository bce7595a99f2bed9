"""Times as the API writes them, and spans as people read them."""

import datetime as dt

MOST_DAYS = 36_500  # for which something is kept or valid: a century, beyond which dates can't be reckoned


def stamp(moment: dt.datetime | None) -> str | None:
    """Return a time in RFC 3339, in UTC and milliseconds, as the whole API writes it."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def midnight(day: dt.date) -> dt.datetime:
    """Return when a day (UTC) begins."""
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)


def day_text(day: dt.date) -> str:
    """Return a day, or the day of a time, as all pages write it."""
    return f"{day.day} {day:%b %Y}"


def spoken(span: dt.timedelta) -> str:
    """Return a span in whole units."""
    seconds = int(span.total_seconds())
    if seconds < 1:
        return "under 1 s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
