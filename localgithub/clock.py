import threading
import time
from datetime import UTC, datetime, timedelta

_lock = threading.Lock()
_last_id = 0


def now() -> datetime:
    """Return the current time in whole seconds, as GitHub has it."""
    return datetime.now(UTC).replace(microsecond=0)


def iso(moment: datetime | None) -> str | None:
    """Write a time as GitHub does: 2026-11-23T10:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def later(**parts: float) -> datetime:
    return now() + timedelta(**parts)


def log_stamp() -> str:
    """Return the timestamp of a log line, with seven decimals and a Z as GitHub's runner writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def next_id() -> int:
    """Return a new id: above 2^31, as GitHub's are, and never used before, not even before a restart."""
    global _last_id
    with _lock:
        # Milliseconds are ahead of every id of an earlier process, which made fewer than a thousand a second.
        _last_id = max(_last_id + 1, int(time.time() * 1000))
        return _last_id
