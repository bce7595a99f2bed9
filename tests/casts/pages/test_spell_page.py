"""A spell's page: members fill in its form and cast, and nobody else does."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import Account, Membership, Role
from casts.forms.wording import advice
from casts.models import AccountPrice, Cast, Spell
from core.json_schema.documents import violations
from tests.casts.forms.browsing import controls

pytestmark = pytest.mark.usefixtures("runtime")
SCHEMA = {
    "type": "object",
    "required": ["name", "pick"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "title": "Who", "description": "Whom to greet.", "minLength": 2},
        "times": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1},
        "pick": {"enum": ["red", "green", None]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
        "place": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
        "data": {"type": "string", "contentEncoding": "base64"},
        "free": {"type": "object"},
    },
}
PATH = "/spells/paint/"
Make = Callable[..., Spell]


@pytest.fixture
def paint(make_spell: Make) -> Spell:
    return make_spell("paint", name="Paint", input_schema=SCHEMA, tags=["art"])


@pytest.fixture
def member(account: Account) -> Membership:
    return Membership.objects.create(account=account, user=User.objects.create_user("ann"), role=Role.MEMBER)


@pytest.fixture
def client(member: Membership) -> Client:
    client = Client()
    client.force_login(member.user)
    return client


def form_of(page: Any) -> dict[str, str]:
    sent = controls(page.text).sent
    sent.pop("q", None)
    return sent


def send(client: Client, page: Any, act: str = "cast", **typed: Any) -> Any:
    """Send what a page's form has, with something typed in it; names have _ for / where Python needs that."""
    return client.post(PATH, form_of(page) | {"act": act} | {name.replace("_", "/"): v for name, v in typed.items()})


def summary(page: Any) -> list[str]:
    found = re.search(r'<section class="told mistakes".*?</section>', page.text, re.DOTALL)
    assert found is not None
    return [html.unescape(text) for text in re.findall(r'<a href="#f\d+">(.*?)</a>', found[0])]


def test_a_member_casts_from_the_form_after_mistakes(client: Client, paint: Spell, member: Membership):
    page = client.get(PATH)
    refused = send(client, page, v_name="A", v_times="1,5", v_free="[", n_tags="1", v_tags_0="too long")
    assert refused.status_code == 200
    assert summary(refused) == [
        "Who: Too short: at least 2 characters.",
        "times: Write a number such as 12 or 0.5 with a point, not a comma.",
        "pick: This is needed.",
        "tags: tags 1: Too long: at most 5 characters.",
        "free: This is not JSON: Expecting value: line 1 column 2 (char 1). Texts need quotes, names too.",
    ]
    for typed in ('value="A"', 'value="1,5"', 'value="too long"', "\n[</textarea>"):
        assert typed in refused.text, "what was typed is there"
    assert Cast.objects.count() == 0
    good = {"v_name": "O'Brien", "v_times": "2", "v_pick": "null", "v_free": '{"a": 12345678901234567890}'}
    done = send(client, refused, **good, v_tags_0="x", v_place_city="Ankh")
    cast = Cast.objects.get()
    assert done.headers["Location"] == f"/casts/{cast.pk}/"
    assert cast.input == {
        **{"name": "O'Brien", "times": 2, "pick": None, "tags": ["x"], "place": {"city": "Ankh"}},
        "free": {"a": 12345678901234567890},
    }
    assert (cast.placed_by, cast.api_key) == (member.user, None)


def test_absent_empty_and_null_are_three_things(client: Client, paint: Spell):
    Spell.objects.update(
        input_schema={"properties": {name: {"type": ["string", "null"]} for name in "abc"}, "type": "object"}
    )
    send(client, client.get(PATH), b_b="empty", b_c="null")
    assert Cast.objects.get().input == {"b": "", "c": None}


def test_a_form_that_is_sent_twice_casts_once_and_another_casts_anew(client: Client, paint: Spell):
    page = client.get(PATH)
    sent = [send(client, page, v_name="Ada", v_pick='"red"').headers["Location"] for _ in range(2)]
    assert len(set(sent)) == 1
    assert send(client, page, v_name="Bob", v_pick='"red"').headers["Location"] != sent[0]  # gone back, and changed it
    assert send(client, client.get(PATH), v_name="Ada", v_pick='"red"').headers["Location"] != sent[0]
    assert Cast.objects.count() == 3


def test_rows_come_and_go_without_a_script(client: Client, paint: Spell):
    page = client.get(PATH)
    for text in ("a", "b", "c"):
        number = form_of(page)["n/tags"]
        page = send(client, page, act="add/tags")
        page = send(client, page, act="show", **{f"v_tags_{number}": text})
    page = send(client, page, act="remove/tags/1", v_name="Ada", v_pick='"red"')
    assert [form_of(page)[name] for name in ("n/tags", "v/tags/0", "v/tags/1", "v/name")] == ["2", "a", "c", "Ada"]
    send(client, page)
    assert Cast.objects.get().input["tags"] == ["a", "c"]


def test_the_whole_is_typed_as_json_and_back(client: Client, paint: Spell):
    page = send(client, client.get(PATH), act="json", v_name="Ada", v_times="many", v_pick='"red"')
    assert '"times": "many"' in html.unescape(page.text)  # what a form can't read stands there as it was typed
    broken = send(client, page, act="fields", j="{")
    assert summary(broken) == [
        "This is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Texts need "
        "quotes, names too."
    ]
    wrong = send(client, broken, j='{"name": "Ada", "pick": "blue"}')
    assert summary(wrong) == ['"blue" is not one of "red", "green" or null (at /pick)']
    back = send(client, wrong, act="fields", j='{"name": "Ada", "pick": "green", "more": [1]}')
    assert [form_of(back)[name] for name in ("v/name", "v/pick", "o")] == [
        "Ada",
        '"green"',
        '{\r\n  "more": [\r\n    1\r\n  ]\r\n}',
    ]
    send(client, back, o="")
    assert Cast.objects.get().input == {"name": "Ada", "pick": "green", "times": 1}


@pytest.mark.parametrize(
    ("content", "value", "told"),
    [
        (b"\x00\xff", "AP8=", "It has 2 bytes now."),
        (b"x" * 45_001, None, "The file f has 45,001 bytes; at most 45,000 fit. Choose another."),
    ],
)
def test_a_file_is_taken_as_base64(client: Client, paint: Spell, content: bytes, value: str | None, told: str):
    page = client.get(PATH)
    file = SimpleUploadedFile("f", content)
    typed = {"v/name": "Ada", "v/pick": '"red"', "u/data": file}
    answer = client.post(PATH, form_of(page) | typed | {"act": "cast"})
    if value is not None:
        assert Cast.objects.get().input["data"] == value
        file.seek(0)
        answer = client.post(PATH, form_of(page) | typed | {"act": "show"})
    assert told in html.unescape(answer.text)


def test_who_may_not_cast_is_told_so_and_sees_no_button(client: Client, paint: Spell, member: Membership):
    page = client.get(PATH)
    Membership.objects.update(role=Role.VIEWER)
    seen = client.get(PATH)
    assert "you are a viewer" in seen.text
    assert ("act", "cast") not in controls(seen.text).buttons
    assert send(client, page, v_name="Ada", v_pick='"red"').status_code == 403
    assert send(client, page, act="json").status_code == 200
    Membership.objects.all().delete()
    assert send(client, page).status_code == client.get(PATH).status_code == 404
    assert Cast.objects.count() == 0


def test_spells_of_others_and_of_nobody_any_more_are_not_there(client: Client, paint: Spell, make_spell: Make):
    page = client.get(PATH)
    for change in ({"account": Account.objects.create(name="Other")}, {"account": None, "active": False}):
        Spell.objects.update(**change)
        assert client.get(PATH).status_code == send(client, page).status_code == 404
        assert "Paint" not in client.get("/spells/").text


def test_money_that_is_not_enough_is_said_before_and_after(client: Client, paint: Spell, account: Account):
    AccountPrice.objects.create(spell=paint, account=account, price_cents=700)
    page = client.get(PATH)
    assert "7.00 USD a cast (your account&#x27;s own price)." in page.text
    assert "100.00 USD left of the account&#x27;s budget this month" in page.text
    assert "more than is left" not in page.text
    Account.objects.update(monthly_cap_cents=100)
    assert "which is more than is left" in client.get(PATH).text
    refused = send(client, page, v_name="Ada", v_pick='"red"')
    assert refused.status_code == 200
    assert "Nothing was cast" in refused.text
    assert "This cast needs 7.00 USD" in refused.text
    assert 'value="Ada"' in refused.text


def test_an_earlier_cast_fills_the_form_for_who_may_read_it(
    client: Client, spell: Spell, make_cast: Any, member: Membership
):
    cast = make_cast(input={"name": "Ada"})
    path = f"/spells/greet/?from={cast.pk}"
    assert form_of(client.get(path))["v/name"] == "Ada"
    Spell.objects.update(show_input=False)
    assert form_of(client.get(path))["v/name"] == ""
    Spell.objects.update(show_input=True)
    Membership.objects.update(role=Role.VIEWER)
    assert "of which you may see the input" in client.get(path).text
    for other in ("nonsense", "018f0000-0000-7000-8000-000000000000"):
        assert "There is no cast" in client.get(f"/spells/greet/?from={other}").text


@pytest.mark.parametrize(
    "typed",
    [
        {"n/tags": "999999"},
        {"n/tags": "-1"},
        {"n/tags": "9" * 5000},
        {"v/name": "a\0b"},
        {"v/times": "9" * 5000},
        {"v/times": "1e999"},
        {"v/times": "0.1000000000000000055"},
        {"v/free": "[" * 50_000},
        {"v/free": '{"a": "\\ud800"}'},
        {"j": "NaN"},
        {"v/pick": "not json"},
        {"v/tags/__proto__": "x", "b/tags": "nonsense"},
        {"once": "x"},
        {"v/name": "x" * 70_000},
    ],
)
def test_whatever_is_sent_is_answered_with_a_mistake_or_a_cast(client: Client, paint: Spell, typed: dict[str, str]):
    page = client.get(PATH)
    sent = client.post(PATH, form_of(page) | {"v/name": "Ada", "v/pick": '"red"', "act": "cast"} | typed)
    assert sent.status_code in (302, 200)
    assert sent.status_code == 302 or summary(sent)
    assert len(sent.content) < 400_000


@pytest.mark.parametrize(
    "act", ["add/", "add", "add/name", "add/tags/0/1", "remove/tags/9", "remove/", "x" * 9000, "json"]
)
def test_buttons_that_there_are_not_change_nothing(client: Client, paint: Spell, act: str):
    assert send(client, client.get(PATH), act=act).status_code == 200


@pytest.mark.parametrize("row", ["\u00b2", "\u0661", "9" * 100, "-1"])
def test_a_row_is_removed_beside_what_is_none(client: Client, paint: Spell, row: str):
    sent = {"n/tags": "2", "v/tags/0": "a", "v/tags/1": "b", f"v/tags/{row}": "x", "act": "remove/tags/0"}
    page = client.post(PATH, form_of(client.get(PATH)) | sent)
    assert form_of(page)["v/tags/0"] == "b"


def test_hostile_texts_of_a_schema_are_texts(client: Client, paint: Spell):
    evil = '"><script>alert(1)</script>'
    part = {
        "type": "string",
        "title": evil,
        "description": evil,
        "default": evil,
        "examples": [evil],
        "pattern": '^"x$',
    }
    Spell.objects.update(
        name=evil,
        input_schema={"type": "object", "properties": {evil: part, "e": {"enum": [evil]}}},
        output_schema={"type": "object", "properties": {evil: {"description": evil}}},
    )
    page = client.get(PATH).text
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 5


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"minLength": 2}, "A", "Too short: at least 2 characters."),
        ({"maxLength": 1}, "is shorter than 9 characters", "Too long: at most 1 character."),
        ({"minItems": 1}, [], "Too few: fill in at least 1."),
        ({"maxItems": 1}, [1, 2], "Too many: at most 1 item."),
        ({"minimum": 1}, 0, "Too small: at least 1."),
        ({"maximum": 1.5}, 3, "Too large: at most 1.5."),
        ({"uniqueItems": True}, [1, 1], "The same is there twice; each may be there once."),
        ({"pattern": "^[0-9]{5}$"}, "x", "It does not fit the pattern ^[0-9]{5}$."),
        ({"format": "email"}, "ada", "Write a mail address, such as ada@example.com."),
        ({"format": "uri"}, "ada", "Write a whole address, such as https://example.com/page."),
        ({"format": "date"}, "1.2.2026", "Write a date, such as 2026-11-30."),
        ({"format": "date-time"}, "now", "Write a day and a time, such as 2026-11-30T09:00:00Z."),
        ({"format": "time"}, "9", "Write a time of day, such as 09:00:00Z."),
        ({"format": "uuid"}, "9", '"9" is not a "uuid"'),
        ({"exclusiveMinimum": 1}, 1, "1 is less than or equal to the minimum of 1"),
    ],
)
def test_what_the_validator_says_becomes_advice(schema: dict[str, Any], value: Any, words: str):
    [told] = violations(schema, value, at="")
    assert advice(told["detail"]) == words


def test_a_required_file_may_be_chosen_instead_of_typed(client: Client, paint: Spell):
    data = {"type": "string", "minLength": 1, "contentEncoding": "base64"}
    Spell.objects.update(input_schema={"type": "object", "required": ["data"], "properties": {"data": data}})
    form = client.get(PATH).text.partition("data-spell-form")[2].partition("</form>")[0]
    assert 'type="file"' in form
    assert not re.search(r"<(input|textarea)[^>]* required", form)
