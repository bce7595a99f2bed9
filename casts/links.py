"""The links we hand out: absolute, and for browsers signed.

EventSource can't set headers, so a browser's link carries a token: read-only, for one cast, expiring. An API key
never appears in a URL.

A token is `<time>.<signature>`, or `<epoch>.<time>.<signature>` once the cast's links have been revoked. So a token
that we did not sign is refused without asking the database, and the epoch is compared with the row that is read next.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from functools import cache, lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core import signing
from django.urls import get_script_prefix, reverse
from django.utils import timezone

from core.urls import absolute

NOBODY = uuid.UUID(int=0)  # stands for an id in a path


def _signer(cast_id: uuid.UUID | str) -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"casts.links:{cast_id}", sep=".")


class Link(NamedTuple):
    """What a token says that we signed."""

    epoch: int  # the cast's `links_epoch` when it was made
    expires_at: int  # as time.time()


def token_for(cast_id: uuid.UUID, epoch: int = 0) -> str:
    """Return a token that lets its holder read this cast, for LINK_DAYS days; `epoch`: the cast's `links_epoch`."""
    return _token(cast_id, epoch, int(time.time() // 60))


@lru_cache(maxsize=4096)
def _token(cast_id: uuid.UUID, epoch: int, minute: int) -> str:
    # A page of casts has several links to each, and is asked for again and again: signed once a minute.
    return _signer(cast_id).sign(f"r.{epoch}" if epoch else "r").removeprefix("r.")


def expires_at() -> dt.datetime:
    """Return until when a link opens that is made now, at most."""
    return timezone.now() + dt.timedelta(days=settings.LINK_DAYS)


def token_again(cast_id: uuid.UUID, link: Link) -> str:
    """Return the token that says this."""
    signed_at = signing.b62_encode(link.expires_at - settings.LINK_DAYS * 86_400)
    value = f"r.{link.epoch}.{signed_at}" if link.epoch else f"r.{signed_at}"
    return f"{value}.{_signer(cast_id).signature(value)}".removeprefix("r.")


def read_token(cast_id: uuid.UUID | str, token: str) -> Link | None:
    """Return what `token` says, None unless it was made by us for this cast and has not expired."""
    try:
        said = _signer(cast_id).unsign(f"r.{token}", max_age=dt.timedelta(days=settings.LINK_DAYS))
    except signing.BadSignature:
        return None
    signed_at = signing.b62_decode(token.split(".")[-2])
    return Link(int(said.removeprefix("r").removeprefix(".") or 0), signed_at + settings.LINK_DAYS * 86_400)


def _path(name: str, cast_id: uuid.UUID | str) -> str:
    return _pattern(name, get_script_prefix()).replace(str(NOBODY), str(cast_id))


@cache
def _pattern(name: str, prefix: str) -> str:
    return reverse(name, args=[NOBODY])  # resolving names is a third of what a page of casts costs


def cast_url(cast_id: uuid.UUID | str) -> str:
    return absolute(_path("api:cast", cast_id))


def progress_url(cast_id: uuid.UUID, epoch: int = 0) -> str:
    return absolute(_path("cast-page", cast_id), token=token_for(cast_id, epoch))


def events_url(cast_id: uuid.UUID, epoch: int = 0) -> str:
    return absolute(_path("api:cast-events", cast_id), token=token_for(cast_id, epoch))


def artifact_url(cast_id: uuid.UUID, name: str, epoch: int = 0) -> str:
    return artifact_with(cast_id, name, token_for(cast_id, epoch))


def artifact_with(cast_id: uuid.UUID, name: str, token: str) -> str:
    return absolute(reverse("api:cast-artifact", args=[cast_id, name]), token=token)


def with_links(cast_id: uuid.UUID, token: str, data: dict[str, Any], *, main: str) -> dict[str, Any]:
    """Return a cast's state with its links; `main`: the artifact that `artifact_url` leads to, if there is one."""
    # Made when read, never stored with the event: the tokens in them expire.
    artifacts = [a | {"url": artifact_with(cast_id, a["name"], token)} for a in data["artifacts"]]
    chosen = next((a for a in artifacts if a["name"] == main), artifacts[0] if artifacts else None)
    return data | {"artifacts": artifacts, "artifact_url": chosen["url"] if chosen else None}


def without_tokens(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a cast, or its state, for who is logged in: a token would outlast the login and the membership."""
    plain = {name: url and bare(url) for name, url in shown.items() if name in LINKS}
    return shown | plain | {"artifacts": [a | {"url": bare(a["url"])} for a in shown["artifacts"]]}


def carrying(token: str, shown: dict[str, Any]) -> dict[str, Any]:
    """Return a cast for who has come by a link: with its own token, or else newer links would renew it for ever."""
    plain = without_tokens(shown)
    own = {name: url and f"{url}?token={token}" for name, url in plain.items() if name in LINKS}
    return plain | own | {"artifacts": [a | {"url": f"{a['url']}?token={token}"} for a in plain["artifacts"]]}


LINKS = ("progress_url", "events_url", "artifact_url")


def bare(url: str) -> str:
    return url.partition("?")[0]  # names in paths have theirs escaped
