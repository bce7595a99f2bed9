"""How many streams and waiting requests one key, account, link or address may hold open in a web process.

An open one costs what it always does, and a few numbers that it was counted in. Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from django.conf import settings
from django.http import HttpRequest

from casts.errors import TooManyStreams
from casts.live.grants import ByKey, ByLink, Grant
from core.api.address import client_address, counted_as

RETRY_AFTER = 30  # seconds

# By what it is counted: the setting, and who holds them, for people.
KINDS = {
    "key": ("STREAMS_PER_KEY", "with this API key"),
    "account": ("STREAMS_PER_ACCOUNT", "by this account"),
    # Apart from the account's own, so that strangers with links don't shut out its programs.
    "links": ("STREAMS_PER_ACCOUNT", "with links of this account"),
    "link": ("STREAMS_PER_LINK", "with links to this cast"),
    "address": ("STREAMS_PER_ADDRESS", "without a key from this address"),
}
Name = tuple[str, Hashable]


class Count:
    """How many of one kind one holder has open; one object for all of them."""

    __slots__ = ("name", "number")

    def __init__(self, name: Name) -> None:
        self.name, self.number = name, 0


class Holder(Protocol):
    """An open stream or wait."""

    counts: tuple[Count, ...]


_counts: dict[Name, Count] = {}


def names_before(request: HttpRequest, grant: Grant | None) -> list[Name]:
    """Return by what a stream is counted before anything is read for it; of one by key nothing is known then."""
    if grant is None:
        return []
    address: Name = ("address", counted_as(client_address(request)))
    return [("link", grant.cast_id), address] if isinstance(grant, ByLink) else [address]


def names_of(grant: Grant | None, account_id: int | None) -> list[Name]:
    """Return by what else it is counted once it is known who asks, and whose cast it is."""
    if isinstance(grant, ByLink):
        return [("links", account_id)]
    return [("key", grant.key_id), ("account", account_id)] if isinstance(grant, ByKey) else [("account", account_id)]


def hold(holder: Holder, names: list[Name]) -> None:
    """Count one more by each of these names; raise TooManyStreams, with nothing counted, if one has as many as may."""
    for kind, who in names:
        setting, whose = KINDS[kind]
        most: int = getattr(settings, setting)
        if (found := _counts.get((kind, who))) is not None and found.number >= most:
            raise TooManyStreams(
                f"{most} streams and waiting requests are open {whose}, as many as may be. Close some, or read the "
                "cast without waiting.",
                headers={"Retry-After": str(RETRY_AFTER)},
                limit=kind,
                max_streams=most,
            )
    counts = tuple(_counts.setdefault(name, Count(name)) for name in names)
    for count in counts:
        count.number += 1
    holder.counts += counts


def release(holder: Holder) -> None:
    """Count it no more; may be repeated."""
    counts, holder.counts = holder.counts, ()
    for count in counts:
        count.number -= 1
        if not count.number:
            _counts.pop(count.name, None)
