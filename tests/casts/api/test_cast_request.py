"""POST /api/v1/cast: what is taken on, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import uuid

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import Account
from casts.models import Cast, CastEvent
from github_integration.inputs import inputs_of
from tests.casts.client import CLIENT, Api, asked, problem, run
from tests.casts.conftest import history, ledger, nothing_left

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "times": {"type": "integer", "minimum": 1, "default": 3},
        "options": {
            "type": "object",
            "default": {},
            "properties": {
                "loud": {"type": "boolean", "default": False},
                "at": {"type": "string", "format": "date-time"},
            },
        },
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
        "a/b~c": {"type": "string"},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.fixture
def greet(make_spell):
    return make_spell("greet", input_schema=SCHEMA, price_cents=7)


@pytest.fixture
def refused(api, greet):
    """Send a cast that must be refused, with this problem, and leave no row."""

    def send(status, code, body, **headers):
        with nothing_left():
            return problem(api.post("/cast", body, **headers), status, code)

    return send


def pointers(found):
    return sorted(error["pointer"] for error in found["errors"])


# --- taken on --------------------------------------------------------------------------------------------------------


def test_a_cast_is_taken_on_with_all_a_client_needs(api, greet):
    before = timezone.now()
    answer = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}, "metadata": {"order": "17"}})
    assert answer.status_code == 201
    body = answer.json()
    assert answer["Location"] == f"http://testserver/api/v1/casts/{body['cast_id']}"
    told = {
        "spell_key": "greet",
        "spell_name": "Greet",
        "status": "queued",
        "cost_cents": 7,
        "final": False,
        "progress": 0,
    }
    assert body.items() >= told.items()
    assert body["message"]
    assert body["metadata"] == {"order": "17"}
    assert body["created_at"].endswith("Z")
    cast = Cast.objects.get()
    assert str(cast.pk) == body["cast_id"]
    assert before <= cast.created_at <= timezone.now()
    assert cast.due_at == cast.created_at  # the worker finds it: no other queue
    assert (cast.expires_at - cast.created_at).total_seconds() == greet.ttl_seconds
    assert history(cast) == ["accepted"]
    assert ledger(cast) == [("hold", 7)]


@pytest.mark.parametrize(("headers", "most"), [({}, 10), ({"Idempotency_Key": "k"}, 13)])
def test_a_cast_takes_few_statements(api, greet, headers, most, django_assert_max_num_queries):
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    api.post("/cast", body)  # the month's first makes its counter
    with django_assert_max_num_queries(most):
        assert api.post("/cast", body, **headers).status_code == 201


@pytest.mark.parametrize("link", ["progress_url", "events_url"])
def test_its_links_open_without_a_key_and_carry_none(api, greet, secret, link):
    body = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}).json()
    assert body[link].startswith("http://testserver/")
    assert "token=" in body[link]
    assert secret not in body[link]
    assert secret[:20] not in body[link]


@pytest.mark.parametrize(
    "kind", [{"runtime": "workflow_dispatch"}, {"runtime": "repository_dispatch", "event_type": "cast"}]
)
@pytest.mark.parametrize("path", ["/cast", "/casts"])
def test_both_kinds_of_spell_are_cast_alike_on_both_paths(api, make_spell, kind, path):
    make_spell("any", **kind)
    answer = api.post(path, {"spell_key": "any", "input": {"name": "Ada"}})
    assert answer.status_code == 201
    assert Cast.objects.get().spell.runtime == kind["runtime"]


def test_the_schemas_defaults_are_filled_in_and_what_was_given_stays(api, greet):
    given = {"name": "Ada", "options": {"at": "2026-11-23T10:00:00Z"}, "list": [{}, {"n": 5}]}
    body = api.post("/cast", {"spell_key": "greet", "input": given}).json()
    filled = {"times": 3, "options": {"loud": False, "at": "2026-11-23T10:00:00Z"}, "list": [{"n": 1}, {"n": 5}]}
    assert body["input"] == {"name": "Ada"} | filled
    assert Cast.objects.get().input == body["input"]


def test_a_cast_without_input_is_one_with_an_empty_object(api, make_spell):
    make_spell("plain")
    assert api.post("/cast", {"spell_key": "plain"}).json()["input"] == {}


@pytest.mark.parametrize("value", [17, "text", [1, 2], False, 1.5])
def test_an_input_need_not_be_an_object_if_the_schema_says_so(api, make_spell, value):
    make_spell("any", input_schema={})
    answer = api.post("/cast", {"spell_key": "any", "input": value})
    assert answer.status_code == 201
    assert answer.json()["input"] == value


def test_text_comes_back_letter_for_letter(api, make_spell):
    make_spell("any", input_schema={})
    text = '  «Größe» \U0001f9d9 \\u0000 "quoted" \t\n '
    body = {"spell_key": "any", "input": {"text": text}, "metadata": {" key ": " padded "}}
    cast_id = api.post("/cast", body).json()["cast_id"]
    read = api.get(f"/casts/{cast_id}").json()
    assert read["input"] == {"text": text}
    assert read["metadata"] == {" key ": " padded "}


def test_the_clients_own_deadline_and_callback_are_kept(api, greet):
    options = {"ttl_seconds": 60, "callback_url": "https://example.org/hook?x=1"}
    body = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}} | options).json()
    assert body["callback_url"] == options["callback_url"]
    cast = Cast.objects.get()
    assert (cast.expires_at - cast.created_at).total_seconds() == 60


def test_a_spell_changed_later_changes_no_price_of_a_cast_taken_on(api, greet):
    cast_id = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}).json()["cast_id"]
    type(greet).objects.update(price_cents=900, active=False)
    assert api.get(f"/casts/{cast_id}").json()["cost_cents"] == 7


def test_casts_are_numbered_in_the_order_they_came(api, greet):
    ids = [api.post("/cast", {"spell_key": "greet", "input": {"name": "x"}}).json()["cast_id"] for _ in range(3)]
    assert all(uuid.UUID(i).version == 7 for i in ids)
    listed = [c["cast_id"] for c in api.get("/casts").json()["results"]]
    assert set(listed) == set(ids)


# --- input that does not fit -----------------------------------------------------------------------------------------


def test_every_violation_is_listed_with_its_place(refused):
    wrong = {
        "name": "",
        "times": 0,
        "options": {"loud": "yes", "at": "noon"},
        "list": [{"n": 1}, {"n": "x"}],
        "a/b~c": 1,
    }
    found = refused(422, "VALIDATION_ERROR", {"spell_key": "greet", "input": wrong | {"extra": 1}})
    assert pointers(found) == [
        "/input",
        "/input/a~1b~0c",
        "/input/list/1/n",
        "/input/name",
        "/input/options/at",
        "/input/options/loud",
        "/input/times",
    ]
    assert all(error["detail"] for error in found["errors"])


@pytest.mark.parametrize("wrong", [{}, None, [], "Ada", 5])
def test_input_of_the_wrong_shape_is_refused_at_its_root(refused, wrong):
    assert pointers(refused(422, "VALIDATION_ERROR", {"spell_key": "greet", "input": wrong})) == ["/input"]


@pytest.mark.parametrize("number", [10**30, -(10**30), 1e308, 10**400])
def test_numbers_of_any_size_are_judged_and_not_tripped_over(api, make_spell, number):
    make_spell("any", input_schema={"properties": {"n": {"type": "number", "maximum": 5}}})
    body = {"spell_key": "any", "input": {"n": number}}
    if number < 0:
        assert api.post("/cast", body).status_code == 201
    else:
        assert pointers(problem(api.post("/cast", body), 422, "VALIDATION_ERROR")) == ["/input/n"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["/spell_key"]),
        ({"spell_key": 5}, ["/spell_key"]),
        ({"spell_key": ""}, ["/spell_key"]),
        ({"spell_key": None}, ["/spell_key"]),
        ({"spell_key": "g" * 65}, ["/spell_key"]),
        ({"spell_key": ["greet"]}, ["/spell_key"]),
        ({"spell_key": "greet", "spell": "greet", "inputs": {}}, ["/inputs", "/spell"]),
        ({"spell_key": "greet", "a/b~c": 1}, ["/a~1b~0c"]),
        ({"spell_key": "greet", "ttl_seconds": 0}, ["/ttl_seconds"]),
        ({"spell_key": "greet", "ttl_seconds": 30 * 24 * 3600 + 1}, ["/ttl_seconds"]),
        ({"spell_key": "greet", "ttl_seconds": "60"}, ["/ttl_seconds"]),
        ({"spell_key": "greet", "ttl_seconds": True}, ["/ttl_seconds"]),
        ({"spell_key": "greet", "ttl_seconds": 1.5}, ["/ttl_seconds"]),
        ({"spell_key": "greet", "callback_url": "ftp://example.org/"}, ["/callback_url"]),
        ({"spell_key": "greet", "callback_url": "javascript:alert(1)"}, ["/callback_url"]),
        ({"spell_key": "greet", "callback_url": "http://["}, ["/callback_url"]),
        ({"spell_key": "greet", "callback_url": 5}, ["/callback_url"]),
        ({"spell_key": "greet", "callback_url": "https://example.org/" + "x" * 2000}, ["/callback_url"]),
        ({"spell_key": "greet", "metadata": []}, ["/metadata"]),
        ({"spell_key": "greet", "metadata": "x"}, ["/metadata"]),
        ({"spell_key": "greet", "metadata": {"a": 1, "b": "fine", "c/d": None}}, ["/metadata/a", "/metadata/c~1d"]),
        ({"spell_key": "greet", "metadata": {"a": "x" * 501}}, ["/metadata/a"]),
        ({"spell_key": "greet", "metadata": {str(i): "" for i in range(51)}}, ["/metadata"]),
        ({"spell_key": 5, "ttl_seconds": 0, "metadata": 1}, ["/metadata", "/spell_key", "/ttl_seconds"]),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_every_place(refused, body, where):
    assert pointers(refused(422, "VALIDATION_ERROR", {"input": {"name": "Ada"}} | body)) == where


@pytest.mark.parametrize("key", ["nowhere", "GREET", "retired", "../greet", "gr eet"])
def test_a_spell_that_is_not_there_is_404_and_says_where_to_look(api, greet, make_spell, key):
    make_spell("retired", active=False)
    with nothing_left():
        found = problem(api.post("/cast", {"spell_key": key, "input": {"name": "Ada"}}), 404, "SPELL_NOT_FOUND")
    assert "GET /api/v1/spells" in found["detail"]


def test_the_cap_is_not_passed_and_the_refusal_has_the_numbers(greet):
    poor = Account.objects.create(name="Poor", monthly_cap_cents=10)
    api = Api(keys.create(poor, name="poor")[1])
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    assert api.post("/cast", body).status_code == 201
    with nothing_left():
        answer = api.post("/cast", body)
    found = problem(answer, 402, "BUDGET_CAP_EXCEEDED")
    assert found.items() >= {"cap_cents": 10, "held_cents": 7, "captured_cents": 0, "required_cents": 7}.items()
    assert int(answer["Retry-After"]) > 0


def test_a_cap_of_zero_leaves_not_even_a_month_behind(greet):
    account = Account.objects.create(name="None", monthly_cap_cents=0)
    api = Api(keys.create(account, name="none")[1])
    with nothing_left():
        answer = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}})
    problem(answer, 402, "BUDGET_CAP_EXCEEDED")
    assert "Retry-After" not in answer


def test_an_account_has_so_many_casts_open_and_one_more_once_one_has_ended(api, account, greet, settings):
    settings.ACCOUNT_MAX_OPEN = 2
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    first, second = (api.post("/cast", body, Idempotency_Key=key).json()["cast_id"] for key in ("a", "b"))
    with nothing_left():
        refused = api.post("/cast", body, Idempotency_Key="c")
    found = problem(refused, 429, "TOO_MANY_OPEN_CASTS")
    assert (found["max_open"], "cancel some" in found["detail"]) == (2, True)
    assert int(refused["Retry-After"]) > 0
    assert api.post("/cast", body, Idempotency_Key="a").json()["cast_id"] == first  # what was answered stays answered
    shown = api.get("/budget").json()
    assert (shown["open_casts"], shown["max_open"]) == (2, 2)
    api.post(f"/casts/{first}/cancel")
    assert api.post("/cast", body, Idempotency_Key="c").status_code == 201
    with nothing_left():
        problem(api.post(f"/casts/{first}/retry"), 429, "TOO_MANY_OPEN_CASTS")
    account.max_open = 3
    account.save()
    assert api.post(f"/casts/{first}/retry").status_code == 202
    assert Cast.objects.filter(pk=second).exists()
    assert api.get("/budget").json()["open_casts"] == 3


# --- bodies that are no JSON that we can keep ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"{'spell_key': 'greet'}",
        b'{"spell_key": "greet",}',
        b'{"spell_key": "greet"} trailing',
        b"[]",
        b'"greet"',
        b"null",
        b"17",
        b'{"spell_key": "greet", "input": {"name": NaN}}',
        b'{"spell_key": "greet", "input": {"name": Infinity}}',
        b'{"spell_key": "greet", "input": {"name": -Infinity}}',
        b'{"spell_key": "greet", "input": {"name": 1e999}}',
        b'{"spell_key": "greet", "input": {"name": "a\\u0000b"}}',
        b'{"spell_key": "greet", "input": {"a\\u0000b": 1}}',
        b'{"spell_key": "gre\\u0000et"}',
        b'{"spell_key": "greet", "metadata": {"a": "\\u0000"}}',
        b'{"spell_key": "greet", "input": {"name": "\\ud800"}}',
        b'{"spell_key": "greet", "input": {"\\udfff": 1}}',
        b'{"spell_key": "greet", "input": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_we_can_keep_is_400(refused, body):
    refused(400, "MALFORMED_JSON", body)


@pytest.mark.parametrize(
    ("held", "word"), [("\\u0000", "NUL"), ("a\\ud800", "surrogate"), ("\\udc00\\ud800", "surrogate")]
)
def test_json_that_can_not_be_stored_is_not_called_something_else(refused, held, word):
    for body in ('{"spell_key": "greet", "input": {"name": "%s"}}', '{"spell_key": "greet", "input": {"%s": 1}}'):
        detail = refused(400, "MALFORMED_JSON", body % held)["detail"]
        assert word in detail
        assert detail.startswith("The request body can't be stored: it holds ")


def test_an_empty_body_is_taken_for_an_empty_object(refused):
    for body in (b"", b"{}"):
        found = refused(422, "VALIDATION_ERROR", body)
        assert [mistake["pointer"] for mistake in found["errors"]] == ["/spell_key"]


@pytest.mark.parametrize("depth", [101, 250, 260, 400, *range(500, 1100, 30), 5_000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused_at_every_depth_and_never_trips_us(api, make_spell, depth, brackets):
    make_spell("any", input_schema={})
    opening, closing = brackets
    body = '{"spell_key": "any", "input": ' + opening * depth + "1" + closing * depth + "}"
    with nothing_left():
        found = problem(api.post("/cast", body), 400, "MALFORMED_JSON")
    assert "nested" in found["detail"]


def test_nesting_of_sane_depth_is_taken(api, make_spell):
    make_spell("any", input_schema={})
    body = '{"spell_key": "any", "input": ' + "[" * 60 + "1" + "]" * 60 + "}"
    cast_id = api.post("/cast", body).json()["cast_id"]
    assert json.dumps(api.get(f"/casts/{cast_id}").json()["input"]) == "[" * 60 + "1" + "]" * 60


def test_input_over_what_a_workflow_can_take_is_413(refused, settings):
    settings.CAST_INPUT_MAX_CHARS = 100
    found = refused(413, "INPUT_TOO_LARGE", {"spell_key": "greet", "input": {"name": "x" * 100}})
    assert found["max_chars"] == 100


def test_input_of_just_the_largest_size_is_taken(api, make_spell, settings):
    make_spell("any", input_schema={})
    settings.CAST_INPUT_MAX_CHARS = 100
    assert api.post("/cast", {"spell_key": "any", "input": "ü" * 98}).status_code == 201
    problem(api.post("/cast", {"spell_key": "any", "input": "ü" * 99}), 413, "INPUT_TOO_LARGE")


LARGE = {
    "characters": ("x" * 59_998, "x" * 59_999, {"max_chars": 60_000}),
    "bytes": ("🧙" * 32_499 + "xx", "🧙" * 32_500, {"max_bytes": 130_000}),
    "CJK": ("进" * 43_332, "进" * 50_000, {"max_bytes": 130_000}),
    # Each mark is two characters of JSON, and four when that is packed as text.
    "quotation marks": ('"' * 16_323, '"' * 16_324, {"max_chars": 65_300}),
}


@pytest.mark.parametrize("kind", LARGE)
def test_an_input_is_measured_in_every_unit_in_which_a_workflow_may_be_handed_it(api, make_spell, kind):
    make_spell("any", input_schema={})
    most, more, told = LARGE[kind]
    taken = api.post("/cast", {"spell_key": "any", "input": most})
    assert taken.status_code == 201
    assert Cast.objects.get().input == most
    with nothing_left():
        found = problem(api.post("/cast", {"spell_key": "any", "input": more}), 413, "INPUT_TOO_LARGE")
    assert found.items() >= told.items()
    assert str(next(iter(told.values()))) in found["detail"]


def test_what_is_taken_is_never_too_large_for_github(api, make_spell):
    """Counted as GitHub counts: the whole inputs object, as compact JSON."""
    make_spell("k" * 64, input_schema={})
    api.post("/cast", {"spell_key": "k" * 64, "input": LARGE["quotation marks"][0]})
    whole = json.dumps(inputs_of(Cast.objects.get()), ensure_ascii=False, separators=(",", ":"))
    assert 65_000 < len(whole) <= 65_535


def test_a_body_over_one_mebibyte_is_413(refused):
    found = refused(413, "INPUT_TOO_LARGE", b'{"spell_key": "' + b"x" * 1024 * 1024 + b'"}')
    assert found["max_bytes"] == 1024 * 1024


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_another_media_type_is_415(refused, kind):
    refused(415, "UNSUPPORTED_MEDIA_TYPE", b'{"spell_key": "greet"}', Content_Type=kind)


def test_json_with_a_charset_is_json(api, greet):
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    assert api.post("/cast", body, Content_Type="application/json; charset=utf-8").status_code == 201


# --- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "nonsense", "sk_live_spl_" + "0" * 36])
def test_without_a_good_key_nothing_is_taken_on(greet, key, account):
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    with nothing_left():
        problem(Api(key).post("/cast", body), 401, "UNAUTHORIZED")


def test_a_bad_body_of_somebody_unknown_is_401_not_400(greet):
    problem(Api(None).post("/cast", b"{"), 401, "UNAUTHORIZED")


# --- the same through the ASGI application --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_api_handler_answers_alike_and_with_safe_headers(secret, greet):
    async def scene():
        body = json.dumps({"spell_key": "greet", "input": {"name": "Ada"}}).encode()
        async with asked("/api/v1/cast", method="POST", body=body, Authorization=f"Bearer {secret}") as answer:
            assert answer.status == 201
            assert answer.headers["Location"].endswith((await answer.json())["cast_id"])
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "Set-Cookie" not in answer.headers
        async with asked("/api/v1/cast", method="POST", body=b"{}") as answer:
            assert answer.status == 401
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert (await answer.json())["request_id"] == answer.headers["X-Request-Id"]

    run(scene())
    assert Cast.objects.count() == CastEvent.objects.count() == 1


# --- how clients write it --------------------------------------------------------------------------------------------


def test_null_for_what_may_be_left_out_is_as_good_as_leaving_it_out(api, greet):
    nothing = dict.fromkeys(("ttl_seconds", "callback_url", "metadata"))
    body = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}} | nothing).json()
    assert (body["callback_url"], body["metadata"]) == (None, {})
    cast = Cast.objects.get()
    assert (cast.expires_at - cast.created_at).total_seconds() == greet.ttl_seconds


def test_null_for_what_is_required_is_refused(refused):
    assert pointers(refused(422, "VALIDATION_ERROR", {"spell_key": None, "input": {}})) == ["/spell_key"]


@pytest.mark.parametrize("schema", [{}, {"type": ["object", "null"]}, {"type": "null"}])
def test_null_as_input_is_an_input_if_the_schema_takes_it(api, make_spell, schema):
    make_spell("any", input_schema=schema)
    answer = api.post("/cast", {"spell_key": "any", "input": None})
    assert answer.status_code == 201, answer.content
    assert answer.json()["input"] is None
    cast = Cast.objects.get()
    assert cast.input is None
    assert inputs_of(cast)["input_data"] == "null"
    assert api.get(f"/casts/{cast.pk}").json()["input"] is None
    assert api.get("/casts").json()["results"][0]["input"] is None


def test_null_as_input_is_refused_by_a_schema_that_wants_an_object(refused):
    found = refused(422, "VALIDATION_ERROR", {"spell_key": "greet", "input": None})
    assert pointers(found) == ["/input"]
    assert 'null is not of type "object"' in found["errors"][0]["detail"]


@pytest.mark.parametrize("path", ["/keys", "/budget", "/callbacks/endpoints"])
def test_null_means_not_given_in_every_request(api, path, monkeypatch):
    bodies = {
        "/keys": ("POST", {"name": "k", "scopes": None, "spell_keys": None, "expires_at": None}, 201),
        "/budget": ("PATCH", {"cap_cents": None, "scope": None, "key_id": None, "spell_key": None}, 200),
        "/callbacks/endpoints": ("POST", {"url": "https://1.1.1.1/h", "description": None, "types": None}, 201),
    }
    method, body, status = bodies[path]
    answer = api.call(method, path, body)
    assert answer.status_code == status, answer.content


BODY = '{"spell_key": "greet", "input": {"name": "Zoë"}}'


@pytest.mark.parametrize(
    ("sent", "headers", "word"),
    [
        (gzip.compress(BODY.encode()), {"Content_Encoding": "gzip"}, "gzip"),
        (gzip.compress(BODY.encode()), {}, "compressed"),
        (BODY.encode(), {"Content_Encoding": "br"}, "br"),
        (BODY.encode("latin-1"), {}, "not UTF-8 (at byte 44)"),
        (BODY.encode("latin-1"), {"Content_Type": "application/json; charset=ISO-8859-1"}, "iso-8859-1"),
        (BODY.encode("utf-16"), {"Content_Type": "application/json; charset=utf-16"}, "utf-16"),
        (b"\xff\xfe\x00", {}, "not UTF-8 (at byte 0)"),
        (b'{"spell_key": "gr\xffeet"}', {}, "not UTF-8 (at byte 17)"),
        *((BODY.encode(name), {}, "UTF-") for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
        *(('{"spell_key": "greet"}'.encode(name), {}, "UTF-16") for name in ("utf-16-le", "utf-16-be")),
    ],
)
def test_a_body_that_is_compressed_or_not_utf_8_is_told_so(refused, sent, headers, word):
    found = refused(415, "UNSUPPORTED_MEDIA_TYPE", sent, **headers)
    assert word in found["detail"]
    assert "UTF-8" in found["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json", 'application/json; charset="UTF-8"', "application/json;charset=utf8"]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_body_in_utf_8_is_taken_with_a_byte_order_mark_or_without(api, greet, kind, mark):
    answer = api.post("/cast", mark + BODY.encode(), Content_Type=kind, Content_Encoding="identity")
    assert answer.json()["input"]["name"] == "Zoë"


def test_names_of_metadata_have_a_limit(api, greet, refused):
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    assert pointers(refused(422, "VALIDATION_ERROR", body | {"metadata": {"k" * 101: "v"}})) == ["/metadata"]
    every = {"k" * 101: "v", "n": 5, "long": "x" * 501, "l" * 150: 6}
    found = refused(422, "VALIDATION_ERROR", body | {"metadata": every})
    assert pointers(found) == ["/metadata", "/metadata", "/metadata/" + "l" * 150, "/metadata/long", "/metadata/n"]
    many = {str(i): "v" for i in range(50)} | {"non_field_errors": 5}
    assert len(refused(422, "VALIDATION_ERROR", body | {"metadata": many})["errors"]) == 2
    taken = api.post("/cast", body | {"metadata": {"🔑" * 100: "v"}})
    assert taken.json()["metadata"] == {"🔑" * 100: "v"}


def test_an_id_in_capitals_is_the_same_id(api, greet):
    made = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}).json()
    shouted = made["cast_id"].upper()
    assert api.get(f"/casts/{shouted}").json()["cast_id"] == made["cast_id"]
    problem(api.get(f"/casts/{shouted}/artifacts/x"), 404, "ARTIFACT_NOT_FOUND")
    for link in ("progress_url", "events_url"):
        path = made[link].removeprefix("http://testserver").replace(made["cast_id"], shouted)
        assert CLIENT.get(path).status_code == 200, path
    assert api.get(f"/callbacks?cast={shouted}").json()["results"] == []
    assert api.post(f"/casts/{shouted}/cancel").json()["cast_id"] == made["cast_id"]
    again = api.post(f"/casts/{shouted}/retry", Idempotency_Key="once").json()
    assert api.post(f"/casts/{made['cast_id']}/retry", Idempotency_Key="once").json()["cast_id"] == again["cast_id"]
    assert again["retry_of"] == made["cast_id"]


@pytest.mark.parametrize("path", ["/casts", "/cast", "/casts/7", "/casts/7/events", "/spells/greet", "/schema"])
def test_a_slash_at_the_end_is_told(api, path):
    found = problem(api.get(f"{path}/"), 404, "NOT_FOUND")
    assert f"/api/v1{path}/ here. Leave out the slash at its end: /api/v1{path}" in found["detail"]
    assert "slash" not in problem(api.get("/nowhere/"), 404, "NOT_FOUND")["detail"]
