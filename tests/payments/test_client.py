"""What Stripe's errors mean to us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from payments import client


def test_who_asks_for_the_same_while_it_is_under_way_asks_again_later(stripe):
    """It is no reuse of the key for something else, after which nothing may be asked again."""
    stripe.faults(api={"hold_ms": [300, 300]})

    def ask(name: str) -> str:
        try:
            with client.errors():
                return client.client().v1.customers.create({"name": name}, {"idempotency_key": "k"}).id
        except client.StripeTrouble as exc:
            return type(exc).__name__

    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(ask, ["Moist", "Moist"]))
    assert (first, second[:4]) == ("Unavailable", "cus_")
    assert ask("Moist") == second
    assert ask("Adora") == "KeyReused"


@pytest.mark.parametrize("name", ["unreachable"])
def test_who_does_not_answer_may_have_acted(stripe, name):
    stripe.faults(**{name: True})
    with pytest.raises(client.Unavailable), client.errors():
        client.client().v1.customers.list()


@pytest.fixture
def between(settings) -> Iterator[list[tuple[int, bytes]]]:
    """What answers in Stripe's place: a proxy of somebody's. It takes its answer from this list."""
    answer: list[tuple[int, bytes]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.STRIPE_API_URL = f"http://127.0.0.1:{server.server_port}"
    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 502])
def test_what_is_no_answer_of_stripes_refuses_nothing(billing, between, status):
    """It may have acted: who took that for a refusal would ask for the same under another name, and pay twice."""
    for body in (b"<html>Denied</html>", b'{"id": "cus_1", "email": "bursar@exam', b""):
        between[:] = [(status, body)]
        with pytest.raises(client.Unavailable) as caught, client.errors():
            client.client().v1.customers.retrieve("cus_1")
        assert "bursar" not in str(caught.value)
