"""A process of its own for tests that race, or kill, processes: does what it is told on stdin, a JSON line each."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests import warm


class Racer:
    """The parent's end: tell it what to do, read what came of it."""

    def __init__(self, database_url: str) -> None:
        environment = {**os.environ, "TEST_DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        self.process = warm.Popen(
            [sys.executable, "-m", "tests.casts.racer"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the racer has died"
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to clean up."""
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe and pipe.close()


@contextlib.contextmanager
def racers(count: int, database_url: str) -> Iterator[list[Racer]]:
    """Start racers and wait until they are ready; end them afterwards."""
    started = [Racer(database_url) for _ in range(count)]
    try:
        for one in started:
            assert one.hear() == "ready"
        yield started
    finally:
        for one in started:
            one.kill()


def say(what: Any) -> None:
    print(json.dumps(what), flush=True, file=sys.__stdout__)


def accept(casts: list[tuple[int, int, str | None]]) -> list[str]:
    """Accept casts of these (API key, spell, Idempotency-Key) in one round; say what became of each."""
    from accounts.errors import BudgetExceeded, TooManyOpenCasts
    from accounts.models import ApiKey
    from casts.casting import Accepted, Placement, accept_all
    from casts.lifecycle.accepting import new_cast
    from casts.lifecycle.idempotency import Once
    from casts.models import Spell

    placements = []
    for key_id, spell_id, once in casts:
        key, spell = ApiKey.objects.select_related("account").get(pk=key_id), Spell.objects.get(pk=spell_id)
        cast = new_cast(account=key.account, api_key=key, spell=spell, input={})
        twin = once and Once(key.account, "cast", once, "the same")
        placements.append(Placement(cast, {"cast_id": str(cast.pk)}, twin or None, None))
    outcomes = []
    for verdict in accept_all(placements):
        if isinstance(verdict, Accepted):
            outcomes.append("replayed" if verdict.replayed else "held")
        elif isinstance(verdict, BudgetExceeded | TooManyOpenCasts):
            outcomes.append("refused")
        else:
            raise verdict
    return outcomes


def spend(subject: str, quota: int, tries: int, threads: int, at: float) -> int:
    """Spend so many requests of an allowance at one moment, in so many threads; return how many were admitted."""
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connections

    from core import rationing
    from core.rationing import Allowance, RateLimited, allowances

    def one(_: int) -> int:
        try:
            allowances.spend(Allowance("race", "This race"), subject, quota)
        except RateLimited:
            return 0
        finally:
            connections.close_all()
        return 1

    rationing.now = lambda: at
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(tries)))


def request(secret: str, key: str, body: Any, hang_after: str) -> int:
    """Send POST /cast; once the function of this name has returned, say so and hang there."""
    from tests.casts.client import Api

    with contextlib.redirect_stdout(sys.stderr):  # it says that it has checked the settings
        importlib.import_module("spellplatform.asgi")
    module, _, name = hang_after.rpartition(".")
    place = importlib.import_module(module)
    original = getattr(place, name)

    def hanging(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        say("hanging")
        time.sleep(600)

    setattr(place, name, hanging)
    status: int = Api(secret).post("/cast", body, Idempotency_Key=key).status_code
    return status


def main() -> None:
    import django

    sys.stdout = sys.stderr  # the pipe is for what we say: loading the ASGI application prints how its checks went
    django.setup()
    say("ready")
    orders: dict[str, Callable[..., Any]] = {"accept": accept, "request": request, "spend": spend}
    for line in sys.stdin:
        order = json.loads(line)
        say(orders[order.pop("do")](**order))


if __name__ == "__main__":
    main()
