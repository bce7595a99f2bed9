import threading
import time
from datetime import UTC, datetime, timedelta

_lock = threading.Lock()
_last_id = 0


def now() -> datetime:
    """Return the present time with GitHub's resolution of one second."""
    return datetime.now(UTC).replace(microsecond=0)


def iso(moment: datetime | None) -> str | None:
    """Write a time as GitHub does: 2026-11-23T10:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def later(**parts: float) -> datetime:
    """Return the time that is so far from now."""
    return now() + timedelta(**parts)


def log_stamp() -> str:
    """Return the prefix of a log line: seven decimals and a Z, as the runner writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def next_id() -> int:
    """Return a new id: far above 2^31, never repeated, also not after a restart."""
    global _last_id
    with _lock:
        _last_id = max(_last_id + 1, int(time.time() * 1000))
        return _last_id
