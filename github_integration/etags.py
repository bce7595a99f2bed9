"""What GitHub answered before, so that it need not again: a 304 costs nothing of the rate limit.

An ETag holds for the access token that got it, so an answer is kept with its token and dropped with it.
Source: https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

ENTRIES_MAX = 4_096
BYTES_MAX = 32 * 1024 * 1024  # of compressed bodies
FAST = 1  # zlib's level: bodies of runs and jobs shrink to a tenth with any

Key = tuple[bytes, str, tuple[tuple[str, str], ...]]  # digest of the access token, path, query


@dataclass(frozen=True)
class Kept:
    """One answer."""

    etag: str
    packed: bytes

    def body(self) -> bytes:
        return zlib.decompress(self.packed)


class Etags:
    """The latest answers, those asked for longest ago dropped first. Safe to share between threads."""

    def __init__(self, *, entries: int = ENTRIES_MAX, size: int = BYTES_MAX) -> None:
        self._entries_max, self._bytes_max = entries, size
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, access_token: str, path: str, query: Mapping[str, object]) -> Kept | None:
        key = _key(access_token, path, query)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return kept

    def put(self, access_token: str, path: str, query: Mapping[str, object], *, etag: str, body: bytes) -> None:
        """Keep an answer in place of an older one; one that is larger than everything together may be is not kept."""
        key, kept = _key(access_token, path, query), Kept(etag, zlib.compress(body, FAST))
        with self._lock:
            self._forget(key)
            if len(kept.packed) > self._bytes_max:
                return
            self._kept[key] = kept
            self._bytes += len(kept.packed)
            while len(self._kept) > self._entries_max or self._bytes > self._bytes_max:
                self._forget(next(iter(self._kept)))

    def drop(self, access_token: str) -> None:
        digest = _digest(access_token)
        with self._lock:
            for key in [key for key in self._kept if key[0] == digest]:
                self._forget(key)

    def _forget(self, key: Key) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._bytes -= len(kept.packed)


def _key(access_token: str, path: str, query: Mapping[str, object]) -> Key:
    return _digest(access_token), path, tuple(sorted((name, str(value)) for name, value in query.items()))


def _digest(access_token: str) -> bytes:
    return hashlib.sha256(access_token.encode()).digest()
