"""Server-sent events on the wire: how a cast's events, and what stands between them, are rendered."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from django.db.models import F, QuerySet

from casts import disclosure
from casts.access import Reach
from casts.lifecycle.events import ENDED_BY
from casts.links import Link, token_again, token_for, with_links, without_tokens
from casts.live.grants import ByKey, ByLink, BySession, Grant, Refused
from casts.models import CastEvent

RETRY_FRAME = b"retry: 2000\n\n"  # milliseconds until EventSource reconnects
HEARTBEAT_FRAME = b": heartbeat\n\n"  # a comment; stops proxies from closing an idle stream


class Frame(NamedTuple):
    """One event on the wire."""

    seq: int
    data: bytes
    final: bool
    by_session: bytes = b""  # the same without tokens
    status: disclosure.Data | None = None  # for who may not read what is in the cast: few, so it is rendered for each
    token: str = ""  # in the links of `data`, if there are any

    def told_to(self, grant: Grant | None) -> bytes:
        """Return what a stream is sent that was let in so."""
        if isinstance(grant, ByLink) and self.token:  # a newer one would open for longer than what let in
            own = token_again(grant.cast_id, Link(grant.epoch, grant.expires_at))
            return self.data.replace(self.token.encode(), own.encode())
        if isinstance(grant, ByKey | ByLink):
            return self.data
        if grant is not None and grant.reach == Reach.ALL:
            return self.by_session
        return message(self.seq, self.status or {})


class News(NamedTuple):
    """What has changed in an account's list of casts, as the streams of its members get it."""

    seq: int  # of this process; a list is not resumed, but read anew
    whole: bytes
    status: bytes  # for who may not read what is in the casts
    final: bool = False

    def told_to(self, grant: Grant | None) -> bytes:
        """Return what a stream is sent that was let in so."""
        return self.whole if isinstance(grant, BySession) and grant.reach == Reach.ALL else self.status


# No ends of a line in SSE, but for clients that split lines as Unicode does (Python's splitlines).
LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


LATER: disclosure.Data = {"summary": None, "annotations": None}  # not in events of releases that did not have them
OF_THE_CAST = {
    "run_shown": F("cast__spell__show_run"),
    "links_epoch": F("cast__links_epoch"),
    "main_artifact": F("cast__spell__result_artifact"),
}


def frames_of(found: QuerySet[CastEvent], wanted: Callable[[CastEvent], bool]) -> Iterator[tuple[CastEvent, Frame]]:
    events = [event for event in found.annotate(**OF_THE_CAST) if wanted(event)]
    masks = disclosure.masks_of(event.cast_id for event in events if not getattr(event, "run_shown", False))
    for event in events:
        yield event, frame_of(event, masks.get(event.cast_id))


def frame_of(event: CastEvent, mask: disclosure.Mask | None) -> Frame:
    """Render one event, with its links, and without its run if there is a mask."""
    state = event.data if "summary" in event.data else event.data | LATER
    data = state if mask is None else disclosure.without_run(state, mask)
    token = token_for(event.cast_id, getattr(event, "links_epoch", 0))
    linked = with_links(event.cast_id, token, data, main=getattr(event, "main_artifact", ""))
    whole = message(event.seq, linked)
    plain = message(event.seq, without_tokens(linked)) if linked["artifacts"] else whole
    status = disclosure.status_only(data) | {"artifact_url": None}
    return Frame(event.seq, whole, event.kind == ENDED_BY, plain, status, token if linked["artifacts"] else "")


def message(seq: int, data: disclosure.Data) -> bytes:
    # Without a name, so that `onmessage` gets it.
    return f"id: {seq}\n".encode() + data_line(data)


def data_line(data: disclosure.Data) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(LINE_ENDS)
    return f"data: {text}\n\n".encode()


def goodbye(refused: Refused | None) -> bytes:
    """Return the last event of a stream that ends before its cast does.

    `restarting` tells the client to reconnect; `access_ended`, with the reason, that it will not be let in again.
    """
    name, data = ("restarting", "{}") if refused is None else ("access_ended", json.dumps({"reason": refused}))
    # Named, so that `onmessage` does not get it, and without an id, so that the client's position stays. The wait is
    # random, so that not all clients reconnect in one moment.
    return f"retry: {random.randint(200, 2000)}\nevent: {name}\ndata: {data}\n\n".encode()  # noqa: S311
