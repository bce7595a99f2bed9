"""Opening many streams at once: their queries are made together.

A single stream asks for its key, its cast and its first events: three queries and a thread. A thousand that open in one
second, as after a restart, would keep the process busy with nothing else; so they are opened in rounds (core.rounds),
which ask once for all of them.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from django.db.models import F
from django.http import HttpRequest

from accounts import keys
from accounts.api.authentication import bearer, require
from accounts.models import ApiKey
from accounts.principals import of_key
from accounts.rationing.keys import admit
from casts import disclosure
from casts.access import About, admit_link, check_epoch, check_link, may_read, readable_cast
from casts.errors import CastNotFound
from casts.lifecycle.events import ENDED_BY, snapshot
from casts.live.frames import Frame, frame_of, frames_of
from casts.live.grants import ByKey, ByLink, Grant, of_session
from casts.models import FINAL, Cast, CastEvent, Kept
from core import access
from core.db.threads import in_thread, read_again
from core.errors import Malformed, SpellError
from core.rationing.visits import Visit, visit
from core.rounds import Rounds

BATCH_SIZE = 500  # streams that one round asks for
STREAM_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    # The format is always UTF-8, but many clients take text without a charset for Latin-1.
    "Content-Type": "text/event-stream; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What a stream begins with: the frames to send first, and the number that they follow."""

    first: list[Frame]
    after: int
    final: bool
    grant: Grant | None = None
    account_id: int | None = None  # whose cast it is

    @property
    def over(self) -> bool:
        """Whether nothing will come: the cast has ended, and the caller has its last event."""
        return self.final and not self.first


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A stream to be opened: by API key, or by what has been checked already (`secret` is None)."""

    cast_id: uuid.UUID
    secret: str | None
    after: int | None
    grant: Grant | None = None
    token: str | None = None  # of the link, whose allowance is still to be spent
    visit: Visit | None = None
    admitted: bool = False  # its allowances have been spent


@dataclass(frozen=True, slots=True)
class CastHead:
    """The columns of a cast that a stream needs."""

    about: About
    status: str
    last_seq: int
    links_epoch: int
    removed: dict[str, object] | None

    @property
    def final(self) -> bool:
        return self.status in FINAL


def position(request: HttpRequest) -> int | None:
    """Return the number of the last event that the client has, None if it has none; raise Malformed."""
    after = request.GET.get("after") if request.META.get("QUERY_STRING") else None
    # The header wins: EventSource sends it when it reconnects, to the address that it was once opened with.
    given = [value for value in (request.headers.get("Last-Event-ID"), after) if value]
    for value in given:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise Malformed(f"The last event's number is a whole number, as our ids are; not {value[:20]!r}.")
    return int(given[0]) if given else None


def parsed_id(cast_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(cast_id)
    except ValueError:
        return None


async def stream_request(request: HttpRequest, cast_id: str) -> StreamRequest:
    """Return which stream a request asks for; raise SpellError if it is malformed or not allowed."""
    after, name = position(request), parsed_id(cast_id)
    if name is not None:
        token = request.GET.get("token") if request.META.get("QUERY_STRING") else None
        if token is not None:
            return StreamRequest(name, None, after, ByLink(name, *check_link(str(name), token)), token, visit.get())
        if (secret := bearer(request)) is not None:
            if keys.well_formed(secret):
                access.note(key=secret[: keys.PREFIX_CHARS])
            return StreamRequest(name, secret, after, visit=visit.get())
    # A session, or no access at all.
    reading = await in_thread(request, readable_cast, request, cast_id)
    grant = of_session(request, reading.cast.account_id, reading.reach)
    return StreamRequest(reading.cast.pk, None, after, grant)


# In one lane of the threads, however many they are.
ROUNDS: Rounds[StreamRequest, StreamStart] = Rounds(lambda some: openings_for(some), most=BATCH_SIZE)


async def open_stream(request: HttpRequest, wanted: StreamRequest) -> StreamStart:
    """Return what a stream begins with; raise Unauthorized, Forbidden or CastNotFound."""
    return await ROUNDS.ask("streams", wanted, request=request)


Keyring = dict[str, ApiKey | SpellError]  # by the keys' secrets


def openings_for(requests: list[StreamRequest]) -> list[StreamStart | Exception]:
    """Return each request's start, or the error that refuses it; in as many queries for one as for many."""
    # Read again if the connection is lost, since an EventSource that is answered 503 never comes back. What is spent of
    # allowances in between is spent once.
    keyring, heads = read_again(lambda: (keyring_of(requests), heads_of(requests)))
    refusals = [refusal(request, keyring, heads) for request in requests]
    allowed = [request for request, refused in zip(requests, refusals, strict=True) if refused is None]
    starts = iter(read_again(lambda: starts_of(allowed, heads, keyring)))
    return [next(starts) if refused is None else refused for refused in refusals]


def keyring_of(requests: list[StreamRequest]) -> Keyring:
    return {secret: key_or_error(secret) for secret in {r.secret for r in requests if r.secret is not None}}


def heads_of(requests: list[StreamRequest]) -> dict[uuid.UUID, CastHead]:
    rows = Cast.objects.filter(pk__in={r.cast_id for r in requests})
    columns = ("account", "spell__key", "status", "last_seq", "links_epoch", "removed")
    return {
        pk: CastHead(About(pk, account, spell), *rest) for pk, account, spell, *rest in rows.values_list("pk", *columns)
    }


def grant_of(request: StreamRequest, keyring: Keyring) -> Grant | None:
    key = keyring[request.secret] if request.secret is not None else None
    return ByKey(key.pk) if isinstance(key, ApiKey) else request.grant


def refusal(request: StreamRequest, keyring: Keyring, heads: dict[uuid.UUID, CastHead]) -> SpellError | None:
    key = keyring[request.secret] if request.secret is not None else None
    if isinstance(key, SpellError):
        return key
    try:
        check(request, key, heads.get(request.cast_id))
    except SpellError as exc:
        return exc
    return None


def check(request: StreamRequest, key: ApiKey | None, head: CastHead | None) -> None:
    """Raise SpellError unless a request may have its stream."""
    if key is not None:
        if not request.admitted:
            admit(key, request.visit)
        require(key, "casts:read")
    if head is None or (key is not None and not may_read(of_key(key), head.about)):
        raise CastNotFound(f"There is no cast {request.cast_id} in this account.")
    if isinstance(request.grant, ByLink):
        check_epoch(request.grant.epoch, head.links_epoch)
        if request.token is not None and not request.admitted:
            admit_link(request.cast_id, request.token, request.visit)


def key_or_error(secret: str) -> ApiKey | SpellError:
    try:
        return keys.authenticate(secret)
    except SpellError as exc:
        return exc


def starts_of(requests: list[StreamRequest], heads: dict[uuid.UUID, CastHead], keyring: Keyring) -> list[StreamStart]:
    """Return what each stream begins with: the events after its position, or, without one, the newest, a snapshot.

    Of a cast that has ended the snapshot is its end, though the note of a re-run may follow it in the history.
    """
    fresh = {r.cast_id for r in requests if r.after is None}
    ends = end_numbers({cast_id for cast_id in fresh if heads[cast_id].final})
    snapshots = newest_frames({cast_id for cast_id in fresh if not heads[cast_id].final})
    positions = [position_of(request, heads[request.cast_id], ends, snapshots) for request in requests]
    lowest: dict[uuid.UUID, int] = {}
    for request, after in zip(requests, positions, strict=True):
        if request.after is not None or heads[request.cast_id].final:
            lowest[request.cast_id] = min(after, lowest.get(request.cast_id, after))
    later = frames_since({cast_id: after for cast_id, after in lowest.items() if after < heads[cast_id].last_seq})
    for cast_id, frame in ends_without_history(
        {pk for pk in lowest if Kept.EVENT in (heads[pk].removed or {})}
    ).items():
        later[cast_id] = [frame]
    starts = []
    for request, after in zip(requests, positions, strict=True):
        final = heads[request.cast_id].final
        if request.after is None and not final:
            first = [snapshots[request.cast_id]]
        else:
            first = [frame for frame in later.get(request.cast_id, ()) if frame.seq > after]
        if final and not any(frame.final for frame in first):
            first = []
        starts.append(
            StreamStart(first, after, final, grant_of(request, keyring), heads[request.cast_id].about.account_id)
        )
    return starts


def position_of(
    request: StreamRequest, head: CastHead, ends: dict[uuid.UUID, int], snapshots: dict[uuid.UUID, Frame]
) -> int:
    if request.after is not None:
        # A client that claims to have more than there is must not miss what is still to come.
        return min(request.after, head.last_seq)
    # Without its history the end is the last that there was.
    return (ends.get(request.cast_id, head.last_seq) if head.final else snapshots[request.cast_id].seq) - 1


def end_numbers(cast_ids: set[uuid.UUID]) -> dict[uuid.UUID, int]:
    if not cast_ids:
        return {}
    return dict(CastEvent.objects.filter(cast__in=cast_ids, kind=ENDED_BY).values_list("cast", "seq"))


def newest_frames(cast_ids: set[uuid.UUID]) -> dict[uuid.UUID, Frame]:
    if not cast_ids:
        return {}
    newest = CastEvent.objects.filter(cast__in=cast_ids, seq=F("cast__last_seq"))
    return {event.cast_id: frame for event, frame in frames_of(newest, wanted=lambda _: True)}


def ends_without_history(cast_ids: set[uuid.UUID]) -> dict[uuid.UUID, Frame]:
    """Return the last event of casts whose events were deleted, made of the casts as they are."""
    if not cast_ids:
        return {}
    ended = Cast.objects.filter(pk__in=cast_ids).select_related("spell").prefetch_related("artifacts")
    return {cast.pk: frame_of(*as_event(cast)) for cast in ended}


def as_event(cast: Cast) -> tuple[CastEvent, disclosure.Mask | None]:
    event = CastEvent(cast=cast, seq=cast.last_seq, kind=ENDED_BY, data=snapshot(cast))
    vars(event).update(links_epoch=cast.links_epoch, main_artifact=cast.spell.result_artifact)
    return event, None if cast.spell.show_run else disclosure.mask_of(cast)


def frames_since(since: dict[uuid.UUID, int]) -> dict[uuid.UUID, list[Frame]]:
    frames: dict[uuid.UUID, list[Frame]] = {}
    if since:
        events = CastEvent.objects.filter(cast__in=since, seq__gt=min(since.values())).order_by("cast", "seq")
        for event, frame in frames_of(events, wanted=lambda event: event.seq > since[event.cast_id]):
            frames.setdefault(event.cast_id, []).append(frame)
    return frames
