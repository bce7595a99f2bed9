"""Fair shares of a few threads: nobody has all of them, and whoever waits, waits behind their own work alone."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import RequestFactory

from accounts import keys
from core import shares
from core.errors import Unauthorized
from core.shares import Shares, TooManyAtOnce, address_lane, lane_of


class Work:
    """Work of several lanes, each piece of which ends when it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: dict[str, threading.Event] = {}

    def piece(self, name: str) -> Callable[[], str]:
        self.ends[name] = threading.Event()

        def work() -> str:
            self.begun.append(name)
            assert self.ends[name].wait(60)
            return name

        return work

    async def until_begun(self, count: int) -> None:
        while len(self.begun) < count:
            await asyncio.sleep(0.001)


def run(scene: Callable[[ThreadPoolExecutor, Work], Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        asyncio.run(asyncio.wait_for(scene(pool, Work()), 60))


def test_a_lane_has_a_part_of_the_threads_and_the_others_go_round() -> None:
    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours = Shares(3, each=2, waiting=50)
        names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1", "c2"]
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(ours.run(pool, name[0], work.piece(name))))
            await asyncio.sleep(0)
        await work.until_begun(3)
        assert set(work.begun) == {"a1", "a2", "b1"}  # not a3, though it came before b1
        for number in range(len(names)):
            work.ends[work.begun[number]].set()
            await work.until_begun(min(number + 4, len(names)))
        # As threads became free: by turns, and within a lane in order.
        assert work.begun[3:] in (["b2", "c1", "a3", "c2", "a4"], ["b2", "c1", "c2", "a3", "a4"])
        assert await asyncio.gather(*tasks) == names
        assert (ours.free, ours.lanes, len(ours.next)) == (3, {}, 0)

    run(scene)


def test_whoever_leaves_gives_the_thread_free_only_when_its_work_is_done() -> None:
    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours = Shares(1, each=1, waiting=50)
        tasks = {}
        for name in ("a1", "a2", "b1"):
            tasks[name] = asyncio.create_task(ours.run(pool, name[0], work.piece(name)))
            await asyncio.sleep(0)
        await work.until_begun(1)
        for name in ("a1", "a2"):  # one at work, one that waits
            tasks[name].cancel()
            assert isinstance((await asyncio.gather(tasks[name], return_exceptions=True))[0], asyncio.CancelledError)
        assert (ours.free, work.begun) == (0, ["a1"])
        work.ends["a1"].set()
        work.ends["b1"].set()
        assert await tasks["b1"] == "b1"
        assert (work.begun, ours.free, ours.lanes) == (["a1", "b1"], 1, {})

    run(scene)


def test_what_steps_aside_gives_its_turn_to_others_and_only_so_much_does(settings: Any) -> None:
    settings.OUTSIDE_THREADS = 3

    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours = Shares(1, each=1, waiting=50)

        def outside(name: str) -> Callable[[], bool]:
            piece = work.piece(name)

            def run() -> bool:
                assert shares.serving()
                entered = shares.step_aside()
                assert shares.step_aside() is entered  # once for all of a request
                return entered and bool(piece())

            return run

        names = ["a1", "b1", "b2", "c1"]  # one of three may be of one lane
        tasks = {name: asyncio.create_task(ours.run(pool, name[0], outside(name))) for name in names}
        await work.until_begun(3)
        assert (await tasks["b2"], set(work.begun)) == (False, {"a1", "b1", "c1"})
        tasks["d1"] = asyncio.create_task(ours.run(pool, "d", outside("d1")))
        assert await tasks["d1"] is False
        # The one thread is free for others, also of the same lane.
        assert await ours.run(pool, "a", lambda: "quick") == "quick"
        tasks["c1"].cancel()  # its client has left: its thread waits on
        await asyncio.gather(tasks["c1"], return_exceptions=True)
        assert shares.aside.waiting.total() == 3
        for name in work.begun:
            work.ends[name].set()
        assert [await tasks[name] for name in ("a1", "b1")] == [True, True]
        while shares.aside.waiting:
            await asyncio.sleep(0.001)
        assert (ours.free, ours.lanes) == (1, {})

    run(scene)
    assert shares.step_aside()  # whoever serves nobody may wait
    assert not shares.serving()


def test_only_so_many_of_a_lane_wait_but_whoever_was_at_work_before_goes_on() -> None:
    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours = Shares(1, each=1, waiting=1)
        first = [asyncio.create_task(ours.run(pool, "a", work.piece(name))) for name in ("a1", "a2")]
        await work.until_begun(1)
        with pytest.raises(TooManyAtOnce) as refused:
            await ours.run(pool, "a", work.piece("a3"))
        assert refused.value.headers == {"Retry-After": "1"}
        others = [
            asyncio.create_task(ours.run(pool, "b", work.piece("b1"))),
            asyncio.create_task(ours.run(pool, "a", work.piece("a4"), admitted=True)),
        ]
        await asyncio.sleep(0)
        for end in work.ends.values():
            end.set()
        assert await asyncio.gather(*first, *others) == ["a1", "a2", "b1", "a4"]
        assert ours.lanes == {}

    run(scene)


def test_a_turn_goes_to_nobody_who_leaves_at_that_moment() -> None:
    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours, others = Shares(1, each=1, waiting=50), list[asyncio.Task[str]]()

        async def first() -> None:
            await ours.run(pool, "a", work.piece("a1"))
            others[0].cancel()  # whose turn has just come
            others[1].cancel()  # who is next, and has not yet removed itself when the first of them leaves

        task = asyncio.create_task(first())
        await work.until_begun(1)
        others.extend(asyncio.create_task(ours.run(pool, "a", work.piece(name))) for name in ("a2", "a3", "a4"))
        await asyncio.sleep(0)
        for end in work.ends.values():
            end.set()
        await task
        left, also_left, served = await asyncio.gather(*others, return_exceptions=True)
        assert (type(left), type(also_left), served) == (asyncio.CancelledError, asyncio.CancelledError, "a4")
        assert (ours.free, ours.lanes, len(ours.next)) == (1, {}, 0)

    run(scene)


def test_whatever_order_of_coming_leaving_and_ending_loses_no_thread() -> None:
    async def scene(pool: ThreadPoolExecutor, work: Work) -> None:
        ours, most = Shares(3, each=2, waiting=4), Counter[str]()
        at_work: Counter[str] = Counter()

        def piece(lane: str) -> None:
            at_work[lane] += 1
            most[lane] = max(most[lane], at_work[lane])
            threading.Event().wait(0.0005)
            at_work[lane] -= 1

        async def one(number: int) -> None:
            lane = "abcde"[number % 5]
            task = asyncio.create_task(ours.run(pool, lane, lambda: piece(lane)))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            if number % 3 == 0:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*[one(number) for number in range(300)])
        while ours.lanes:  # what was left behind ends by itself
            await asyncio.sleep(0.001)
        assert (ours.free, len(ours.next)) == (3, 0)
        assert max(most.values()) <= 2

    run(scene)


@pytest.mark.django_db
def test_a_request_is_in_its_accounts_lane_while_its_key_is_known_to_be_good(account: Any) -> None:
    key, secret = keys.create(account, name="k")
    request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {secret}", REMOTE_ADDR="2001:db8::7")
    assert lane_of(request) == address_lane(request) == "2001:db8::/64"
    keys.authenticate(secret)
    assert lane_of(request) == ("account", account.pk)
    keys.revoke(key)
    with pytest.raises(Unauthorized):
        keys.authenticate(secret)
    assert lane_of(request) == "2001:db8::/64"


def test_what_is_known_of_keys_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MOST_KNOWN", 3)
    monkeypatch.setattr(shares, "_known", {})
    for number in range(10):
        shares.remember(f"secret {number}", number)
        assert len(shares._known) <= 3
