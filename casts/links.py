"""The links we hand out: absolute, and for browsers signed.

EventSource can't set headers, so a browser's link carries a token: read-only, for one cast, expiring. An API key
never appears in a URL.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.core import signing
from django.urls import get_script_prefix, reverse

from casts import links
from core.urls import absolute

NOBODY = uuid.UUID(int=0)  # stands for an id in a path


def _signer(cast_id: uuid.UUID | str) -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"casts.links:{cast_id}", sep=".")


def token_for(cast_id: uuid.UUID) -> str:
    """Return a token that lets its holder read this cast, for LINK_DAYS days."""
    return _token(cast_id, int(time.time() // 60))


@lru_cache(maxsize=4096)
def _token(cast_id: uuid.UUID, minute: int) -> str:
    # A page of casts has several links to each, and is asked for again and again: signed once a minute.
    return _signer(cast_id).sign("r").removeprefix("r.")


def expiry_of(cast_id: uuid.UUID | str, token: str) -> int | None:
    """Return when `token`, which was made by us for this cast, expires (as time.time()); None if it opens nothing."""
    try:
        _signer(cast_id).unsign(f"r.{token}", max_age=dt.timedelta(days=settings.LINK_DAYS))
    except signing.BadSignature:
        return None
    return signing.b62_decode(token.partition(".")[0]) + settings.LINK_DAYS * 86_400


def _path(name: str, cast_id: uuid.UUID | str) -> str:
    return _pattern(name, get_script_prefix()).replace(str(NOBODY), str(cast_id))


@cache
def _pattern(name: str, prefix: str) -> str:
    return reverse(name, args=[NOBODY])  # resolving names is a third of what a page of casts costs


def cast_url(cast_id: uuid.UUID | str) -> str:
    return absolute(_path("api:cast", cast_id))


def progress_url(cast_id: uuid.UUID) -> str:
    return absolute(_path("cast-page", cast_id), token=token_for(cast_id))


def events_url(cast_id: uuid.UUID) -> str:
    return absolute(_path("api:cast-events", cast_id), token=token_for(cast_id))


def artifact_url(cast_id: uuid.UUID, name: str) -> str:
    return absolute(reverse("api:cast-artifact", args=[cast_id, name]), token=token_for(cast_id))


def with_links(cast_id: uuid.UUID, data: dict[str, Any]) -> dict[str, Any]:
    # Made when read, never stored with the event: the tokens in them expire.
    artifacts = [a | {"url": links.artifact_url(cast_id, a["name"])} for a in data["artifacts"]]
    main = next((a for a in artifacts if a["name"] == "spell-result"), artifacts[0] if artifacts else None)
    return data | {"artifacts": artifacts, "artifact_url": main["url"] if main else None}
