"""What clients read: casts one by one and in lists, spells, the budget."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from urllib.parse import quote, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from accounts import budget, keys
from accounts.models import Account
from casts.api import reference
from casts.lifecycle import accepting, observing
from casts.models import Cast, CastStatus, MetadataMark, Spell, mark_of
from casts.runtime import Job, JobStep, Observation
from tests.casts.client import Api, problem
from tests.casts.conftest import step
from tests.casts.fake import jobs_of


@pytest.fixture
def stranger(db):
    """Another account's client."""
    return Api(keys.create(Account.objects.create(name="Stranger"), name="theirs")[1])


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [shown["cast_id"] for shown in answer.json()["results"]]


# --- one cast --------------------------------------------------------------------------------------------------------


def test_a_cast_shows_its_whole_state(api, cast, runtime):
    began = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
    Cast.objects.update(created_at=began - dt.timedelta(seconds=3))
    steps = (
        JobStep("Set up job", 1, "completed", "success", began, began),
        JobStep("Greet", 2, "in_progress", None, began),
    )
    runtime.answers["observe"] = lambda cast: Observation(
        cast.run_scope,
        cast.run_key,
        status="in_progress",
        run_started_at=began,
        jobs=(Job(1, "cast", "in_progress", steps=steps),),
    )
    step(cast)
    step(cast)
    shown = api.get(f"/casts/{cast.pk}").json()
    told = {
        "cast_id": str(cast.pk),
        "spell_key": "greet",
        "spell_name": "Greet",
        "status": "running",
        "status_reason": "running",
        "progress": 50,
        "step": "Greet",
        "final": False,
        "cost_cents": 5,
        "run_url": "https://github.example/runs/1",
        "started_at": "2026-11-23T10:00:00.000Z",
        "finished_at": None,
        "duration_ms": None,
        "error": None,
        "output": None,
        "artifacts": [],
        "artifact_url": None,
        "input": {"name": "Ada"},
        "metadata": {},
        "callback_url": None,
    }
    assert shown.items() >= told.items()
    assert "2 of 2" in shown["message"]
    assert [(s["job"], s["name"], s["status"]) for s in shown["steps"]] == [
        ("cast", "Set up job", "completed"),
        ("cast", "Greet", "in_progress"),
    ]
    for hidden in ("token", "lease_until", "due_at", "account", "api_key", "dispatch_attempts"):
        assert hidden not in shown


def test_another_accounts_cast_is_not_found(stranger, cast):
    problem(stranger.get(f"/casts/{cast.pk}"), 404, "CAST_NOT_FOUND")


def test_no_such_cast_is_not_found(api):
    problem(api.get("/casts/00000000-0000-7000-8000-000000000000"), 404, "CAST_NOT_FOUND")


def test_another_key_of_the_account_reads_the_same_casts(account, cast):
    assert Api(keys.create(account, name="second")[1]).get(f"/casts/{cast.pk}").status_code == 200


def test_an_unchanged_cast_is_304_and_a_changed_one_has_another_etag(api, cast, clock):
    first = api.get(f"/casts/{cast.pk}")
    etag = first["ETag"]
    clock.forward(seconds=100)  # links are signed anew; that is no change
    again = api.get(f"/casts/{cast.pk}", If_None_Match=f'"other", W/{etag}')
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress"))
    changed = api.get(f"/casts/{cast.pk}", If_None_Match=etag)
    assert changed.status_code == 200
    assert changed["ETag"] != etag
    assert changed["Cache-Control"] == "private, no-cache"


def test_an_etag_is_no_key(cast, api):
    etag = api.get(f"/casts/{cast.pk}")["ETag"]
    problem(Api(None).get(f"/casts/{cast.pk}", If_None_Match=etag), 401, "UNAUTHORIZED")


# --- lists -----------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_newest_first_with_nothing_twice(api, make_cast):
    made = [str(make_cast().pk) for _ in range(7)]
    path, seen = "/casts?page_size=3", []
    while path:
        page = api.get(path).json()
        assert len(page["results"]) <= 3
        seen += [shown["cast_id"] for shown in page["results"]]
        if len(seen) == 3:
            make_cast()  # what comes in meanwhile moves no page
        following = page["next"]
        if following:
            assert following.startswith("http://testserver/api/v1/casts?")
        path = following and following.removeprefix("http://testserver/api/v1")
    assert seen == sorted(made, reverse=True)


def test_pages_lead_back_too(api, make_cast):
    for _ in range(4):
        make_cast()
    first = api.get("/casts?page_size=2").json()
    second = api.get(first["next"].removeprefix("http://testserver/api/v1")).json()
    back = api.get(second["previous"].removeprefix("http://testserver/api/v1")).json()
    assert [c["cast_id"] for c in back["results"]] == [c["cast_id"] for c in first["results"]]


def test_links_to_pages_begin_with_our_public_address_behind_any_proxy(api, make_cast, settings):
    settings.PUBLIC_URL = "https://spells.example"
    make_cast(), make_cast()
    following = urlsplit(api.get("/casts?page_size=1&status=queued").json()["next"])
    assert (following.scheme, following.netloc, following.path) == ("https", "spells.example", "/api/v1/casts")
    assert "status=queued" in following.query


def test_a_list_needs_as_many_queries_for_many_casts(api, make_cast, django_assert_max_num_queries):
    api.get("/budget")  # the key's last use is noted
    for _ in range(10):
        make_cast()
    with django_assert_max_num_queries(4):
        assert len(ids(api.get("/casts"))) == 10


def test_a_list_holds_the_accounts_own_casts_alone(api, stranger, cast):
    assert ids(api.get("/casts")) == [str(cast.pk)]
    assert ids(stranger.get("/casts")) == []


def test_filters_narrow_the_list_and_add_up(api, api_key, make_cast, make_spell, monkeypatch):
    other = make_spell("other")
    then = timezone.now() - dt.timedelta(days=3)
    with monkeypatch.context() as earlier:
        earlier.setattr(timezone, "now", lambda: then)
        earlier.setattr(time, "time_ns", lambda: int(then.timestamp() * 1e9))
        one = make_cast(metadata={"order": "17", "team": "b"})
    two = make_cast(spell=other, input={}, metadata={"order": "18"})
    three = make_cast(metadata={"order": "17"})
    observing.observe(three.pk, Observation(three.run_scope, "1", status="in_progress", jobs=jobs_of("in_progress")))
    hour_ago = (timezone.now() - dt.timedelta(hours=1)).isoformat()
    expected = {
        "status=queued": {one, two},
        "status=running": {three},
        "status=failed": set(),
        "spell_key=greet": {one, three},
        "spell_key=nowhere": set(),
        "metadata.order=17": {one, three},
        "metadata.order=17&metadata.team=b": {one},
        "metadata.order=1": set(),
        "metadata.none=17": set(),
        "spell_key=other&status=queued": {two},
        f"created_after={quote(hour_ago)}": {two, three},
        f"created_before={hour_ago}": {one},  # the plus sign of the zone unquoted
        "created_after=2026-01-01T00:00:00Z&created_before=2026-01-02T00:00:00-05:00": set(),
        f"created_after={quote(hour_ago.lower())}&created_before=9999-12-31t23:59:59z": {two, three},  # by RFC 3339 too
    }
    for query, casts in expected.items():
        assert set(ids(api.get(f"/casts?{query}"))) == {str(c.pk) for c in casts}, query


def test_the_edges_of_a_time_are_exact(api, make_cast):
    casts = [make_cast() for _ in range(3)]
    at = quote(casts[1].created_at.isoformat())
    assert ids(api.get(f"/casts?created_after={at}")) == [str(casts[2].pk), str(casts[1].pk)]
    assert ids(api.get(f"/casts?created_before={at}")) == [str(casts[0].pk)]
    assert ids(api.get(f"/casts?created_after={at}&created_before={at}")) == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="how Postgres finds them")
@pytest.mark.parametrize(
    "query",
    [
        "",
        "status=cancelled",
        "spell_key=other",
        "spell_key=other&status=failed",
        "spell_key=other&status=succeeded",
        "created_after=2126-01-01T00:00:00Z",
        "created_before=2026-01-01T00:00:00Z",
    ],
)
def test_a_list_in_which_nothing_is_found_is_not_looked_for_among_all_casts(api, account, spell, make_spell, query):
    make_spell("other")
    many = [accepting.new_cast(account=account, spell=spell, input={}) for _ in range(3000)]
    for cast in many:
        cast.status, cast.finished_at = "succeeded", cast.created_at
    Cast.objects.bulk_create(many)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE casts_cast")
        with CaptureQueriesContext(connection) as asked:
            assert len(ids(api.get(f"/casts?{query}"))) == (0 if query else 20)
        listings = [one["sql"] for one in asked.captured_queries if 'ORDER BY "casts_cast"."id" DESC' in one["sql"]]
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {listings[0]}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", plan))) < 30, plan


def test_a_cast_is_found_by_its_metadata_through_an_index_and_by_nothing_else(api, account, make_cast):
    cast, other = make_cast(metadata={"order": "17"}), make_cast(metadata={"order": "18"})
    with CaptureQueriesContext(connection) as asked:
        assert ids(api.get("/casts?metadata.order=17")) == [str(cast.pk)]
    [listing] = [query["sql"] for query in asked.captured_queries if "casts_metadatamark" in query["sql"]]
    assert str(mark_of(account.pk, "order", "17")) in listing
    assert "json" not in listing.lower()
    # What is in the metadata is not looked at, or all of an account's would be read.
    MetadataMark.objects.filter(cast=other).update(mark=mark_of(account.pk, "order", "17"))
    assert ids(api.get("/casts?metadata.order=17")) == [str(other.pk), str(cast.pk)]


@pytest.mark.parametrize("key", ["a.b", "a'b", "0", "17", 'a"b', "a b", "$", "%s", "", "größe", "a[0]", "x-y", "a\\b"])
def test_metadata_keys_may_be_any_text_and_are_never_code(api, make_cast, key):
    cast = make_cast(metadata={key: "yes"})
    make_cast(metadata={"other": "yes"})
    assert ids(api.get(f"/casts?metadata.{quote(key)}=yes")) == [str(cast.pk)]
    assert ids(api.get(f"/casts?metadata.{quote(key)}=no")) == []


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "status=",
        "state=queued",
        "created_after=yesterday",
        "created_after=2026-11-23",
        "created_after=2026-11-23T10:00:00",
        "created_before=2026-13-01T00:00:00Z",
        "created_after=0001-01-01T00:00:00%2B12:00",
        "created_before=9999-12-31T23:59:59-12:00",
        "page_size=0",
        "page_size=101",
        "page_size=-1",
        "page_size=many",
        "cursor=nonsense",
        "cursor=cD1ub25zZW5zZQ%3D%3D",  # p=nonsense
        "cursor=cD0lMDA%3D",  # p=%00
        "cursor=%C3%A9",
        "cursor=***",  # base64 skips what is none of its letters
        "cursor=%20",
        "cursor=",
        "spell_key=%00",
        "metadata.order=%00",
        "metadata.%00=1",
        "metadata=1",
        "status=queued&status=running",
        "status=queued&status=queued",
        "metadata.a=1&metadata.a=2",
        "page_size=5&page_size=6",
        "cursor=&cursor=",
    ],
)
def test_a_filter_that_can_not_be_used_is_422_and_named(api, cast, query):
    found = problem(api.get(f"/casts?{query}"), 422, "VALIDATION_ERROR")
    assert query.split("=")[0].split(".")[0] in found["detail"] or "NUL" in found["detail"]


# --- spells and money ------------------------------------------------------------------------------------------------


def test_spells_show_what_a_caller_needs_and_not_where_they_run(api, make_spell):
    make_spell("b", description="Says it.", output_schema={"type": "object"}, price_cents=12, repository="secret/place")
    make_spell("a")
    make_spell("off", active=False)
    answer = api.get("/spells")
    assert [spell["spell_key"] for spell in answer.json()["results"]] == ["a", "b"]
    one = api.get("/spells/b").json()
    assert one == answer.json()["results"][1]
    told = {"name": "B", "description": "Says it.", "price_cents": 12, "output_schema": {"type": "object"}}
    assert one.items() >= told.items()
    assert one["input_schema"] == Spell.objects.get(key="b").input_schema
    assert "secret/place" not in answer.text
    assert "cast.yml" not in answer.text


@pytest.mark.parametrize("key", ["off", "none", "A"])
def test_a_spell_that_can_not_be_cast_is_not_shown(api, make_spell, key):
    make_spell("a")
    make_spell("off", active=False)
    problem(api.get(f"/spells/{key}"), 404, "SPELL_NOT_FOUND")


def test_the_budget_adds_up_while_casts_come_and_end(api, make_cast, account):
    def shown():
        body = api.get("/budget").json()
        return body["held_cents"], body["captured_cents"], body["remaining_cents"]

    assert shown() == (0, 0, 10_000)
    first, second = make_cast(), make_cast()
    assert shown() == (10, 0, 9_990)
    budget.settle(first.pk, capture_cents=None)
    assert shown() == (5, 5, 9_990)
    budget.settle(second.pk, capture_cents=0)
    assert shown() == (0, 5, 9_995)
    body = api.get("/budget").json()
    assert body["month"] == timezone.now().strftime("%Y-%m-01")
    assert body["resets_at"] > body["month"]
    assert body["cap_cents"] == 10_000


def test_a_budget_without_cap_has_none(db):
    api = Api(keys.create(Account.objects.create(name="Rich"), name="x")[1])
    body = api.get("/budget").json()
    assert (body["cap_cents"], body["remaining_cents"]) == (None, None)


def test_the_description_lists_every_path_and_needs_no_key(db):
    answer = Api(None).get("/schema")
    assert answer.status_code == 200
    described = json.loads(answer.content)
    assert described["openapi"].startswith("3.1")
    paths = {
        "/api/v1/cast",
        "/api/v1/casts",
        "/api/v1/casts/{cast_id}",
        "/api/v1/casts/{cast_id}/events",
        "/api/v1/casts/{cast_id}/artifacts/{name}",
        "/api/v1/spells",
        "/api/v1/spells/{spell_key}",
        "/api/v1/budget",
        "/api/v1/keys",
        "/api/v1/keys/{key_id}",
    }
    assert paths <= set(described["paths"])


def test_the_description_knows_every_field_that_a_cast_shows(api, cast):
    described = json.loads(Api(None).get("/schema").content)["components"]["schemas"]
    assert set(api.get(f"/casts/{cast.pk}").json()) == set(described["CastOut"]["properties"])
    assert set(described["CastOut"]["properties"]["status"].get("enum", CastStatus.values)) == set(CastStatus.values)


def test_the_reference_has_each_operation_with_its_example_and_nothing_from_elsewhere(db):
    answer = Api(None).get("/docs")
    assert answer.status_code == 200
    for name, one in reference.OPERATIONS.items():
        assert f'id="{name}"' in answer.text
        assert escape(one.summary) in answer.text
    assert "$BASE/api/v1/cast" in answer.text
    assert "script-src" not in answer["Content-Security-Policy"]
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    linked = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
    assert {link for link in linked if not link.startswith(("/", "data:"))} == set()
