"""The largest legal thing of each kind, and how large the answers are that carry it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import SCOPES, ApiKey
from casts.callbacks.delivery import message
from casts.execution import finish
from casts.lifecycle import ending, observing
from casts.models import Callback, CallbackType, Cast, CastStatus, Spell
from casts.runtime import Annotation, Job, JobStep, Observation
from core import limits
from core.limits import KIB, MIB
from tests.casts.client import Api, problem
from tests.casts.conftest import claim

LONG = "🪄"  # four bytes in UTF-8
LARGEST_CAST = 2 * MIB  # nothing that is told of one cast is larger
REQUEST: dict[str, Any] = {
    "input": "é" * (limits.INPUT_CHARS - 2),
    "metadata": {
        f"{n:03}" + LONG * (limits.METADATA_KEY_CHARS - 3): LONG * limits.METADATA_CHARS
        for n in range(limits.METADATA_ENTRIES)
    },
    "callback_url": "https://example.com/".ljust(limits.URL_CHARS, "x"),
}


@pytest.fixture
def anything(spell: Spell) -> Spell:
    """A spell that costs nothing, and takes and gives anything."""
    Spell.objects.update(input_schema={}, output_schema=None, price_cents=0)
    return Spell.objects.get()


def end_as_large_as_can_be(cast_id: str) -> Cast:
    """Have a run tell of more steps than are shown, and end its cast with the largest result, in which all is wrong."""
    cast = Cast.objects.get(pk=cast_id)
    steps = tuple(JobStep(LONG * 400, n, "completed", "success") for n in range(limits.STEPS_SHOWN + 1))
    jobs = (Job(1, LONG * 400, "in_progress", steps=steps),)
    observing.observe(cast.pk, Observation(cast.run_scope, "1" + cast_id, status="in_progress", jobs=jobs))
    told = LONG * limits.VIOLATION_CHARS
    error = {"reason": "output_invalid", "message": "m", "errors": [{"pointer": told, "detail": told}] * 100}
    said = Annotation(LONG * 1000, "warning", LONG * 200, LONG * 500, 1, LONG * limits.STEP_NAME_CHARS)
    remarks = [finish.annotation_line(said) | {"job": said.job}] * limits.ANNOTATIONS_SHOWN
    summary = "é" * (limits.SUMMARY_BYTES // 2)
    left = ending.Left("é" * (limits.RESULT_BYTES // 2 - 1), summary, remarks)
    ending.end(
        claim(cast), CastStatus.FAILED, reason="output_invalid", message="m", error=error, left=left, charge=False
    )
    return Cast.objects.select_related("spell").get(pk=cast_id)


@pytest.mark.django_db
def test_the_largest_cast_is_carried_by_answers_of_a_known_size(api: Api, anything: Spell, client):
    posted = api.post("/cast", REQUEST | {"spell_key": anything.key}, Idempotency_Key="k" * 255)
    assert posted.status_code == 201, posted.content[:300]
    assert len(posted.content) < 300 * KIB
    again = api.post("/cast", REQUEST | {"spell_key": anything.key}, Idempotency_Key="k" * 255)
    assert (again["Idempotent-Replayed"], len(again.content)) == ("true", len(posted.content))
    cast = end_as_large_as_can_be(posted.json()["cast_id"])
    shown = api.get(f"/casts/{cast.pk}")
    body = shown.json()
    assert (body["input"], len(body["steps"]), len(body["error"]["errors"])) == (
        REQUEST["input"],
        limits.STEPS_SHOWN,
        limits.VIOLATIONS,
    )
    assert {len(step["name"]) for step in body["steps"]} == {limits.STEP_NAME_CHARS}
    assert MIB < len(shown.content) < LARGEST_CAST
    page = client.get(body["progress_url"].removeprefix("http://testserver"))
    assert page.status_code == 200
    assert len(page.content) < 2 * LARGEST_CAST  # as text, and as data for its script
    assert len(message(Callback.objects.get())) < LARGEST_CAST
    for event in cast.events.all():
        assert len(json.dumps(event.data, ensure_ascii=False).encode()) < LARGEST_CAST


@pytest.mark.django_db
def test_a_page_of_the_largest_casts_is_shorter_and_the_next_goes_on(api: Api, anything: Spell):
    made = [api.post("/cast", REQUEST | {"spell_key": anything.key}).json()["cast_id"] for _ in range(20)]
    expected = made[::-1]
    for back in (False, True):
        seen: list[str] = []
        path, turns = "/casts?page_size=100", 0
        while path:
            answer = api.get(path)
            assert len(answer.content) < limits.PAGE_BYTES + 100 * KIB
            page = answer.json()
            ids = [one["cast_id"] for one in page["results"]]
            assert 0 < len(ids) < 20
            seen = [*ids, *seen] if back else [*seen, *ids]
            path = ((page["previous"] if back else page["next"]) or "").removeprefix("http://testserver/api/v1")
            turns += 1
        # Backwards it begins with the page after the first.
        assert seen == expected[: len(seen)]
        assert len(seen) == 20 or back
        if not back:
            path = page["previous"].removeprefix("http://testserver/api/v1")
            assert turns > 2
    cast = end_as_large_as_can_be(made[-1])
    first = [one["cast_id"] for one in api.get("/casts?page_size=100").json()["results"]]
    assert first == [str(cast.pk), *expected[1 : len(first)]]
    assert len(first) < 7  # it takes the room of four


TYPES_AND_ONE = ["cast.failed"] * (len(CallbackType) + 1)
MORE: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/cast", {"metadata": {f"{n}": "" for n in range(51)}}, "/metadata"),
    ("POST", "/cast", {"metadata": {"k" * 101: ""}}, "/metadata"),
    ("POST", "/cast", {"metadata": {"k": "v" * 501}}, "/metadata/k"),
    ("POST", "/cast", {"spell_key": "k" * 65}, "/spell_key"),
    ("POST", "/cast", {"callback_url": "https://example.com/".ljust(2001, "x")}, "/callback_url"),
    ("POST", "/keys", {"name": "n" * 101}, "/name"),
    ("POST", "/keys", {"name": "n", "scopes": ["casts:read"] * (len(SCOPES) + 1)}, "/scopes"),
    ("POST", "/keys", {"name": "n", "spell_keys": ["s"] * (limits.KEY_SPELLS + 1)}, "/spell_keys"),
    ("POST", "/callbacks/endpoints", {"url": "https://example.com/".ljust(2001, "x")}, "/url"),
    ("POST", "/callbacks/endpoints", {"url": "https://example.com/", "description": "d" * 201}, "/description"),
    (
        "POST",
        "/callbacks/endpoints",
        {"url": "https://example.com/", "types": ["cast.failed"] * (len(CallbackType) + 1)},
        "/types",
    ),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "path", "body", "pointer"), MORE, ids=[case[3] for case in MORE])
def test_one_more_than_the_limit_is_refused_with_its_place(account, anything, method, path, body, pointer):
    _, secret = keys.create(account, name="all", scopes=list(SCOPES))
    whole = {"spell_key": anything.key} | body if path == "/cast" else body
    told = problem(Api(secret).call(method, path, whole), 422, "VALIDATION_ERROR")
    assert [one["pointer"] for one in told["errors"]] == [pointer]


# Bodies of nearly a megabyte of mistakes: each once made an answer of several times its size.
MISTAKES: dict[str, dict[str, Any]] = {
    "unknown names": {f"n{n}": 1 for n in range(80_000)},
    "long unknown names": {"n" * 9000 + str(n): 1 for n in range(100)},
    "metadata": {"metadata": {f"n{n}": n for n in range(60_000)}},
    "scopes": {"name": "n", "scopes": [f"{n}" for n in range(80_000)]},
    "spell keys": {"name": "n", "spell_keys": list(range(100_000))},
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_body_of_mistakes_is_answered_shortly(account, anything, name):
    _, secret = keys.create(account, name="all", scopes=list(SCOPES))
    path = "/keys" if "name" in MISTAKES[name] else "/cast"
    answer = Api(secret).post(path, {"spell_key": anything.key} | MISTAKES[name] if path == "/cast" else MISTAKES[name])
    told = problem(answer, 422, "VALIDATION_ERROR")
    assert len(told["errors"]) <= limits.UNKNOWN_NAMES + 1
    assert len(answer.content) < 50 * KIB
    if name == "unknown names":
        assert told["errors"][-1] == {"pointer": "", "detail": "79950 more names are not known here."}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        "/casts?" + "&".join(f"metadata.{n}=x" for n in range(limits.FILTERS + 1)),
        "/casts?status=" + "x" * 30_000,
        "/casts?" + "x" * 30_000 + "=1",
        "/casts?created_after=" + "x" * 30_000,
        "/casts?cursor=" + "x" * 30_000,
        "/casts?page_size=" + "9" * 30_000,
        "/usage?from=" + "9" * 30_000,
        "/spells/" + "x" * 30_000,
        "/casts/" + "x" * 30_000,
    ],
    ids=lambda path: path[:20],
)
def test_what_is_asked_for_too_long_is_not_said_again_at_length(api: Api, path):
    answer = api.get(path)
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 2 * KIB


@pytest.mark.django_db
def test_an_account_has_so_many_keys_and_no_more(account, monkeypatch):
    _, secret = keys.create(account, name="all", scopes=list(SCOPES))
    monkeypatch.setattr(limits, "KEYS", 2)
    made = Api(secret).post("/keys", {"name": "second"}).json()
    problem(Api(secret).post("/keys", {"name": "third"}), 409, "TOO_MANY_KEYS")
    assert Api(secret).delete(f"/keys/{made['id']}").status_code == 204
    assert Api(secret).post("/keys", {"name": "third"}).status_code == 201
    monkeypatch.setattr(limits, "KEYS_SHOWN", 2)
    shown = [key["name"] for key in Api(secret).get("/keys").json()["results"]]
    assert sorted(shown) == ["second", "third"]
    assert ApiKey.objects.count() == 3
