"""Rounds themselves: how many may wait, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from core.rounds import Rounds
from core.shares import TooManyAtOnce

ENOUGH = 30  # seconds


def counted() -> tuple[Rounds[int, int], list[int]]:
    """Return rounds that answer what they are asked, and the sizes of those that were done."""
    sizes: list[int] = []

    def work(asked: list[int]) -> list[int]:
        sizes.append(len(asked))
        return asked

    return Rounds[int, int](work, most=8), sizes


def test_a_bound_is_on_those_who_wait_in_one_lane() -> None:
    going = threading.Event()

    def work(asked: list[int]) -> list[int]:
        assert going.wait(ENOUGH)
        return asked

    rounds = Rounds[int, int](work, most=2, waiting=lambda: 3)

    async def scene() -> None:
        waiting = [asyncio.create_task(rounds.ask("one", 0))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its round has begun
        waiting += [asyncio.create_task(rounds.ask("one", n)) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAtOnce) as refused:
            await rounds.ask("one", 4)
        assert refused.value.headers["Retry-After"]
        other = asyncio.create_task(rounds.ask("another", 5))
        waiting[2].cancel()  # a client leaves
        going.set()
        async with asyncio.timeout(ENOUGH):
            answers = await asyncio.gather(*waiting, other, return_exceptions=True)
        assert [*answers[:2], *answers[3:]] == [0, 1, 3, 5]
        assert isinstance(answers[2], asyncio.CancelledError)

    asyncio.run(scene())


@pytest.mark.parametrize("arrives", [True, False])
def test_a_round_waits_for_who_is_on_the_way_and_goes_on_without_who_never_arrives(
    arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.rounds.PATIENCE", ENOUGH if arrives else 0.01)
    rounds, sizes = counted()

    async def scene() -> None:
        loitering, elsewhere = contextlib.ExitStack(), contextlib.ExitStack()
        loitering.enter_context(rounds.coming("one"))
        elsewhere.enter_context(rounds.coming("another"))  # of no concern to the first lane
        first = asyncio.create_task(rounds.ask("one", 1))
        await asyncio.sleep(0)
        assert sizes == []
        if arrives:
            monkeypatch.setattr("core.rounds.PATIENCE", 0.01)  # for the next one
            loitering.close()
            assert await rounds.ask("one", 2) == 2
        async with asyncio.timeout(ENOUGH):
            assert await first == 1
        loitering.close()
        assert await rounds.ask("one", 3) == 3

    asyncio.run(scene())
    assert sizes == ([2, 1] if arrives else [1, 1])


def test_a_round_waits_for_as_many_as_were_in_the_one_before_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.rounds.PATIENCE", ENOUGH)
    rounds, sizes = counted()

    async def scene() -> None:
        with rounds.coming("one"):
            asking = [asyncio.create_task(rounds.ask("one", n)) for n in range(3)]
            await asyncio.sleep(0)
        async with asyncio.timeout(ENOUGH):
            assert await asyncio.gather(*asking) == [0, 1, 2]
            again = [asyncio.create_task(rounds.ask("one", n)) for n in range(2)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert sizes == [3]  # these wait for a third
            monkeypatch.setattr("core.rounds.PATIENCE", 0.01)
            assert await rounds.ask("one", 2) == 2
            assert await asyncio.gather(*again) == [0, 1]
            with rounds.coming("one"):
                asking = [asyncio.create_task(rounds.ask("one", n)) for n in range(2)]
                await asyncio.sleep(0)
            assert await asyncio.gather(*asking) == [0, 1]
            assert await rounds.ask("one", 3) == 3  # this one waits for a second that never comes

    asyncio.run(scene())
    assert sizes[:2] == [3, 3]
    assert sum(sizes[2:]) == 3


def test_a_round_waits_for_those_of_the_one_before_beside_those_who_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.rounds.PATIENCE", ENOUGH)
    going, sizes = threading.Event(), list[int]()

    def work(asked: list[int]) -> list[int]:
        assert going.wait(ENOUGH)
        sizes.append(len(asked))
        return asked

    rounds = Rounds[int, int](work, most=3)

    async def scene() -> None:
        first = asyncio.create_task(rounds.ask("one", 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its round has begun
        meanwhile = [asyncio.create_task(rounds.ask("one", n)) for n in (2, 3)]
        await asyncio.sleep(0)
        going.set()
        async with asyncio.timeout(ENOUGH):
            assert await first == 1
            assert await rounds.ask("one", 4) == 4  # whoever had the first answer asks again
            assert await asyncio.gather(*meanwhile) == [2, 3]

    asyncio.run(scene())
    assert sizes == [1, 3]


def test_nobody_waits_for_ever_for_a_round_that_a_bug_ends_or_is_given_anothers_answer() -> None:
    rounds = Rounds[int, int](lambda asked: asked[1:], most=8)  # one answer too few

    async def scene() -> None:
        async with asyncio.timeout(ENOUGH):
            answers = await asyncio.gather(*(rounds.ask("one", n) for n in range(3)), return_exceptions=True)
        assert all(isinstance(answer, RuntimeError) for answer in answers)

    asyncio.run(scene())
