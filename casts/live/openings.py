"""Opening many streams at once: what they have to ask of the database is asked together.

A single stream asks for its key, its cast and its first events: three queries and a thread. A thousand that open in one
second, as after a restart, would keep the process busy with nothing else; so whoever comes while one round is
under way waits for the next, and a round asks once for all of them.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from django.db.models import F
from django.http import HttpRequest

from accounts import keys
from accounts.api.authentication import bearer, require
from accounts.models import ApiKey
from casts.access import check_link
from casts.errors import CastNotFound
from casts.lifecycle.events import ENDED_BY
from casts.live import hub
from casts.live.hub import Frame
from casts.models import FINAL, Cast, CastEvent
from core.db.threads import in_thread
from core.errors import SpellError

MOST = 500  # in one round


@dataclass(frozen=True, slots=True)
class Opening:
    """What a stream begins with: the frames to send first, and the number that they follow."""

    first: list[Frame]
    after: int
    final: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """A stream to be opened: by API key, or by a link that was found to be good (`secret` is None)."""

    cast_id: uuid.UUID
    secret: str | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """As much of a cast as a stream has to know."""

    account_id: int
    status: str
    last_seq: int

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


def wish_of(request: HttpRequest, cast_id: uuid.UUID, after: int | None) -> Wish | None:
    """Return what a request wishes; None if only its session can tell who asks. Raise Unauthorized."""
    token = request.GET.get("token") if request.META.get("QUERY_STRING") else None
    if token is not None:
        check_link(str(cast_id), token)
        return Wish(cast_id, None, after)
    secret = bearer(request)
    return None if secret is None else Wish(cast_id, secret, after)


class Openings:
    """The streams that are being opened on one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Wish, asyncio.Future[Opening]]] = []
        self.round: asyncio.Task[None] | None = None

    async def open(self, request: HttpRequest, wish: Wish) -> Opening:
        """Return what a stream begins with; raise Unauthorized, Forbidden or CastNotFound."""
        opened: asyncio.Future[Opening] = asyncio.get_running_loop().create_future()
        self.waiting.append((wish, opened))
        if self.round is None:
            self.round = asyncio.create_task(self._rounds(request))
        return await opened

    async def _rounds(self, request: HttpRequest) -> None:
        try:
            while self.waiting:
                some, self.waiting = self.waiting[:MOST], self.waiting[MOST:]
                try:
                    answers = await in_thread(request, openings_for, [wish for wish, _ in some])
                except Exception as exc:  # the same for all of them: the database is away
                    answers = [exc] * len(some)
                for (_, opened), answer in zip(some, answers, strict=True):
                    if opened.cancelled():
                        continue
                    if isinstance(answer, Opening):
                        opened.set_result(answer)
                    else:
                        opened.set_exception(answer)
        finally:
            self.round = None


def openings_for(wishes: list[Wish]) -> list[Opening | Exception]:
    """Answer each wish, or say why not. The number of queries does not depend on how many there are."""
    keyring = {secret: key_or_error(secret) for secret in {w.secret for w in wishes if w.secret is not None}}
    rows = Cast.objects.filter(pk__in={w.cast_id for w in wishes}).values_list("pk", "account", "status", "last_seq")
    standing = {pk: Standing(account_id, status, last_seq) for pk, account_id, status, last_seq in rows}
    answers: list[Opening | Exception | None] = []
    for wish in wishes:
        key = keyring[wish.secret] if wish.secret is not None else None
        cast = standing.get(wish.cast_id)
        if isinstance(key, SpellError):
            answers.append(key)
        elif cast is None or (key is not None and key.account_id != cast.account_id):
            answers.append(CastNotFound(f"There is no cast {wish.cast_id} in this account."))
        else:
            answers.append(None)
    allowed = [wish for wish, answer in zip(wishes, answers, strict=True) if answer is None]
    opened = iter(begin(allowed, standing))
    return [next(opened) if answer is None else answer for answer in answers]


def key_or_error(secret: str) -> ApiKey | SpellError:
    """Return the key if it may read casts, else why not."""
    try:
        key = keys.authenticate(secret)
        require(key, "casts:read")
    except SpellError as exc:
        return exc
    return key


def begin(wishes: list[Wish], standing: dict[uuid.UUID, Standing]) -> list[Opening]:
    """Return what each begins with: what follows its position; without one the newest event, which is a snapshot.

    Of a cast that has ended that is the end, though a re-run's note may follow it in the history.
    """
    ended = {w.cast_id for w in wishes if standing[w.cast_id].final}
    ends = dict(CastEvent.objects.filter(cast__in=ended, kind=ENDED_BY).values_list("cast", "seq")) if ended else {}
    fresh = {w.cast_id for w in wishes if w.after is None and w.cast_id not in ended}
    newest = CastEvent.objects.filter(cast__in=fresh, seq=F("cast__last_seq")) if fresh else CastEvent.objects.none()
    snapshots = {event.cast_id: frame for event, frame in hub.frames(newest, wanted=lambda _: True)}
    # Whoever claims to have more than there is must not miss what is still to come.
    starts = [
        min(ends[w.cast_id] - 1 if w.after is None else w.after, standing[w.cast_id].last_seq)
        if w.cast_id not in snapshots or w.after is not None
        else snapshots[w.cast_id].seq - 1
        for w in wishes
    ]
    since: dict[uuid.UUID, int] = {}
    for wish, after in zip(wishes, starts, strict=True):
        if wish.after is not None or wish.cast_id in ended:
            since[wish.cast_id] = min(after, since.get(wish.cast_id, after))
    later = frames_since({i: after for i, after in since.items() if after < standing[i].last_seq})
    openings = []
    for wish, after in zip(wishes, starts, strict=True):
        final = wish.cast_id in ended
        if wish.after is None and not final:
            first = [snapshots[wish.cast_id]]
        else:
            first = [frame for frame in later.get(wish.cast_id, ()) if frame.seq > after]
        if final and not any(frame.final for frame in first):
            first = []
        openings.append(Opening(first, after, final))
    return openings


def frames_since(since: dict[uuid.UUID, int]) -> dict[uuid.UUID, list[Frame]]:
    """Return each cast's frames above a number, rendered once."""
    frames: dict[uuid.UUID, list[Frame]] = {}
    if since:
        events = CastEvent.objects.filter(cast__in=since, seq__gt=min(since.values())).order_by("cast", "seq")
        for event, frame in hub.frames(events, wanted=lambda event: event.seq > since[event.cast_id]):
            frames.setdefault(event.cast_id, []).append(frame)
    return frames


_openings: tuple[asyncio.AbstractEventLoop, Openings] | None = None


def openings() -> Openings:
    """Return those of the running event loop."""
    global _openings
    loop = asyncio.get_running_loop()
    if _openings is None or _openings[0] is not loop:
        _openings = loop, Openings()
    return _openings[1]
