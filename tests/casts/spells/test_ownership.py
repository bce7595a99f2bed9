"""A spell may be one account's: to the others it is a spell that there is not."""

from __future__ import annotations

import json
import re

import pytest
from django.core.management import CommandError, call_command

from accounts import keys
from accounts.models import SCOPES, Account
from casts import casting
from casts.lifecycle import ending
from casts.models import Cast, Spell
from tests.casts.client import Api

DIFFERENT = re.compile(r'"(?:request_id|id|secret|prefix|created_at)": ?(?:"[^"]*"|[0-9]+)')


@pytest.fixture
def others(db):
    """Return another account's key, and a key of it that has a list of spells."""
    account = Account.objects.create(name="Others", monthly_cap_cents=1000)
    return [
        keys.create(account, name=name, scopes=list(SCOPES), spell_keys=listed)
        for name, listed in (("all", None), ("listed", ["greet", "theirs"]))
    ]


@pytest.fixture
def owned(spell, account):
    spell.account = account
    spell.save()
    return spell


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/spells/KEY", None),
        ("GET", "/spells/KEY?version=1", None),
        ("POST", "/cast", {"spell_key": "KEY", "input": {"name": "Ada"}}),
        ("POST", "/casts", {"spell_key": "KEY", "input": {"no": "such input"}}),
        ("PATCH", "/budget", {"cap_cents": 5, "scope": "spell", "spell_key": "KEY"}),
        ("GET", "/casts?spell_key=KEY", None),
        ("POST", "/keys", {"name": "k", "spell_keys": ["KEY"], "scopes": ["casts:write"]}),
    ],
)
def test_to_others_it_is_a_spell_that_there_is_not(owned, others, number, method, path, body):
    def told(key):
        """Return the answer about a spell, byte for byte but for its name, the request's, and a new key's."""
        asked = json.loads(json.dumps(body).replace("KEY", key))
        answer = Api(others[number][1]).call(method, path.replace("KEY", key), asked)
        return answer.status_code, DIFFERENT.sub("", answer.content.decode().replace(key, "KEY"))

    assert told("greet") == told("theirs")
    assert told("greet")[0] == {"/casts?spell_key=KEY": 200, "/keys": 201}.get(path, 404)


def test_it_is_listed_and_cast_by_its_own_keys_alone(owned, others, api, make_spell):
    make_spell("everybodys")
    assert [row["spell_key"] for row in api.get("/spells").json()["results"]] == ["everybodys", "greet"]
    assert [row["spell_key"] for row in Api(others[0][1]).get("/spells").json()["results"]] == ["everybodys"]
    assert api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}).status_code == 201


def test_casts_of_before_stay_who_made_them_and_are_not_made_again(spell, account, others):
    theirs = Api(others[0][1])
    order = {"spell_key": "greet", "input": {"name": "Ada"}}
    first = theirs.post("/cast", order, **{"Idempotency-Key": "once"})
    cast_id = first.json()["cast_id"]
    ending.cancel(cast_id)
    spell.account = account
    spell.save()
    assert theirs.get(f"/casts/{cast_id}").json()["output"] is None
    assert [row["cast_id"] for row in theirs.get("/casts").json()["results"]] == [cast_id]
    again = theirs.post("/cast", order, **{"Idempotency-Key": "once"})
    assert (again.status_code, again.json()["cast_id"]) == (201, cast_id)
    refused = theirs.post(f"/casts/{cast_id}/retry", {})
    assert (refused.status_code, refused.json()["code"]) == (404, "SPELL_NOT_FOUND")
    assert casting.cast_again(Cast.objects.get().pk, by="operator") is False
    assert Cast.objects.count() == 1


def test_operators_name_the_owner_in_a_file(spell, account, tmp_path):
    file = tmp_path / "spells.toml"

    def load(line):
        file.write_text(f"[greet]\n{line}\n")
        call_command("loadspells", str(file), verbosity=0)
        return Spell.objects.get().account

    assert load(f'account = "{account.name}"') == account
    assert load("price_cents = 7") == account
    for wrong, why in (('account = "Nobody"', "no account named 'Nobody'"), ("account = 7", "in quotes")):
        with pytest.raises(CommandError, match=why):
            load(wrong)
    assert load('account = ""') is None
    assert Spell.objects.get().version == 4


def test_a_version_is_shown_to_those_alone_who_could_see_it_then(spell, account, others, api):
    theirs = Api(others[0][1])
    spell.account, spell.description = account, "Our secret plan"
    spell.save()
    spell.account, spell.description = None, "For all"
    spell.save()
    assert [api.get(f"/spells/greet?version={number}").status_code for number in (1, 2, 3)] == [200] * 3
    assert [api.get(f"/spells/greet?version={number}").status_code for number in (9, 10**9, 10**30)] == [404] * 3
    seen = [theirs.get(f"/spells/greet?version={number}") for number in (1, 2, 3)]
    assert [answer.status_code for answer in seen] == [200, 404, 200]
    assert seen[1].json()["code"] == "SPELL_VERSION_NOT_FOUND"
