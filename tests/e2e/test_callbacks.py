"""A cast's end on its way to receivers: real workers, real HTTP, and the standardwebhooks library as the judge."""

from __future__ import annotations

import io
import signal
import threading
import zipfile
from collections.abc import Iterator

import pytest
import requests

from tests.casts.receivers import Receiver, receiver
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import Platform, platform, until


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"CALLBACK_ALLOWED_HOSTS": "127.0.0.1", "WORKER_LEASE_SECONDS": "2"}
    with platform(tmp_path_factory.mktemp("calling"), spells=SPELLS, **settings) as running:
        yield running


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def test_the_end_of_a_cast_is_told_to_its_callback_url_and_the_endpoints(calling: Platform, inbox: Receiver):
    endpoint = calling.call("POST", "/api/v1/callbacks/endpoints", json={"url": inbox.url}).json()
    own = calling.call("GET", "/api/v1/callbacks/secret").json()["secret"]
    cast = calling.cast("greet", {"name": "Ada", "times": 1}, callback_url=inbox.url + "&own=1")
    until(lambda: len(inbox.got) == 2)
    for got in inbox.got:
        message = got.verified(own if got.path.endswith("own=1") else endpoint["secret"])
        assert (message["type"], message["data"]["cast_id"]) == ("cast.succeeded", cast["cast_id"])
        assert message["data"]["output"]["greeting"] == "Hello, Ada!"
        artifact = requests.get(message["data"]["artifact_url"], timeout=10)
        assert "result.json" in zipfile.ZipFile(io.BytesIO(artifact.content)).namelist()
    log = until(
        lambda: len(found := calling.call("GET", "/api/v1/callbacks?state=delivered").json()["results"]) == 2 and found
    )
    assert {line["id"] for line in log} == {got.headers["webhook-id"] for got in inbox.got}
    assert calling.call("DELETE", f"/api/v1/callbacks/endpoints/{endpoint['id']}").status_code == 204


def test_what_a_killed_worker_was_sending_is_sent_by_the_next(calling: Platform, inbox: Receiver):
    inbox.hang = threading.Event()
    secret = calling.call("GET", "/api/v1/callbacks/secret").json()["secret"]
    calling.cast("greet", {"name": "Ada", "times": 1}, callback_url=inbox.url)
    until(lambda: len(inbox.got) == 1)
    calling.stop("worker", how=signal.SIGKILL)
    inbox.hang.set()
    inbox.hang = None
    calling.start("worker")
    until(lambda: len(inbox.got) == 2)
    first, again = inbox.got
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.verified(secret)["type"] == again.verified(secret)["type"] == "cast.succeeded"
    until(lambda: calling.call("GET", "/api/v1/callbacks").json()["results"][0]["state"] == "delivered")
