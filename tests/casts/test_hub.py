"""The hub, moved by hand: two who watch one cast, and the moment between a read and a wake-up."""

from __future__ import annotations

import asyncio

import pytest

from casts import lifecycle, streams
from casts.runtime import Observation
from tests.casts.conftest import claim
from tests.casts.test_streams import do

pytestmark = pytest.mark.django_db(transaction=True)


def end(cast):
    lifecycle.end(claim(cast), "succeeded", reason="succeeded", message="Done.", charge=True)


def frames_after(cast, after):
    return [streams.frame(event) for event in lifecycle.history(cast.pk, after=after)]


class Still(streams.Hub):
    """A hub that looks only when told."""

    def _listen(self):
        pass

    async def look(self):
        await do(self._read, None)
        await asyncio.sleep(0)


def test_who_reads_the_table_first_does_not_take_the_news_from_who_waits(cast):
    """One waits; the cast ends; before the hub looks, another opens a stream and reads the end from the table."""

    async def scene():
        hub = Still(asyncio.get_running_loop())
        with hub.subscribe(cast.pk) as first:
            hub.seen(cast.pk, 1)
            await do(end, cast)
            with hub.subscribe(cast.pk) as second:
                [frame] = await do(frames_after, cast, 1)
                hub.seen(cast.pk, frame.seq)
                await hub.look()
                assert [f.seq for f in first.frames] == [2]
                assert {f.seq for f in second.frames} <= {2}
        hub._beat.cancel()

    asyncio.run(scene())


def test_what_was_handed_out_is_not_read_again(cast):
    async def scene():
        hub = Still(asyncio.get_running_loop())
        with hub.subscribe(cast.pk) as only:
            hub.seen(cast.pk, 1)
            await hub.look()
            assert only.frames == []
            await do(end, cast)
            await hub.look()
            await hub.look()
            assert [f.seq for f in only.frames] == [2]
        hub._beat.cancel()

    asyncio.run(scene())


def test_a_stream_skips_what_it_has_and_ends_with_the_final_frame(cast):
    async def scene():
        lifecycle_frames = [streams.Frame(n, f"{n}".encode(), n == 4) for n in range(1, 6)]
        subscriber, closed = streams.Subscriber(), []
        subscriber.deliver(lifecycle_frames[1:4])
        subscriber.deliver(lifecycle_frames)
        sent = [
            part
            async for part in streams.stream(
                subscriber, lifecycle_frames[:2], after=1, done=lambda: closed.append(True)
            )
        ]
        assert sent == [streams.RETRY_FRAME, b"2", b"3", b"4"]
        assert closed == [True]

    asyncio.run(scene())


def test_one_read_serves_many_casts_and_renders_each_event_once(make_cast, monkeypatch):
    casts = [make_cast() for _ in range(250)]
    rendered = []
    frame = streams.frame
    monkeypatch.setattr(streams, "frame", lambda event: rendered.append(event.pk) or frame(event))

    async def scene():
        hub = Still(asyncio.get_running_loop())
        opened = [hub.subscribe(cast.pk) for cast in casts for _ in range(2)]
        subscribers = [one.__enter__() for one in opened]
        await hub.look()
        assert all([f.seq for f in s.frames] == [1] for s in subscribers)
        for one in opened:
            one.__exit__(None, None, None)
        assert hub.topics == {}
        hub._beat.cancel()

    asyncio.run(scene())
    assert len(rendered) == len(set(rendered)) == 250


def test_a_waiter_wakes_for_the_end_alone(cast):
    async def scene():
        hub = Still(asyncio.get_running_loop())
        with hub.subscribe(cast.pk) as subscriber:
            waiting = asyncio.create_task(streams.wait_until_final(subscriber, 5))
            await do(lifecycle.observe, cast.pk, Observation(cast.repository, 1, status="in_progress"))
            await hub.look()
            subscriber.deliver(())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await do(end, cast)
            await hub.look()
            await asyncio.wait_for(waiting, 1)
        hub._beat.cancel()

    asyncio.run(scene())
