"""The same story gives the same answers on SQLite and on Postgres: both are held to one recording.

`python -m tests.contract` writes the recording anew; what changed in it is what changed for callers.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from casts.models import CallbackType, CastEvent
from tests.casts.conftest import clock, runtime  # noqa: F401 - fixtures
from tests.casts.receivers import receiver
from tests.contract.recording import Recorder
from tests.contract.story import Story, hold_still, setting

# All of them, so that none is run before the story: pytest-django puts those with transactions last.
pytestmark = pytest.mark.django_db(transaction=True)

EXPECTED = Path(__file__).parent / "expected.txt"
API = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
# What needs trouble that a story can't make, or that only one database can have.
NOT_TOLD = {
    "INTERNAL": "a fault of ours",
    "INPUT_REMOVED": "tests/casts/test_retention.py",
    "CONFLICT": "of webhooks: tests/webhooks/test_endpoint.py",
    "BILLING_OFF": "tests/payments/test_endpoint.py",
    "BAD_SIGNATURE": "tests/payments/test_endpoint.py",
    **dict.fromkeys(
        [
            *("NOT_BILLED", "NO_CARD", "TOPUP_AMOUNT", "TOPUP_NOT_FOUND", "TOPUP_UNDER_WAY", "TOO_MANY_TOPUPS"),
            *("PAYS_BY_INVOICE", "TOPUP_NOT_CANCELLED"),
            *("TOO_MANY_DECLINES", "PAYMENTS_UNAVAILABLE", "REFUND_REFUSED"),
        ],
        "needs a Stripe: tests/payments",
    ),
    "UNAVAILABLE": "the database is away: tests/e2e",
    "URI_TOO_LONG": "before Django sees it: tests/e2e/test_server.py",
    "REQUEST_TIMEOUT": "before Django sees it: tests/core/test_asgi.py",
    "TOO_MANY_KEYS": "tests/casts/api/test_largest.py",
    "RATE_LIMITED": "tests/accounts/rationing",
    "TOO_MANY_STREAMS": "tests/casts/live/test_holding.py",
    "TOO_MANY_AT_ONCE": "no thread is free: tests/spellplatform/test_asgi.py",
    "SECRETS_UNREADABLE": "a key is lost: tests/casts/callbacks/test_sealed.py",
    "IDEMPOTENCY_CONFLICT": "two at once, on Postgres: tests/casts/lifecycle/test_idempotency.py",
}


@pytest.fixture(scope="module")
def recorder():
    return Recorder()


@pytest.fixture
def told(recorder, request):
    """What the first test recorded; it takes long."""
    if request.config.getoption("--quick"):
        pytest.skip("what tells the story takes long")
    assert recorder.answers, "the story was not told: run the whole file"
    return recorder


def test_the_story_is_answered_as_recorded(recorder, make_spell, runtime, clock, monkeypatch, settings, tmp_path):  # noqa: F811
    settings.STREAM_FALLBACK_SECONDS = 0.1
    settings.CAST_LOST_SECONDS, settings.CAST_CANCEL_GRACE_SECONDS = 300, 60
    settings.CAST_ARTIFACT_WAIT_SECONDS = 120
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path), "base_url": None},
        }
    }
    hold_still(monkeypatch, clock)
    secret, spell = setting(make_spell)
    with receiver() as inbox:
        Story(recorder, runtime, clock, inbox, secret, spell).tell()
    kinds = set(CastEvent.objects.values_list("kind", flat=True))
    assert kinds >= {
        *("accepted", "dispatched", "waiting", "observed", "step", "run_finished"),
        *("cancel_requested", "cancel_asked", "ended", "rerun_on_github"),
    }
    if os.environ.get("CONTRACT_WRITE"):
        EXPECTED.write_text(recorder.text())
    difference = "\n".join(
        difflib.unified_diff(
            EXPECTED.read_text().splitlines(), recorder.text().splitlines(), "recorded", "answered", n=2
        )
    )
    assert not difference, f"\n{difference[:20_000]}\nIf this is meant: python -m tests.contract"


def asked(told):
    return {(a.method, a.path.split(" (")[0]) for a in told.answers}


def test_nothing_went_wrong_inside(told):
    assert [(a.method, a.path, a.what) for a in told.answers if a.status >= 500] == []


def test_every_endpoint_has_its_part(told):
    described = json.loads(Recorder().ask("GET", "/api/v1/schema").content)
    there_are = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert there_are - asked(told) == set()


def test_every_answer_is_as_described(told):
    described = json.loads(Recorder().ask("GET", "/api/v1/schema").content)
    checked, wrong = set(), set()
    for a in told.answers:
        path = a.path.split(" (")[0]
        responses = described["paths"].get(path, {}).get(a.method.lower(), {}).get("responses", {})
        for content in responses.get(str(a.status), {}).get("content", {}).values():
            if isinstance(a.raw, dict):
                schema = {**content["schema"], "components": described["components"]}
                checked.add((a.method, path, a.status))
                wrong |= {
                    (a.method, path, a.status, "/".join(map(str, e.path)), e.message)
                    for e in Draft202012Validator(schema).iter_errors(a.raw)
                }
    assert wrong == set()
    assert len(checked) > 40


def test_every_reason_in_the_docs_was_seen(told):
    table = API.split("### Statuses and reasons")[1].split("### Price")[0]
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.M))))
    bodies = json.dumps([a.body for a in told.answers])
    seen = set(re.findall(r'\\?"status_reason\\?": ?\\?"(\w+)', bodies))
    assert documented - seen == {"internal_error"}  # a fault of ours: tests/core/test_poison.py
    assert seen - documented == set()


def test_every_code_in_the_docs_was_seen(told):
    documented = set(re.findall(r"^\| `([A-Z_]+)` \| [0-9]{3} ", API, re.M))
    seen = {a.body["code"] for a in told.answers if isinstance(a.body, dict) and "code" in a.body}
    assert documented - seen - set(NOT_TOLD) == set()
    assert seen - documented == set()


def test_every_kind_of_callback_was_sent(told):
    sent = {a.body["type"] for a in told.answers if a.path == "callback"}
    assert sent == set(CallbackType.values)
