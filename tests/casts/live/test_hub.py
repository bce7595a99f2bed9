"""The hub, moved by hand: two who watch one cast, and the moment between a read and a wake-up."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from django.db import connection, connections, transaction

from casts.lifecycle import ending, observing, waking
from casts.live import frames, hub
from casts.live.grants import ByKey
from casts.live.window import Window
from casts.models import Cast, CastEvent, CastStatus
from casts.runtime import Observation
from tests.casts.client import run
from tests.casts.conftest import claim
from tests.casts.live.test_streams import do

pytestmark = pytest.mark.django_db(transaction=True)


def end(cast):
    ending.end(claim(cast), CastStatus.SUCCEEDED, reason="succeeded", message="Done.", charge=True)


def frames_after(cast, after):
    later = CastEvent.objects.filter(cast=cast, seq__gt=after).order_by("seq")
    return [frames.frame_of(event, None) for event in later]


class Still(hub.Hub):
    """A hub that looks only when told."""

    def _listen(self):
        pass

    async def look(self):
        await do(self._look)
        await asyncio.sleep(0)

    def rest(self):
        assert self._beat is not None
        self._beat.cancel()


def test_who_reads_the_table_first_does_not_take_the_news_from_who_waits(cast):
    """One waits; the cast ends; before the hub looks, another opens a stream and reads the end from the table."""

    async def scene():
        still = Still(asyncio.get_running_loop())
        with still.subscribe(cast.pk) as first:
            await do(end, cast)
            with still.subscribe(cast.pk) as second:
                assert [frame.seq for frame in await do(frames_after, cast, 1)] == [2]
                await still.look()
                assert [f.seq for f in first.frames] == [f.seq for f in second.frames] == [1, 2]
        still.rest()

    asyncio.run(scene())


def test_what_was_handed_out_is_not_read_again(cast):
    async def scene():
        still = Still(asyncio.get_running_loop())
        with still.subscribe(cast.pk) as only:
            await still.look()
            await still.look()
            assert [f.seq for f in only.frames] == [1]
            await do(end, cast)
            await still.look()
            await still.look()
            await do(still._read, {cast.pk})
            await asyncio.sleep(0)
            assert [f.seq for f in only.frames] == [1, 2]
        still.rest()

    asyncio.run(scene())


def test_a_stream_skips_what_it_has_and_ends_with_the_final_frame(cast):
    async def scene():
        lifecycle_frames = [frames.Frame(n, f"{n}".encode(), n == 4) for n in range(1, 6)]
        subscriber = hub.Subscriber()
        subscriber.grant = ByKey(1)
        subscriber.deliver(lifecycle_frames[1:4])
        subscriber.deliver(lifecycle_frames)
        sent = [part async for part in hub.stream(subscriber, lifecycle_frames[:2], after=1)]
        assert sent == [frames.RETRY_FRAME, b"2", b"3", b"4"]

    asyncio.run(scene())


def test_one_read_serves_many_casts_and_renders_each_event_once(make_cast, monkeypatch):
    casts = [make_cast() for _ in range(250)]
    rendered = []
    frame_of = frames.frame_of
    monkeypatch.setattr(frames, "frame_of", lambda event, mask: rendered.append(event.pk) or frame_of(event, mask))

    async def scene():
        still = Still(asyncio.get_running_loop())
        opened = [still.subscribe(cast.pk) for cast in casts for _ in range(2)]
        subscribers = [one.__enter__() for one in opened]
        await still.look()
        assert all([f.seq for f in s.frames] == [1] for s in subscribers)
        for one in opened:
            one.__exit__(None, None, None)
        assert still.topics == {}
        still.rest()

    asyncio.run(scene())
    assert len(rendered) == len(set(rendered)) == 250


def test_a_waiter_wakes_for_the_end_alone(cast):
    async def scene():
        still = Still(asyncio.get_running_loop())
        with still.subscribe(cast.pk) as subscriber:
            waiting = asyncio.create_task(hub.wait_until_final(subscriber, 5))
            await do(observing.observe, cast.pk, Observation(cast.run_scope, "1", status="in_progress"))
            await still.look()
            subscriber.deliver(())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await do(end, cast)
            await still.look()
            await asyncio.wait_for(waiting, 1)
        still.rest()

    asyncio.run(scene())


def test_a_look_costs_the_same_however_many_are_watched(make_cast, django_assert_num_queries):
    casts = [make_cast() for _ in range(30)]

    async def scene():
        still = Still(asyncio.get_running_loop())
        for cast in casts:
            still.topics[cast.pk] = hub.Topic(seq=1)
        await do(counted, still._look, 2)  # where the window begins, and what is in it
        await do(end, casts[0])
        await do(counted, still._look, 2)

    def counted(work, number):
        with django_assert_num_queries(number):
            work()

    asyncio.run(scene())


def test_a_window_leaves_behind_what_no_transaction_can_still_add_to(cast, monkeypatch, settings):
    settings.STREAM_FALLBACK_SECONDS = 5
    monkeypatch.setattr(connection, "vendor", "postgresql")
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    window = Window()
    begins = [window.begin]
    for looked in range(1, 14):
        clock[0] += 5
        window.advance(looked * 100_000)
        begins.append(window.begin)
    assert begins[:9] == [0] * 9  # forty seconds
    assert begins[9:] == [100_000, 200_000, 300_000, 400_000, 500_000]
    window.advance(0)  # nothing new is no step back
    assert window.begin == 500_000


def test_on_sqlite_what_was_seen_is_settled(cast, monkeypatch):
    monkeypatch.setattr(connection, "vendor", "sqlite")
    window = Window()
    window.advance(7)
    assert window.begin == 7


async def noted(cast):
    """Wait until the cast is known to be followed; the scene's own end is the limit."""
    while await do(lambda: Cast.objects.get(pk=cast.pk).watched_until) is None:
        await asyncio.sleep(0.01)


def test_a_follower_is_told_of_at_once_and_not_with_the_next_look(make_cast, settings):
    settings.STREAM_FALLBACK_SECONDS = 1000
    first, second = make_cast(), make_cast()

    async def scene():
        ours = hub.hub()
        with ours.subscribe(first.pk):
            await noted(first)  # from now on the hub sleeps
            with ours.subscribe(second.pk):
                await noted(second)

    run(scene())


def test_a_follower_of_a_cast_that_somebody_writes_just_then_is_told_of_afterwards(cast, settings):
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite the one who writes waits")
    settings.STREAM_FALLBACK_SECONDS = 1000
    held, done = threading.Event(), threading.Event()

    def write():
        try:
            with transaction.atomic():
                Cast.objects.select_for_update().get(pk=cast.pk)
                held.set()
                done.wait(20)
        finally:
            connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    held.wait(20)
    assert waking.watch([cast.pk], arrived=True) == {cast.pk}

    async def scene():
        with hub.hub().subscribe(cast.pk):
            done.set()
            await noted(cast)

    run(scene())
    writer.join(20)
