"""/metrics: who reads it, and that one thing that fails takes nothing else along."""

import asyncio
import threading

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from core.asgi import health
from core.telemetry import books, kept, page
from core.telemetry.metrics import Declared

TOKEN = "a-token-that-nobody-guesses"


def asked(path="/metrics", *, client="127.0.0.1", method="GET", **headers):
    """Return the status and the body of what is answered, None if the request is passed on."""
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def passed_on(scope, receive, send):
        pass

    path, _, query = path.partition("?")
    named = {"host": "127.0.0.1:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "path": path, "method": method, "query_string": query.encode()}
    scope |= {"client": (client, 1) if client else None}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in named.items()]}
    asyncio.run(health.watched(passed_on)(scope, receive, send))
    return (sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])) if sent else None


@pytest.fixture(autouse=True)
def _alone(settings, tmp_path, monkeypatch):
    settings.VAR_DIR, settings.METRICS = tmp_path, []
    settings.METRICS_TOKENS = [TOKEN, "an-older-one"]
    monkeypatch.setattr(page, "FIGURES", kept.Kept(page.read_figures, seconds=0, patience=0.2))
    monkeypatch.setattr(page, "PAGE", kept.Kept(page.render, seconds=0, patience=30))


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {"host": "[::1]:8000"}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"host": "localhost:8000"}, 200),
        ("127.0.0.1", {"host": "web:8000"}, 200),
        ("198.51.100.7", {}, 401),
        ("", {}, 401),  # a Unix socket, which a proxy opens
        # Passed on by a proxy on this machine, whatever the client wrote itself.
        ("127.0.0.1", {"x_forwarded_for": "198.51.100.7"}, 401),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, 401),
        ("127.0.0.1", {"x_forwarded_for": ""}, 401),
        ("127.0.0.1", {"x_forwarded_proto": "https"}, 401),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, 401),
        ("127.0.0.1", {"via": "1.1 proxy"}, 401),
        ("127.0.0.1", {"x_real_ip": "127.0.0.1"}, 401),
        ("127.0.0.1", {"host": "spells.example.com"}, 401),
        ("127.0.0.1", {"host": "rebound.example.com:8000"}, 401),
        ("198.51.100.7", {"authorization": f"Bearer {TOKEN}"}, 200),
        ("198.51.100.7", {"authorization": "bearer an-older-one", "x_forwarded_for": "1.2.3.4"}, 200),
        ("198.51.100.7", {"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ("198.51.100.7", {"authorization": "Bearer "}, 401),
        ("198.51.100.7", {"authorization": f"Basic {TOKEN}"}, 401),
        ("198.51.100.7", {"authorization": "Bearer \u00fc\u00fc"}, 401),
    ],
)
def test_metrics_are_for_who_shows_the_token_or_comes_from_here_itself(client, headers, status):
    assert asked(client=client, **headers)[0] == status


def test_without_a_token_the_others_are_told_so(settings):
    settings.METRICS_TOKENS, settings.METRICS_ALLOWED = [], []
    status, body = asked(authorization="Bearer ")
    assert (status, b"METRICS_ALLOWED" in body) == (403, True)


def test_other_methods():
    assert asked(method="HEAD") == (200, b"")
    assert asked(method="POST") == asked(method="BREW") == (405, b"Ask with GET.\n")


def fails():
    raise RuntimeError("a bug")


def is_well():
    yield page.BUILD.is_(1, "of-a-test", "3")


def test_figures_that_fail_take_no_others_along(settings):
    settings.METRICS = [f"{__name__}.fails", f"{__name__}.is_well"]
    text = asked()[1].decode()
    assert f'spell_collector_up{{collector="{__name__}.fails"}} 0.0' in text
    assert f'spell_collector_up{{collector="{__name__}.is_well"}} 1.0' in text
    assert 'version="of-a-test"' in text


go_on, hanging = threading.Event(), []  # type: ignore[var-annotated]


def hangs():
    hanging.append(threading.current_thread())
    go_on.wait(60)
    return []


def begin_anew():
    for book in books.here.books.values():
        book.close()
    books.here.begin()


def test_while_the_database_hangs_what_was_counted_is_told_and_one_thread_waits(settings):
    settings.METRICS = [f"{__name__}.hangs"]
    begin_anew()
    from core.metrics import REQUESTS

    REQUESTS.labels("of-a-test", "GET", "200").inc()

    async def ten():
        return await asyncio.gather(*(page.text() for _ in range(10)))

    try:
        texts = {text.decode() for text in asyncio.run(ten())}
        assert len(hanging) == 1
    finally:
        go_on.set()
        begin_anew()
    (text,) = texts
    assert f'spell_collector_up{{collector="{__name__}.hangs"}} 0.0' in text
    assert 'spell_http_requests_total{method="GET",route="of-a-test",status="200"} 1.0' in text


def test_a_histogram_has_all_of_its_buckets():
    told = Declared("spell_x_seconds", "histogram", "X.", ("queue",), buckets=(1, 2, 5))
    family = Metric("spell_x_seconds", "X.", "histogram")
    family.add_sample("spell_x_seconds_bucket", {"queue": "a", "le": "2.0"}, 3.0)
    family.add_sample("spell_x_seconds_count", {"queue": "a"}, 3.0)
    page.add_buckets(family, told)
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert buckets == {"1.0": 0.0, "2.0": 3.0, "5.0": 3.0, "+Inf": 3.0}


def test_what_has_not_happened_yet_is_told_as_nought():
    text = generate_latest(page.Everything([], [])).decode()
    found = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["spell_deliveries_swept_total"] == 0
    assert 'spell_folds_total{outcome="no_cast"} 0.0' in text


@pytest.mark.django_db
def test_every_figure_that_the_settings_name_can_be_read(settings):
    from spellplatform import settings as real

    settings.METRICS = [*real.METRICS, "payments.metrics.billing"]
    found = {(sample.of.name, *sample.labels): sample.value for sample in page.read_figures()}
    up = {key: value for key, value in found.items() if key[0] == "spell_collector_up"}
    assert set(up.values()) == {1}
    assert len(up) == len(settings.METRICS)
    assert found["spell_queue_due", "casts.CastWork"] == 0
    assert found["spell_attention", "casts.attention.workers"] == 0
