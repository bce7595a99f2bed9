"""The pages on which owners and admins make, rotate and revoke keys."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any

import pytest
from django.utils import timezone

from accounts import keys, principals
from accounts.audit.models import AuditEntry
from accounts.models import Account, ApiKey, Role, Session
from tests.accounts.people import PASSWORD
from tests.casts.client import Api, problem

SECRET = re.compile(r"sk_live_spl_[0-9A-Za-z]{36}")


def filled(**more: Any) -> dict[str, Any]:
    return {"name": "CI", "scopes": ["budget:read"], "spells": "all", "lasts": "", "number": uuid.uuid4()} | more


def path(account: Account, rest: str = "") -> str:
    return f"/account/{account.pk}/keys/{rest}"


def told(answer: Any) -> str:
    return " ".join(re.findall(r'class="told"[^>]*>(.*?)</p>', answer.text))


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
def test_a_key_is_made_once_and_its_secret_kept_nowhere(account, member, role, caplog):
    client, sent = member(role), filled(lasts="30")
    made = client.post(path(account, "new/"), sent)
    [secret] = set(SECRET.findall(made.text))
    assert made.headers["Cache-Control"] == "no-store"
    assert Api(secret).get("/budget").status_code == 200
    key = ApiKey.objects.get(name="CI")
    assert key.created_by_user is not None
    assert key.expires_at is not None
    assert dt.timedelta(days=29) < key.expires_at - timezone.now() <= dt.timedelta(days=30)
    again = client.post(path(account, "new/"), sent)  # a reload
    assert "has made a key already" in again.text
    assert not SECRET.search(again.text)
    assert ApiKey.objects.filter(name="CI").count() == 1
    stored = [row.get_decoded() for row in Session.objects.all()]
    assert secret not in repr((stored, caplog.text, list(AuditEntry.objects.values()), list(ApiKey.objects.values())))
    assert secret not in client.get(path(account)).text + client.get(path(account, f"{key.pk}/")).text
    assert AuditEntry.objects.get(action="key.create").actor_kind == "user"


def test_the_last_day_of_the_calendar_is_no_end(account, member):
    answer = member().post(path(account, "new/"), filled(lasts="day", day="9999-12-31"))
    assert "Choose never." in answer.text
    assert not ApiKey.objects.filter(name="CI").exists()


def test_a_form_goes_on_once_its_sender_has_shown_a_password(account, member, settings):
    client = member()
    settings.REAUTHENTICATE_SECONDS = 0.0
    asked = client.post(path(account, "new/"), filled())
    assert asked.headers["Location"].startswith("/account/confirm/")
    assert not ApiKey.objects.filter(name="CI").exists()
    settings.REAUTHENTICATE_SECONDS = 900.0
    made = client.post(asked.headers["Location"], {"password": PASSWORD})
    assert SECRET.search(made.text)
    assert account.name in made.text
    assert f'href="{path(account)}"' in made.text  # the tabs
    key = ApiKey.objects.get(name="CI")
    settings.REAUTHENTICATE_SECONDS = 0.0
    for act in ("rotate", "revoke", "revoke_all"):
        answer = client.post(path(account, f"{key.pk}/"), {"act": act, "overlap": "now", "below": "0"})
        assert answer.headers["Location"].startswith("/account/confirm/"), act
    key.refresh_from_db()
    assert key.usable


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": " "}, "required"),
        ({"scopes": []}, "at least one thing"),
        ({"scopes": ["everything"]}, "not one of the available choices"),
        ({"spells": "some"}, "at least one spell"),
        ({"spells": "some", "spell_keys": ["nowhere"]}, "not one of the available choices"),
        ({"lasts": "day"}, "Say which day"),
        ({"lasts": "day", "day": "2001-01-01"}, "has passed"),
    ],
)
def test_what_makes_no_key_is_said_beside_its_field(account, member, spell, wrong, why):
    answer = member().post(path(account, "new/"), filled(**wrong))
    assert why in answer.text
    assert not ApiKey.objects.filter(name="CI").exists()


def test_a_key_for_some_spells_and_until_a_day(account, member, spell, make_spell):
    make_spell("other")
    sent = filled(spells="some", spell_keys=["greet"], lasts="day", day="2099-12-31")
    assert member().post(path(account, "new/"), sent).status_code == 200
    key = ApiKey.objects.get(name="CI")
    assert (key.spell_keys, key.expires_at) == (["greet"], dt.datetime(2100, 1, 1, tzinfo=dt.UTC))


def test_a_key_is_rotated_and_revoked_with_those_below_it(account, member):
    client = member()
    top, old_secret = keys.create(account, name="top", scopes=["keys"])
    for name in ("one", "two"):
        keys.create_below(top, name=name)
    page = client.get(path(account, f"{top.pk}/")).text
    assert "Revoke it and the 2 keys below it" in page
    assert "The 2 keys below it stay valid." in page  # after a rotation, which is no remedy for a leak
    rotated = client.post(path(account, f"{top.pk}/"), {"act": "rotate", "overlap": "hour"})
    [secret] = set(SECRET.findall(rotated.text))
    assert Api(secret).get("/keys").status_code == Api(old_secret).get("/keys").status_code == 200
    again = client.post(path(account, f"{top.pk}/"), {"act": "rotate", "overlap": "hour"}, follow=True)
    assert "was rotated before" in told(again)
    keys.create_below(top, name="meanwhile", expires_at=timezone.now() + dt.timedelta(minutes=5))
    stale = client.post(path(account, f"{top.pk}/"), {"act": "revoke_all", "below": "2"}, follow=True)
    assert "by now there are 3 keys" in told(stale)
    done = client.post(path(account, f"{top.pk}/"), {"act": "revoke_all", "below": "3"}, follow=True)
    assert "4 keys revoked" in told(done)
    problem(Api(old_secret).get("/keys"), 401, "UNAUTHORIZED")
    assert Api(secret).get("/keys").status_code == 200  # a person made it


def test_an_admins_key_does_no_more_than_an_admin(account, member):
    client = member(Role.ADMIN)
    assert "read who changed what" not in client.get(path(account, "new/")).text
    assert "not one of the available choices" in client.post(path(account, "new/"), filled(scopes=["audit"])).text
    strong, _ = keys.create(account, name="strong", scopes=["audit"])
    refused = client.post(path(account, f"{strong.pk}/"), {"act": "rotate", "overlap": "now"}, follow=True)
    assert "has not the scope(s) audit" in told(refused)
    strong.refresh_from_db()
    assert strong.usable


def test_others_keys_are_not_there_and_others_roles_may_not(account, member, spell):
    theirs, _ = keys.create(Account.objects.create(name="Another"), name="theirs")
    client = member()
    assert client.get(path(account, f"{theirs.pk}/")).status_code == 404
    assert client.post(path(account, f"{theirs.pk}/"), {"act": "revoke"}).status_code == 404
    for role in (Role.MEMBER, Role.VIEWER):
        low = member(role)
        for rest in ("", "new/"):
            assert low.get(path(account, rest)).status_code == 403
        assert low.post(path(account, "new/"), filled()).status_code == 403
        assert path(account) not in low.get(f"/account/{account.pk}/usage/").text
    assert not ApiKey.objects.filter(name="CI").exists()


def test_keys_stand_below_their_makers_in_as_many_queries_for_forty(
    account, member, django_user_model, django_assert_max_num_queries
):
    client = member()
    top, _ = keys.create(account, name="<b>top", by=principals.of_user(django_user_model.objects.get()))
    child, _ = keys.create_below(top, name="child")
    keys.create_below(child, name="grandchild")
    for number in range(40):
        keys.create(account, name=f"key {number}")
    with django_assert_max_num_queries(12):
        text = client.get(path(account)).text
    assert "<b>top" not in text
    assert text.index("top</a>") < text.index("child</a>") < text.index("grandchild</a>")
    assert 'class="depth-2"' in text
