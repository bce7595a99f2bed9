"""Times as the API writes them."""

import datetime as dt


def stamp(moment: dt.datetime | None) -> str | None:
    """Return a time in RFC 3339, in UTC and milliseconds, as the whole API writes it."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
