"""Streams that are opened together: asked for at once, answered each for itself."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest
from django.db import OperationalError, connection, connections
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.models import Account
from casts.errors import CastNotFound
from casts.lifecycle import dispatching, ending, observing
from casts.live import openings
from casts.live.openings import StreamRequest, StreamStart, openings_for
from casts.models import CastStatus
from casts.runtime import Observation
from core.errors import Forbidden, Unauthorized
from tests.casts.conftest import claim

pytestmark = pytest.mark.django_db


def seqs(opening):
    assert isinstance(opening, StreamStart), opening
    return [frame.seq for frame in opening.first]


def events(make_cast, n):
    cast = make_cast()
    for number in range(n - 1):
        held = claim(cast)
        dispatching.wait_for(held, reason="waiting_for_github", message=f"{number}")
        held.give_back(None)
    cast.refresh_from_db()
    assert cast.last_seq == n
    return cast


def test_each_position_gets_what_follows_it_and_none_the_newest(make_cast, secret):
    cast = events(make_cast, 5)
    requests = [StreamRequest(cast.pk, secret, after) for after in (None, 0, 3, 4, 5, 9)]
    assert [seqs(opening) for opening in openings_for(requests)] == [[5], [1, 2, 3, 4, 5], [4, 5], [5], [], []]
    started = [opening for opening in openings_for(requests) if isinstance(opening, StreamStart)]
    assert [opening.after for opening in started] == [4, 0, 3, 4, 5, 5]


def test_of_an_ended_cast_it_is_the_end_whatever_follows_it(make_cast, secret):
    cast = make_cast()
    observing.observe(cast.pk, Observation(cast.run_scope, "7", status="in_progress", attempt=1))
    ending.end(claim(cast), CastStatus.SUCCEEDED, reason="succeeded", message="Done.", charge=True)
    observing.observe(cast.pk, Observation(cast.run_scope, "7", attempt=2, status="queued"))
    cast.refresh_from_db()
    assert cast.last_seq == 4  # a re-run's note is the last line
    got = openings_for([StreamRequest(cast.pk, secret, after) for after in (None, 0, 2, 3, 4)])
    assert [seqs(opening) for opening in got] == [[3, 4], [1, 2, 3, 4], [3, 4], [], []]
    assert all(isinstance(opening, StreamStart) and opening.final for opening in got)


def test_each_is_refused_for_its_own_reason(make_cast, account, secret):
    mine = make_cast()
    _, foreign = keys.create(Account.objects.create(name="another"), name="k")
    _, narrow = keys.create(account, name="k", scopes=["spells:read"])
    good, other, missing, scopeless, wrong, link = openings_for(
        [
            StreamRequest(mine.pk, secret, None),
            StreamRequest(mine.pk, foreign, None),
            StreamRequest(uuid.uuid4(), secret, None),
            StreamRequest(mine.pk, narrow, None),
            StreamRequest(mine.pk, "sk_live_spl_nonsense", None),
            StreamRequest(mine.pk, None, None),
        ]
    )
    assert seqs(good) == seqs(link) == [1]
    assert [type(error) for error in (other, missing, scopeless, wrong)] == [
        CastNotFound,
        CastNotFound,
        Forbidden,
        Unauthorized,
    ]


def test_many_cost_as_many_queries_as_one(make_cast, secret):
    casts = [events(make_cast, 2) for _ in range(20)]

    def queries(requests):
        openings_for([StreamRequest(casts[0].pk, secret, None)])  # the key's last use is written
        with CaptureQueriesContext(connection) as asked:
            openings_for(requests)
        return len(asked)

    kinds = [None, 0]
    assert queries([StreamRequest(casts[0].pk, secret, after) for after in kinds]) == queries(
        [StreamRequest(cast.pk, secret, after) for cast in casts for after in kinds]
    )


def test_who_comes_during_a_round_is_asked_for_in_the_next(monkeypatch):
    rounds = []

    def answer(requests):
        rounds.append(len(requests))
        return [StreamStart([], 0, False) for _ in requests]

    monkeypatch.setattr(openings, "openings_for", answer)
    request = RequestFactory().get("/")

    async def scene():
        waiting = [
            asyncio.create_task(openings.open_stream(request, StreamRequest(uuid.uuid4(), None, None)))
            for _ in range(1200)
        ]
        await asyncio.sleep(0)
        waiting[0].cancel()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(one, StreamStart) for one in done) == 1199
        await openings.open_stream(request, StreamRequest(uuid.uuid4(), None, None))

    asyncio.run(scene())
    assert sum(rounds) >= 1200
    assert max(rounds) <= openings.BATCH_SIZE
    assert len(rounds) <= 5


def test_a_round_that_fails_fails_for_its_own_and_the_next_one_goes_on(monkeypatch):
    answers = [RuntimeError("the database is away"), None]

    def answer(requests):
        if (error := answers.pop(0)) is not None:
            raise error
        return [StreamStart([], 0, False) for _ in requests]

    monkeypatch.setattr(openings, "openings_for", answer)
    request = RequestFactory().get("/")

    async def scene():
        with pytest.raises(RuntimeError, match="away"):
            await openings.open_stream(request, StreamRequest(uuid.uuid4(), None, None))
        assert isinstance(await openings.open_stream(request, StreamRequest(uuid.uuid4(), None, None)), StreamStart)

    asyncio.run(scene())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lost_at", ["heads_of", "starts_of"])
def test_a_connection_that_is_lost_once_costs_nobody_a_stream(make_cast, secret, monkeypatch, lost_at):
    cast, real, losses, admitted = events(make_cast, 3), getattr(openings, lost_at), [1], []

    def losing(*asked):
        if losses and losses.pop():
            with contextlib.suppress(OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(*asked)

    monkeypatch.setattr(openings, lost_at, losing)
    monkeypatch.setattr(openings, "admit", lambda key, visit: admitted.append(key.pk))
    [opening, unknown] = openings_for([StreamRequest(cast.pk, secret, 1), StreamRequest(uuid.uuid4(), secret, 1)])
    assert seqs(opening) == [2, 3]
    assert isinstance(unknown, CastNotFound)
    assert len(admitted) == 2  # once each
    losses += [1, 1]
    with pytest.raises(OperationalError):  # lost again at once: the server restarts
        openings_for([StreamRequest(cast.pk, secret, 1)])
    connections.close_all()
