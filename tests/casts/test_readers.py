"""Who may read a cast: every kind of caller, and everything that shows something of one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys, principals
from accounts.models import Account, Membership
from casts import disclosure, links, representation
from casts.access import Reach, may_read
from casts.lifecycle import ending, events, observing
from casts.models import Artifact, CastStatus
from casts.runtime import Job, JobStep, Observation
from tests.casts.client import Api, asked, run
from tests.casts.conftest import claim

pytestmark = pytest.mark.django_db(transaction=True)
# What is in a cast, wherever it may be shown.
MARKS = [
    *("INPUT-MARK", "OUTPUT-MARK", "METADATA-MARK", "MESSAGE-MARK", "ERROR-MARK", "LOG-MARK"),
    *("STEP-MARK", "JOB-MARK", "RUN-MARK", "ARTIFACT-MARK", "BYTES-MARK", "CALLBACK-MARK"),
    *("SUMMARY-MARK", "REMARK-MARK"),
]
REMARK = dict.fromkeys(("title", "message", "file", "job"), "REMARK-MARK") | {"level": "error", "line": 1}
RECEIPT = {"cast_id", "status", "final"}
USUAL = ["casts:read", "casts:write", "spells:read", "budget:read"]


@pytest.fixture
def cast(make_cast):
    """A cast that failed, with something of all that a cast may hold."""
    receiver = "https://receiver.example/CALLBACK-MARK"
    cast = make_cast(input={"name": "INPUT-MARK"}, metadata={"key": "METADATA-MARK"}, callback_url=receiver)
    steps = (JobStep("STEP-MARK", 1, "in_progress"),)
    url, jobs = "https://github.example/RUN-MARK", (Job(1, "JOB-MARK", "in_progress", steps=steps),)
    observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress", url=url, jobs=jobs))
    content = b"BYTES-MARK"
    file = default_storage.save(f"{cast.pk}/file", ContentFile(content))
    known: dict[str, Any] = {
        "state": "stored",
        "size_bytes": 10,
        "sha256": hashlib.sha256(content).hexdigest(),
        "remote_id": 1,
    }
    Artifact.objects.create(cast=cast, name="ARTIFACT-MARK", file=file, expires_at=timezone.now(), **known)
    error = {"reason": "run_failed", "message": "ERROR-MARK", "log_tail": ["LOG-MARK"]}
    held = claim(cast)
    how: dict[str, Any] = {
        "reason": "run_failed",
        "message": "MESSAGE-MARK",
        "error": error,
        "left": ending.Left({"x": "OUTPUT-MARK"}, "SUMMARY-MARK", [REMARK]),
    }
    ending.end(held, CastStatus.FAILED, **how, charge=True)
    cast.refresh_from_db()
    yield cast
    default_storage.delete(file)


@pytest.fixture
def caller(account, cast, make_cast, django_user_model):
    """Return what a caller of this name sends: headers, and what follows the addresses."""

    def key(of=account, spells=None, scopes=USUAL):
        return {"Authorization": f"Bearer {keys.create(of, name='k', scopes=scopes, spell_keys=spells)[1]}"}, ""

    def user(role=None, *, of=account, permission=None, **fields):
        person = django_user_model.objects.create_user("somebody", **fields)
        if role:
            Membership.objects.create(account=of, user=person, role=role)
        if permission:
            person.user_permissions.add(Permission.objects.get(codename=permission))
        browser = Client()
        browser.force_login(person)
        return {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}, ""

    def other():
        return Account.objects.create(name="Other")

    return {
        "nobody": lambda: ({}, ""),
        "usual key": key,
        "reading key": lambda: key(scopes=["casts:read"]),
        "writing key": lambda: key(scopes=["casts:write"]),
        "callbacks key": lambda: key(scopes=["callbacks"]),
        "key for this spell": lambda: key(spells=["greet", "other"]),
        "key for another spell": lambda: key(spells=["other"]),
        "writing key for another spell": lambda: key(spells=["other"], scopes=["casts:write"]),
        "key of another account": lambda: key(other()),
        "link": lambda: ({}, f"?token={links.token_for(cast.pk)}"),
        "link to another cast": lambda: ({}, f"?token={links.token_for(make_cast().pk)}"),
        "owner": lambda: user("owner"),
        "admin": lambda: user("admin"),
        "member": lambda: user("member"),
        "viewer": lambda: user("viewer"),
        "viewer who is staff": lambda: user("viewer", is_staff=True),
        "viewer with the permission": lambda: user("viewer", permission="view_cast"),
        "member of another account": lambda: user("owner", of=other()),
        "stranger": user,
        "staff": lambda: user(is_staff=True),
        "staff who may change casts": lambda: user(is_staff=True, permission="change_cast"),
        "staff with the permission": lambda: user(is_staff=True, permission="view_cast"),
        "inactive superuser": lambda: user(is_superuser=True, is_active=False),
        "superuser": lambda: user(is_superuser=True),
    }


def told(status, text):
    """Say in a word what an answer tells of a cast."""
    if status >= 300:
        assert not any(mark in text for mark in MARKS)
        return status
    if any(mark in text for mark in MARKS):
        return "all"
    assert "token=" not in text
    if text.startswith("{") and json.loads(text).keys() == RECEIPT:
        return "receipt"
    return "none" if '"results":[]' in text else "status"


COLUMNS = ("read", "list", "stream", "artifact", "page", "cancel", "retry", "cast", "repeat")
WITHOUT_KEY = {"read": 401, "list": 401, "cancel": 401, "retry": 401, "cast": 401, "repeat": 401}
EVERYTHING = dict.fromkeys(COLUMNS, "all")
SEEN = {"stream": "all", "artifact": "all", "page": "all"} | WITHOUT_KEY
HIDDEN = {"stream": 404, "artifact": 404, "page": 404} | WITHOUT_KEY
STATUS = {"stream": "status", "artifact": 403, "page": "status"} | WITHOUT_KEY
NOT_READ = {"read": 403, "list": 403, "stream": 403, "artifact": 403, "page": 403}
NOT_WRITTEN = {"cancel": 403, "retry": 403, "cast": 403, "repeat": 403}
EXPECTED = {
    "nobody": {"stream": 401, "artifact": 401, "page": 302} | WITHOUT_KEY,
    "usual key": EVERYTHING,
    "reading key": EVERYTHING | NOT_WRITTEN,
    "writing key": NOT_READ | {"cancel": "receipt", "retry": "receipt", "cast": "receipt", "repeat": "receipt"},
    "callbacks key": NOT_READ | NOT_WRITTEN,
    "key for this spell": EVERYTHING,
    "key for another spell": dict.fromkeys(COLUMNS, 404) | {"list": "none", "cast": 403, "repeat": 403},
    "writing key for another spell": NOT_READ | {"cancel": 404, "retry": 404, "cast": 403, "repeat": 403},
    # In its own account it casts what it likes.
    "key of another account": dict.fromkeys(COLUMNS, 404) | {"list": "none", "cast": "all", "repeat": "all"},
    "link": SEEN,
    "link to another cast": WITHOUT_KEY | {"stream": 401, "artifact": 401, "page": 403},
    "owner": SEEN,
    "admin": SEEN,
    "member": SEEN,
    "viewer": STATUS,
    "viewer who is staff": STATUS,
    "viewer with the permission": SEEN,
    "member of another account": HIDDEN,
    "stranger": HIDDEN,
    "staff": HIDDEN,
    "staff who may change casts": HIDDEN,
    "staff with the permission": SEEN,
    "inactive superuser": {"stream": 401, "artifact": 401, "page": 302} | WITHOUT_KEY,
    "superuser": SEEN,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_everybody_reads_what_is_theirs_and_nothing_else(name, caller, cast, api, make_spell):
    make_spell("other")
    order = {"spell_key": "greet", "input": {"name": "INPUT-MARK"}}
    assert api.post("/cast", order, Idempotency_Key="once").status_code == 201
    headers, query = caller[name]()
    api_path = f"/api/v1/casts/{cast.pk}"
    asks: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
        "read": ("GET", api_path, None, {}),
        "list": ("GET", "/api/v1/casts", None, {}),
        "stream": ("GET", f"{api_path}/events", None, {}),
        "artifact": ("GET", f"{api_path}/artifacts/ARTIFACT-MARK", None, {}),
        "page": ("GET", f"/casts/{cast.pk}/", None, {}),
        "cancel": ("POST", f"{api_path}/cancel", None, {}),
        "retry": ("POST", f"{api_path}/retry", None, {}),
        "cast": ("POST", "/api/v1/cast", order, {}),
        "repeat": ("POST", "/api/v1/cast", order, {"Idempotency-Key": "once"}),
    }

    async def scene():
        found = {}
        for column, (method, path, body, more) in asks.items():
            sent = b"" if body is None else json.dumps(body).encode()
            async with asked(path + query, method=method, body=sent, **headers, **more) as answer:
                text = (await answer.body()).decode()
                found[column] = told(answer.status, text)
                # A token would outlast the login, and with it the membership; but for the link that members hand out.
                plain = re.sub(r'<input id="share-link"[^>]*>', "", text)
                assert "Cookie" not in headers or "token=" not in plain
                assert plain == text or name != "viewer"
        return found

    assert run(scene()) == EXPECTED[name]


def test_a_viewer_follows_a_cast_live_and_reads_nothing_of_it(caller, make_cast, settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1
    cast = make_cast(input={"name": "INPUT-MARK"})
    path = f"/api/v1/casts/{cast.pk}/events"
    (headers, _), (key, _) = caller["viewer"](), caller["usual key"]()

    def progress(text):
        steps = (JobStep(f"STEP-MARK {text}", 1, "in_progress"),)
        jobs = (Job(1, "JOB-MARK", "in_progress", steps=steps),)
        try:
            observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress", jobs=jobs))
        finally:
            connections.close_all()

    async def scene():
        async with asked(path, **headers) as viewer, asked(path, **key) as reader:
            (first, _), (other, _) = await viewer.event(), await reader.event()
            await asyncio.to_thread(progress, "live")
            (seq, seen), (_, whole) = await viewer.event(), await reader.event()
            assert first == other == seq - 1
            assert "STEP-MARK live" in json.dumps(whole)
            assert not any(mark in json.dumps(seen) for mark in MARKS)
            assert (seen["status"], seen["final"]) == (whole["status"], whole["final"]) == ("running", False)
        async with asked(f"{path}?after=0", **headers) as viewer:  # what was before
            for _ in range(seq):
                past = json.dumps(await viewer.event())
                assert not any(mark in past for mark in MARKS)

    run(scene())


def test_what_viewers_see_has_the_shape_of_all_and_no_more(cast):
    whole = events.snapshot(cast)
    assert disclosure.status_only(whole).keys() == whole.keys()
    shown = representation.cast_out(cast)
    assert representation.status_of(shown).keys() == shown.keys()
    assert representation.status_of(shown)["cost_cents"] == 5


def test_a_viewers_page_has_status_and_price(caller, cast):
    headers, _ = caller["viewer"]()
    page = Client(headers=headers).get(f"/casts/{cast.pk}/")
    for told in ("Failed", "0.05 USD, charged", "Greet", "is not for viewers"):
        assert told in page.text
    assert f'data-events="/api/v1/casts/{cast.pk}/events"' in page.text


@pytest.mark.parametrize("path", ["/cast", "/casts"])
def test_who_may_only_write_waits_for_the_end_and_learns_that_alone(account, spell, path):
    writer = Api(keys.create(account, name="w", scopes=["casts:write"])[1])
    for headers in ({}, {"Prefer": "wait=1"}, {"Prefer": "wait=1", "Idempotency_Key": "a"}, {"Idempotency_Key": "a"}):
        answer = writer.post(path, {"spell_key": "greet", "input": {"name": "x"}}, **headers)
        assert answer.status_code == 201
        assert answer.json().keys() == RECEIPT
        assert answer["Location"] == f"http://testserver/api/v1/casts/{answer.json()['cast_id']}"
        assert "ETag" not in answer
    assert answer["Idempotent-Replayed"] == "true"


def test_what_a_writing_key_placed_is_repeated_whole_for_a_key_that_reads(account, api, spell):
    order = {"spell_key": "greet", "input": {"name": "x"}}
    writer = Api(keys.create(account, name="w", scopes=["casts:write"])[1])
    receipt = writer.post("/cast", order, Idempotency_Key="a").json()
    whole = api.post("/cast", order, Idempotency_Key="a").json()
    assert whole["cast_id"] == receipt["cast_id"]
    assert whole["progress_url"]


def test_lists_hold_casts_of_the_keys_spells_alone(account, make_cast, make_spell):
    mine, theirs = make_cast(), make_cast(spell=make_spell("other"))
    for spells, expected in ((["greet"], {mine}), (["greet", "other"], {mine, theirs}), (["none"], set())):
        key = Api(keys.create(account, name="k", spell_keys=spells)[1])
        for query in ("", "?spell_key=other", "?status=queued"):
            seen = expected & {theirs} if "spell_key" in query else expected
            found = key.get(f"/casts{query}").json()["results"]
            assert {one["cast_id"] for one in found} == {str(cast.pk) for cast in seen}


@pytest.mark.parametrize("spells", [None, ["greet"]])
def test_to_ask_who_reads_takes_no_statement_of_its_own(account, make_cast, spell, spells):
    cast = make_cast()
    key = Api(keys.create(account, name="k", spell_keys=spells)[1])
    key.get("/budget")  # the key's last use is noted
    # A list needs the numbers of a key's spells: only with these does Postgres know which index finds few among many.
    for path, most in ((f"/casts/{cast.pk}", 2), ("/casts", 3 + (spells is not None))):
        with CaptureQueriesContext(connection) as asked_for:
            assert key.get(path).status_code == 200
        assert len(asked_for) <= most, [query["sql"][:80] for query in asked_for]


def test_commands_read_everything(cast):
    assert may_read(principals.of_command("purge"), cast) == Reach.ALL
