"""Identifiers that sort by time."""

import datetime as dt
import hashlib
import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """Return a time-ordered UUID (RFC 9562 §5.7): 60 bits of time, 12 of them within the millisecond, 62 random bits.

    Time order keeps the primary key's index warm at its end and makes it the page cursor; what one process makes within
    a millisecond is in order, too (§6.2, method 3). 62 random bits keep the `[cast:<id>]` tag unguessable.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    within = (rest << 12) // 1_000_000
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | within << 64 | 0x2 << 62 | secrets.randbits(62))


def derived(one: uuid.UUID, *about: str) -> uuid.UUID:
    """Return an id of the same time as another, always the same one for the same words."""
    digest = hashlib.sha256("\0".join((one.hex, *about)).encode()).digest()
    value = one.int >> 80 << 80 | int.from_bytes(digest[:10])
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def first_id(at: dt.datetime) -> uuid.UUID:
    """Return an id that sorts before every id made since `at`; before 1970 there are none."""
    return uuid.UUID(int=max(0, int(at.timestamp() * 1000)) << 80)


def made_at(one: uuid.UUID) -> dt.datetime:
    """Return when an id was made, to the millisecond."""
    return dt.datetime.fromtimestamp((one.int >> 80) / 1000, dt.UTC)


def beginning(digits: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the least and the greatest id that begins with these hexadecimal digits, 32 at most."""
    return uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))


NUMBER_BITS = 20  # of a number that holds its time: below the milliseconds, a counter's last bits


def first_number(at: dt.datetime) -> int:
    """Return the least number that holds this moment, as rows get them on Postgres: see core.db.months."""
    return max(0, int(at.timestamp() * 1000)) << NUMBER_BITS
