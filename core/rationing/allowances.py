"""Handing out allowances: from a block in memory, which is taken from the store when it is empty.

A block is a sixteenth of what is left of the minute's allowance, so blocks shrink towards its end: what is handed out
is never more than the allowance, however many processes there are, and what lies unused is at most a sixteenth of it
in each process that got no further requests. One process alone hands out exactly the allowance.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from core import rationing
from core.metrics import RATIONING
from core.rationing import MINUTE, Allowance, RateLimited, Standing, refused
from core.rationing.stores import store

MOST_BLOCKS = 20_000  # in memory; those of past minutes are dropped first


@dataclass(slots=True)
class Block:
    """What one subject may still be given of an allowance, without asking the store."""

    minute: int
    quota: int
    left: int
    used: int  # of the quota, by all processes, when the block was taken
    empty: bool = False  # the store has no more in this minute


_blocks: dict[str, Block] = {}
_mutex = threading.Lock()  # held for a few instructions, never while a store is asked
_asking = [threading.Lock() for _ in range(64)]  # so that the threads of a process don't take a block each


def name_of(allowance: Allowance, subject: object) -> str:
    return f"{allowance.name}:{subject}"


def spend(allowance: Allowance, subject: object, quota: int) -> Standing | None:
    """Spend one request. Raise RateLimited if there is none left in this minute; None if there is no limit (0)."""
    standing = spend_from_block(allowance, subject, quota)
    if standing is not None or not quota:
        return standing
    name = name_of(allowance, subject)
    with _asking[hash(name) % len(_asking)]:
        # Another thread may have taken one meanwhile.
        if (standing := spend_from_block(allowance, subject, quota)) is not None:
            return standing
        taken = store().take(name, int(rationing.now() // MINUTE), quota)
        with _mutex:
            make_room(taken.minute)
            _blocks[name] = Block(taken.minute, quota, taken.granted, taken.used, empty=not taken.granted)
        if not taken.granted:
            refused.send(Allowance, allowance=allowance.name, subject=str(subject))
        standing = spend_from_block(allowance, subject, quota)
    if standing is None:  # the minute ended just now, and with it the block
        return spend(allowance, subject, quota)
    return standing


def spend_from_block(allowance: Allowance, subject: object, quota: int) -> Standing | None:
    """Spend one request if that is possible without asking the store, else return None. Raise RateLimited."""
    if not quota:
        return None
    with _mutex:
        block = _blocks.get(name_of(allowance, subject))
        if block is None or block.quota != quota or block.minute < rationing.now() // MINUTE:
            return None
        if block.left:
            block.left -= 1
            RATIONING.labels(allowance.name, "allowed").inc()
            return standing_of(allowance, block)
        if not block.empty:
            return None
        standing = standing_of(allowance, block)
    RATIONING.labels(allowance.name, "refused").inc()
    raise RateLimited(f"{allowance.whose} may make {quota:,} requests a minute, and has made them.", standing)


def standing_of(allowance: Allowance, block: Block) -> Standing:
    # What other processes hold unused counts as used: nobody knows it here.
    remaining = max(0, block.quota - block.used) + block.left
    return Standing(allowance.name, block.quota, remaining, MINUTE, (block.minute + 1) * MINUTE)


def give_back(allowance: Allowance, subject: object, standing: Standing | None) -> None:
    """Give back a request that was spent, but was refused by another allowance."""
    with _mutex:
        block = _blocks.get(name_of(allowance, subject))
        if block is not None and standing is not None and standing.until == (block.minute + 1) * MINUTE:
            block.left += 1


def make_room(minute: int) -> None:
    if len(_blocks) < MOST_BLOCKS:
        return
    for name in [name for name, block in _blocks.items() if block.minute < minute] or list(_blocks)[: MOST_BLOCKS // 2]:
        del _blocks[name]


def forget_all() -> None:
    """Begin anew, as a new process does."""
    with _mutex:
        _blocks.clear()
