"""Fixtures around GitHub. None is autouse: the tests of the local GitHub below this folder share them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import responses as doubles_of_http

from accounts.models import ApiKey
from casts.models import Cast
from github_integration import auth, transport
from github_integration.api import GitHub
from tests.casts.conftest import accept_cast

from .doubles import API, DATA

STARTED = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the client's waits pass in no time; return them."""
    taken: list[float] = []
    clock = SimpleNamespace(sleep=taken.append, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr(auth, "time", clock)
    monkeypatch.setattr(transport, "time", clock)
    return taken


@pytest.fixture
def http() -> Iterator[doubles_of_http.RequestsMock]:
    """Answer what is registered, fail on everything else."""
    with doubles_of_http.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def minting(http: doubles_of_http.RequestsMock) -> list[Any]:
    """Answer every request for an installation token with a new one: ghs_1, ghs_2 and so on."""
    return mint_into(http)


def mint_into(http: doubles_of_http.RequestsMock, *, lives: dt.timedelta = dt.timedelta(hours=1)) -> list[Any]:
    made: list[Any] = []

    def mint(request: Any) -> tuple[int, dict[str, str], str]:
        made.append(request)
        expires = (dt.datetime.now(dt.UTC) + lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {}, f'{{"token": "ghs_{len(made)}", "expires_at": "{expires}"}}'

    http.add_callback("POST", f"{API}/app/installations/1/access_tokens", callback=mint)
    return made


@pytest.fixture
def make_github() -> Callable[..., GitHub]:
    """Make a client; the App of tests/data unless told otherwise."""

    def make(**changes: Any) -> GitHub:
        pem = "" if changes.get("personal_token") else str(DATA / "app.pem")
        defaults: dict[str, Any] = {"api_url": API, "version": "", "timeout": 10.0, "app_id": "Iv1.app", "pem": pem}
        return GitHub(**defaults | changes)

    return make


@pytest.fixture
def hub(make_github: Callable[..., GitHub]) -> GitHub:
    """Be an App on github.com."""
    return make_github()


@pytest.fixture
def by_hand(make_github: Callable[..., GitHub]) -> GitHub:
    """Use a personal token on github.com."""
    return make_github(personal_token="github_pat_mine")


@pytest.fixture
def make_cast(api_key: ApiKey, make_spell: Any) -> Callable[..., Cast]:
    """Accept a cast whose dispatch began at noon; fields of the cast and of its spell may be given."""

    def make(*, spell: dict[str, Any] | None = None, input: Any = None, **fields: Any) -> Cast:
        number = Cast.objects.count()
        made = accept_cast(
            api_key=api_key, spell=make_spell(f"greet{number}", **(spell or {})), input=input or {"name": "Ada"}
        )
        Cast.objects.filter(pk=made.pk).update(**{"dispatch_started_at": STARTED} | fields)
        return Cast.objects.select_related("spell").get(pk=made.pk)

    return make


@pytest.fixture
def cast(make_cast: Callable[..., Cast]) -> Cast:
    return make_cast()


@pytest.fixture
def event_cast(make_cast: Callable[..., Cast]) -> Cast:
    return make_cast(spell={"runtime": "repository_dispatch", "event_type": "spell", "workflow_file": ""})
