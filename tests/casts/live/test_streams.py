"""Event streams through the ASGI application: snapshot, live, resumed, ended, and who may see them."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import uuid
from contextlib import AsyncExitStack
from functools import partial

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.models import Account, ApiKey
from casts import links
from casts.lifecycle import ending, observing, waking
from casts.live import asgi, frames, hub, openings
from casts.live.asgi import write_now
from casts.live.grants import ByKey
from casts.models import Cast, CastStatus
from casts.runtime import Job, JobStep, Observation
from core import limits
from core.queue import wakeups
from tests.casts.client import Answer, asked, run
from tests.casts.conftest import claim, history
from tests.casts.fake import jobs_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1  # how long the hub's thread may take to end with its test
    settings.STREAM_HEARTBEAT_SECONDS = 30


async def do(work, *args, **kwargs):
    """Do blocking work as another process would: in a thread, with a connection of its own."""

    def inside():
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(None, inside)


def begin(cast):
    observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress", jobs=jobs_of("in_progress")))


def progress(cast, number):
    steps = tuple(JobStep(f"step {i}", i, "completed" if i < number else "in_progress") for i in range(1, number + 1))
    observing.observe(cast.pk, Observation(cast.run_scope, "1", jobs=(Job(1, "job", "in_progress", steps=steps),)))


def finish(cast):
    left = ending.Left(output={"a": 1})
    ending.end(claim(cast), CastStatus.SUCCEEDED, reason="succeeded", message="Done.", left=left, charge=True)


def rerun(cast):
    observing.observe(cast.pk, Observation(cast.run_scope, "1", attempt=2, status="queued"))


def path_of(cast, query=""):
    return f"/api/v1/casts/{cast.pk}/events{query}"


@pytest.fixture
def watch(cast, secret):
    """Open the cast's stream with an API key."""

    def start(query="", **headers):
        return asked(path_of(cast, query), Authorization=f"Bearer {secret}", **headers)

    return start


def test_a_stream_has_its_form_and_its_headers(cast, watch):
    async def scene():
        async with watch() as stream:
            assert stream.status == 200
            assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["Cache-Control"] == "no-store, no-transform"
            assert stream.headers["X-Accel-Buffering"] == "no"
            assert "Content-Length" not in stream.headers
            assert await stream.next() == b"retry: 2000\n\n"
            frame = await stream.next()
            assert frame.startswith(b'id: 1\ndata: {"')
            assert frame.endswith(b"}\n\n")
            assert frame.count(b"\n") == 3
            assert b"event:" not in frame

    run(scene())


def test_a_stream_begins_with_the_state_goes_on_live_and_ends_with_the_cast(cast, watch):
    begin(cast)

    async def scene():
        async with watch() as stream:
            number, data = await stream.event()
            assert (number, data["status"], data["final"]) == (2, "running", False)
            for step in (1, 2):
                await do(progress, cast, step)
                number, data = await stream.event()
                assert (number, data["step"]) == (2 + step, f"step {step}")
            await do(finish, cast)
            number, data = await stream.event()
            assert (number, data["status"], data["final"], data["output"]) == (5, "succeeded", True, {"a": 1})
            assert await stream.next() is None

    run(scene())


def test_a_stream_resumes_exactly_after_the_last_event_seen(cast, watch):
    begin(cast), progress(cast, 1), progress(cast, 2)

    async def scene():
        ways = [(last, way) for last in range(4) for way in (watch(Last_Event_ID=f"{last}"), watch(f"?after={last}"))]
        async with AsyncExitStack() as held:
            opened = [(last, await held.enter_async_context(way)) for last, way in ways]
            await do(finish, cast)
            for last, stream in opened:
                assert [number for number, _ in await stream.events()] == list(range(last + 1, 6))

    run(scene())


def test_a_reconnect_resumes_where_it_is_not_where_its_address_began(cast, watch):
    begin(cast)
    finish(cast)

    async def scene():
        async with watch("?after=0", Last_Event_ID="2") as stream:
            assert [number for number, _ in await stream.events()] == [3]

    run(scene())


def test_a_new_stream_of_an_ended_cast_is_its_last_state_alone(cast, watch):
    begin(cast), finish(cast), rerun(cast)

    async def scene():
        async with watch() as stream:
            events = await stream.events()
            assert [(number, data["final"]) for number, data in events] == [(3, True)]
        async with watch("?after=0") as stream:
            assert [number for number, _ in await stream.events()] == [1, 2, 3]

    run(scene())


def test_who_has_the_end_gets_204_which_stops_a_browser(cast, watch):
    begin(cast), finish(cast), rerun(cast)
    assert history(cast) == ["accepted", "observed", "ended", "rerun_on_github"]

    async def scene():
        for after in ("3", "4", "999999999"):
            async with watch(Last_Event_ID=after) as stream:
                assert stream.status == 204
                assert await stream.body() == b""

    run(scene())


def test_a_position_that_is_none_is_400(cast, watch):
    async def scene():
        for wrong in ("x", "-1", "1.5", "1e3", "٣", "9999999999", "1 2", "0x1", "%00"):
            async with watch(f"?after={wrong}", Last_Event_ID="0") as answer:  # the header wins, and excuses nothing
                assert answer.status == 400
            async with watch(f"?after={wrong}") as answer:
                assert answer.status == 400
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert (await answer.json())["code"] == "MALFORMED_REQUEST"
        async with watch(Last_Event_ID="x") as answer:
            assert answer.status == 400
        async with watch("?after=", Last_Event_ID="") as stream:  # what a browser without one may send
            assert (await stream.event())[0] == 1

    run(scene())


def test_news_comes_by_a_wake_up_and_not_by_looking(cast, watch, settings):
    settings.STREAM_FALLBACK_SECONDS = 3

    async def scene():
        async with watch() as stream:
            await stream.event()
            await asyncio.sleep(0.2)
            began = time.monotonic()
            await do(begin, cast)
            await stream.event()
            assert time.monotonic() - began < 1.5
            settings.STREAM_FALLBACK_SECONDS = 0.1
            await do(finish, cast)
            await stream.event()

    run(scene())


def test_a_position_beyond_the_history_misses_nothing_that_comes(cast, watch):
    """A client may hold a number of a database that was restored from a backup; the end must reach it."""

    async def scene():
        async with watch("?after=999999999") as boaster, watch() as honest:
            await boaster.next()
            assert (await honest.event())[0] == 1
            await do(begin, cast)
            assert (await honest.event())[0] == 2
            assert (await boaster.event())[0] == 2
            await do(finish, cast)
            assert [n for n, _ in await honest.events()] == [3]
            assert [n for n, _ in await boaster.events()] == [3]

    run(scene())


def test_many_watch_one_cast_and_all_see_all_of_it(cast, watch):
    async def one(after):
        async with watch(f"?after={after}") as stream:
            return [number for number, _ in await stream.events()]

    async def scene():
        watching = [asyncio.create_task(one(i % 3)) for i in range(10)]
        for number in range(1, 6):
            await do(progress, cast, number)
            watching.append(asyncio.create_task(one(0)))
        await do(finish, cast)
        seen = await asyncio.gather(*watching)
        assert {tuple(numbers) for numbers in seen} <= {tuple(range(first, 8)) for first in (1, 2, 3)}
        assert hub.hub().topics == {}

    run(scene())


def test_idle_streams_cost_one_look_together_and_that_seldom(cast, watch, monkeypatch):
    looks, look = [], hub.Hub._look
    monkeypatch.setattr(hub.Hub, "_look", lambda hub: looks.append(1) or look(hub))

    async def scene():
        async with AsyncExitStack() as held:
            for _ in range(20):
                await (await held.enter_async_context(watch())).event()
            await asyncio.sleep(0.2)  # the newcomers are told of
            looks.clear()
            await asyncio.sleep(0.55)  # five times the fallback
            assert 1 <= len(looks) <= 6

    run(scene())


def test_a_followed_cast_is_looked_at_more_often_and_one_that_is_left_no_more(cast, make_cast, watch, monkeypatch):
    told: list[tuple[bool, list[uuid.UUID]] | str] = []
    monkeypatch.setattr(waking, "watch", lambda ids, *, arrived: told.append((arrived, ids)) or set())
    monkeypatch.setattr(hub, "WATCHED_EVERY", 0.3)

    async def scene():
        async with watch() as first, watch() as second:
            await first.event()
            await second.event()
            await asyncio.sleep(0.6)
        told.append("left")
        await asyncio.sleep(0.6)

    run(scene())
    assert told.count((True, [cast.pk])) == 1  # once for both
    assert (False, [cast.pk]) in told
    assert told[-1] == "left"


def test_what_comes_goes_out_without_waking_a_stream_that_waits_and_after_what_a_busy_one_has():
    async def run() -> list[bytes]:
        subscriber = hub.Subscriber()
        subscriber.grant = ByKey(1)
        written: list[bytes] = []
        subscriber.write = written.append
        subscriber.beat()  # nobody waits yet: what comes first comes first
        subscriber.deliver([frames.Frame(1, b"one", False)])
        assert [frame.seq for frame in await subscriber.next()] == [1]
        subscriber.after = 1
        waiting = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        subscriber.beat()
        subscriber.deliver([frames.Frame(1, b"one", False), frames.Frame(2, b"two", False)])
        await asyncio.sleep(0)
        assert not waiting.done()
        subscriber.deliver([frames.Frame(3, b"three", True), frames.Frame(4, b"four", False)])  # its task has to end it
        subscriber.beat()  # it is about to send
        assert [frame.seq for frame in await waiting] == [3, 4]
        return written

    assert asyncio.run(run()) == [frames.HEARTBEAT_FRAME, b"two"]


@pytest.mark.parametrize("writes_first", [True, False])
def test_a_client_that_does_not_read_gets_all_of_it_in_order_later(writes_first):
    """Whether a server writes before it waits for its client, or after."""

    async def run() -> list[bytes]:
        reads, written = asyncio.Event(), []

        async def send(message):
            written.extend([message["body"]] * writes_first)
            await reads.wait()
            written.extend([message["body"]] * (not writes_first))

        subscriber = hub.Subscriber()
        subscriber.grant = ByKey(1)
        subscriber.write = partial(write_now, send)
        stream = hub.stream(subscriber, [], after=0)
        parts = [await anext(stream)]
        following: asyncio.Future[bytes] = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for number in range(1, 5):
            subscriber.deliver([frames.Frame(number, b"%d" % number, number == 4)])
            subscriber.beat()
            await asyncio.sleep(0)
        assert not following.done()
        assert written == [b"1"][: int(writes_first)]
        reads.set()
        parts += [await following, *[part async for part in stream]]
        return written + parts

    assert asyncio.run(run()) == [b"1", frames.RETRY_FRAME, b"2", b"3", b"4"]


def test_a_heartbeat_is_a_comment(cast, watch, settings):
    settings.STREAM_HEARTBEAT_SECONDS = 0.1

    async def scene():
        async with watch() as stream:
            assert await stream.next() == b"retry: 2000\n\n"
            await stream.event()
            assert [await stream.next() for _ in range(3)] == [b": heartbeat\n\n"] * 3

    run(scene())


def test_a_missed_wake_up_only_delays(cast, watch, monkeypatch, settings):
    settings.STREAM_FALLBACK_SECONDS = 0.2

    class Deaf:
        def wait(self, timeout):
            time.sleep(timeout)
            return set()

        def interrupt(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr(wakeups, "listener", lambda channel: Deaf())

    async def scene():
        async with watch() as stream:
            await stream.event()
            await do(finish, cast)
            assert (await stream.event())[1]["final"]

    run(scene())


def test_a_hub_whose_look_fails_looks_again(cast, watch, monkeypatch, caplog):
    frame_of, broken = frames.frame_of, iter([True])

    def sometimes(event, mask):
        if event.kind == "ended" and next(broken, False):
            raise RuntimeError("a bug while rendering")
        return frame_of(event, mask)

    monkeypatch.setattr(frames, "frame_of", sometimes)

    async def scene():
        async with watch() as stream:
            await stream.event()
            await do(finish, cast)
            assert (await stream.event())[1]["final"]

    run(scene())
    assert "a bug while rendering" in caplog.text


def test_stopping_closes_every_stream_in_order_and_new_ones_at_once(cast, watch):
    async def scene():
        async with watch() as first, watch() as second:
            await first.event(), await second.event()
            hub.stop()
            for stream in (first, second):
                last = (await stream.next()).decode()
                assert re.fullmatch(r"retry: [0-9]{3,4}\nevent: restarting\ndata: \{\}\n\n", last)
                assert await stream.next() is None
            async with watch() as late:
                assert late.status == 200
                assert [number for number, _ in await late.events()] == [1]

    run(scene())


def test_a_client_that_hangs_up_leaves_nothing_behind(cast, watch):
    async def scene():
        for _ in range(3):
            async with watch() as stream:
                await stream.event()
                assert len(hub.hub().topics[cast.pk].subscribers) == 1
            for _ in range(100):
                if not hub.hub().topics:
                    break
                await asyncio.sleep(0.01)
            assert hub.hub().topics == {}

    run(scene())


class Stuck(Answer):
    """A client that reads nothing from some message on."""

    def __init__(self, after):
        super().__init__()
        self.left, self.stuck = after, asyncio.Event()

    async def send(self, message):
        if self.left == 0:
            self.stuck.set()
            self.started.set()
            await asyncio.Event().wait()
        self.left -= 1
        await super().send(message)


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("server", [None, ASGIHandler], ids=["ours", "Django's"])
def test_a_client_that_reads_nothing_and_hangs_up_leaves_nothing_behind(watch, after, server):
    async def scene():
        client = Stuck(after)
        async with watch(answer=client, server=server and server()):
            await asyncio.wait_for(client.stuck.wait(), 5)
        for _ in range(100):
            if not hub.hub().topics:
                break
            await asyncio.sleep(0.01)
        assert hub.hub().topics == {}

    run(scene())


def test_a_client_that_hangs_up_while_its_stream_is_opened_leaves_nothing_behind(watch, monkeypatch):
    asked_for, hung_up = threading.Event(), threading.Event()

    def slowly(requests):
        asked_for.set()
        hung_up.wait(5)
        return [openings.StreamStart([], 0, False) for _ in requests]

    monkeypatch.setattr(openings, "openings_for", slowly)

    async def scene():
        client = Answer()
        client.started.set()  # it does not wait for an answer
        async with watch(answer=client):
            await do(asked_for.wait, 5)
            assert len(hub.hub().topics) == 1
        hung_up.set()
        assert hub.hub().topics == {}
        assert client.status == 0

    run(scene())


def test_a_server_that_is_told_to_stop_at_once_ends_a_stream(watch):
    async def scene():
        server: list[asyncio.Task[None]] = []

        async def cancelled(scope, receive, send):
            task = asyncio.current_task()
            assert task is not None
            server.append(task)
            await application(scope, receive, send)

        from spellplatform.asgi import application

        async with watch(server=cancelled) as stream:
            await stream.event()
            server[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await server[0]
            assert hub.hub().topics == {}

    run(scene())


def test_djangos_own_handler_streams_as_well(cast, watch):
    begin(cast)

    async def scene():
        async with watch("?after=1", server=ASGIHandler()) as stream:
            assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["Cache-Control"] == "no-store, no-transform"
            assert stream.headers["X-Accel-Buffering"] == "no"
            assert await stream.next() == b"retry: 2000\n\n"
            assert (await stream.event())[0] == 2
            await do(finish, cast)
            assert [number for number, _ in await stream.events()] == [3]
        async with watch("?after=3", server=ASGIHandler()) as stream:
            assert stream.status == 204

    run(scene())


def test_a_query_in_other_letters_and_a_body_are_passed_over(cast, watch):
    async def scene():
        async with watch("?name=é&after=0") as stream:
            assert (await stream.event())[0] == 1
        async with watch(body=b"hello") as stream:
            assert (await stream.event())[0] == 1

    run(scene())


def test_a_body_that_is_too_large_for_anything_opens_no_stream(watch):
    async def scene():
        async with watch(body=b"x" * (limits.BODY_BYTES + 1)) as answer:
            assert answer.status == 413
            assert (await answer.json())["code"] == "INPUT_TOO_LARGE"
            assert hub.hub().topics == {}

    run(scene())


def test_streams_are_served_where_the_api_has_them(cast):
    path = reverse("api:cast-events", args=[cast.pk])
    scope = {"method": "GET", "path": path, "query_string": b""}
    assert asgi.asks_for_events(scope)
    for other in (path + "/", path[1:], f"/x{path}", path.replace("v1", "v2"), path.replace("-", "/"), path + "\n"):
        assert not asgi.asks_for_events(scope | {"path": other})


def test_an_artifact_in_an_event_has_its_address(make_cast, secret):
    cast = make_cast()
    begin(cast)
    Cast.objects.filter(pk=cast.pk).update(run_finished_at=timezone.now())
    cast.artifacts.create(name="log", remote_id=1)
    cast.artifacts.create(name="spell-result", remote_id=2, state="stored", sha256="ab" * 32, size_bytes=5)
    finish(cast)

    async def scene():
        async with asked(path_of(cast), Authorization=f"Bearer {secret}") as stream:
            _, data = await stream.event()
        assert data["artifact_url"] == data["artifacts"][1]["url"]
        assert data["artifact_url"].startswith(
            f"http://testserver/api/v1/casts/{cast.pk}/artifacts/spell-result?token="
        )
        assert data["artifacts"][1]["digest"] == f"sha256:{'ab' * 32}"
        assert data["artifacts"][0]["state"] == "pending"

    run(scene())


# --- who may watch ----------------------------------------------------------------------------------------------------


async def status_of(path, **headers):
    async with asked(path, **headers) as answer:
        if answer.status != 200:
            assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.status


def test_a_stream_needs_a_key_a_session_or_a_token(cast):
    async def scene():
        assert await status_of(path_of(cast)) == 401
        assert await status_of(path_of(cast), Authorization="Bearer nonsense") == 401
        assert await status_of(path_of(cast), Cookie="sessionid=nonsense") == 401
        assert hub.hub().topics == {}

    run(scene())


def test_another_accounts_stream_is_not_found(cast):
    _, other = keys.create(Account.objects.create(name="Other"), name="theirs")

    async def scene():
        assert await status_of(path_of(cast), Authorization=f"Bearer {other}") == 404
        assert await status_of(f"/api/v1/casts/{uuid.uuid4()}/events", Authorization=f"Bearer {other}") == 404
        assert await status_of("/api/v1/casts/nonsense/events", Authorization=f"Bearer {other}") == 404
        assert hub.hub().topics == {}

    run(scene())


def test_a_key_needs_the_scope_to_read(cast, api_key, secret):
    ApiKey.objects.update(scopes=["casts:write", "keys"])

    async def scene():
        assert await status_of(path_of(cast), Authorization=f"Bearer {secret}") == 403

    run(scene())


def test_a_casts_own_link_opens_its_stream_and_no_other(cast, make_cast):
    other, token = make_cast(), links.token_for(cast.pk)

    async def scene():
        opened = links.events_url(cast.pk).removeprefix("http://testserver")
        assert await status_of(opened) == 200
        assert await status_of(path_of(cast, f"?token={token}")) == 200
        for wrong in (token[:-1], token + "x", "", "nonsense", token.swapcase(), "%C3%A9", "a.b", "%00"):
            assert await status_of(path_of(cast, f"?token={wrong}")) == 401
        assert await status_of(path_of(other, f"?token={token}")) == 401

    run(scene())


def test_a_link_opens_for_its_days_and_no_longer(cast, settings):
    settings.LINK_DAYS = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.signing.time.time", lambda: timezone.now().timestamp() - 86_400 + 60)
        fresh = links.token_for(cast.pk)
        patch.setattr("django.core.signing.time.time", lambda: timezone.now().timestamp() - 86_400 - 60)
        old = links.token_for(cast.pk)

    async def scene():
        assert await status_of(path_of(cast, f"?token={fresh}")) == 200
        assert await status_of(path_of(cast, f"?token={old}")) == 401

    run(scene())


def test_only_get_opens_a_stream(watch):
    async def scene():
        async with watch(method="POST") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET"

    run(scene())
