"""The pages about callbacks and settings: what the API lets keys do, by forms and for roles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.audit.models import AuditEntry
from accounts.models import Account
from casts.models import Callback, CallbackEndpoint
from tests.accounts.people import wrongs
from tests.accounts.test_members import member, of
from tests.casts.receivers import Receiver, ended, receiver, work_off


@pytest.fixture
def inbox(settings: Any) -> Iterator[Receiver]:
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver() as running:
        yield running


@pytest.fixture
def admin(account: Account) -> Any:
    return of(member(account, "ann", "admin"))


def add(client: Any, account: Account, **form: Any) -> Any:
    wanted = {"act": "add", "types": ["cast.succeeded", "cast.failed"], "contents": "on", "spell_keys": ""} | form
    return client.post(f"/account/{account.pk}/callbacks/", wanted)


def page_of(account: Account) -> str:
    return f"/account/{account.pk}/callbacks/{CallbackEndpoint.objects.get().pk}/"


def secret_in(answer: Any) -> str:
    found = re.search(r">(whsec_[A-Za-z0-9+/=]+)<", answer.text)
    assert found is not None
    return found[1]


def test_an_endpoint_is_made_tested_changed_paused_and_deleted_by_forms(account, admin, inbox, api_key, spell):
    secret = secret_in(add(admin, account, url=inbox.url, description="<b>mine</b>"))
    page = page_of(account)
    assert "whsec_" not in admin.get(page).text + admin.get(f"/account/{account.pk}/callbacks/").text

    inbox.body, inbox.answers = b"<script>alert(1)</script>", [(200, {})]
    sent = admin.post(page, {"act": "test"}).headers["Location"]
    assert "has not been tried yet" in admin.get(sent).text
    work_off()
    [got] = inbox.got
    assert got.verified(secret)["type"] == "endpoint.test"
    shown = admin.get(sent).text
    for text in ("delivered", "&lt;script&gt;alert(1)", "&lt;b&gt;mine", got.headers["webhook-id"]):
        assert text in shown
    assert "has not been tried yet" not in shown

    newer = secret_in(admin.post(page, {"act": "rotate"}))
    admin.post(page, {"act": "again", "message": got.headers["webhook-id"]})
    work_off()
    assert inbox.got[1].verified(newer) == inbox.got[1].verified(secret)
    admin.post(page, {"act": "drop_old"})
    form = {"act": "change", "url": inbox.url, "types": "cast.failed", "spell_keys": f" {spell.key} , other "}
    assert "Changed." in admin.post(page, form, follow=True).text
    changed = CallbackEndpoint.objects.get()
    assert (changed.types, changed.contents, changed.spell_keys) == (["cast.failed"], False, [spell.key, "other"])
    assert "Paused" in admin.post(page, {"act": "pause"}, follow=True).text
    for act in ("test", "again"):
        answer = admin.post(page, {"act": act, "message": got.headers["webhook-id"]}, follow=True)
        assert "Its endpoint is disabled" in answer.text
    admin.post(page, {"act": "resume"})
    ended(api_key, spell)
    assert "is deleted" in admin.post(page, {"act": "delete"}, follow=True).text
    assert admin.get(page).status_code == 404
    entries = AuditEntry.objects.filter(actor="ann", action__startswith="callback").order_by("pk")
    assert [entry.action.partition(".")[2] for entry in entries] == [
        *("create", "test", "rotate_secret", "replay", "rotate_secret"),
        *("change", "change", "change", "delete"),
    ]
    assert "whsec_" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"url": ""}, "required"),
        ({"url": "http://127.0.0.1/"}, "https://"),
        ({"url": "https://example.com/", "types": []}, "required"),
        ({"url": "https://example.com/", "types": ["endpoint.test"]}, "valid choice"),
        ({"url": "https://example.com/", "description": "x" * 201}, "200 characters"),
        ({"url": "https://example.com/", "spell_keys": " ".join(f"s{n}" for n in range(101))}, "100 spells"),
        ({"url": "https://user:pw@example.com/"}, "password"),
    ],
)
def test_a_mistake_is_told_beside_its_field_and_nothing_is_made(account, admin, form, why):
    answer = add(admin, account, **form)
    assert (answer.status_code, why in wrongs(answer)) == (200, True), wrongs(answer)
    assert not CallbackEndpoint.objects.exists()


def test_others_endpoints_and_messages_are_not_there(account, admin, inbox):
    add(admin, account, url=inbox.url)
    page = page_of(account)
    admin.post(page, {"act": "test"})
    message = Callback.objects.get().pk
    elsewhere = member(Account.objects.create(name="Else"), "bob", "owner")
    for path in (page, f"/account/{account.pk}/callbacks/", f"/account/{account.pk}/settings/"):
        assert of(elsewhere).get(path).status_code == 404
    foreign = page.replace(f"/account/{account.pk}/", f"/account/{elsewhere.account_id}/")
    assert of(elsewhere).post(foreign, {"act": "delete"}).status_code == 404
    theirs = f"/account/{elsewhere.account_id}/callbacks/"
    assert of(elsewhere).post(theirs, {"act": "again", "message": message}).status_code == 404
    assert message not in of(elsewhere).get(theirs).text


def test_what_gives_data_away_is_confirmed_first(account, admin, inbox, settings):
    add(admin, account, url=inbox.url)
    settings.REAUTHENTICATE_SECONDS = 0
    for act in ("change", "pause", "resume", "rotate", "drop_old", "delete"):
        assert admin.post(page_of(account), {"act": act}).headers["Location"].startswith("/account/confirm/")
    for act in ("add", "show", "rotate"):
        path = f"/account/{account.pk}/{'callbacks' if act == 'add' else 'settings'}/"
        assert admin.post(path, {"act": act}).headers["Location"].startswith("/account/confirm/")
    assert admin.post(page_of(account), {"act": "test"}).headers["Location"].endswith("#log")


def test_pages_ask_as_much_for_much_as_for_little(account, admin, inbox, api_key, spell, django_assert_max_num_queries):
    def asked(path: str) -> int:
        admin.get(path)
        with django_assert_max_num_queries(30) as counted:
            assert admin.get(path).status_code == 200
        return len(counted)

    add(admin, account, url=inbox.url)
    ended(api_key, spell)
    work_off()
    paths = (f"/account/{account.pk}/callbacks/", page_of(account))
    few = [asked(path) for path in paths]
    for _ in range(25):
        ended(api_key, spell)
    work_off()
    assert [asked(path) for path in paths] == few
    older = re.search(r'href="(\?before=msg_\w+)#log"', admin.get(paths[0]).text)
    assert older is not None
    assert admin.get(paths[0] + older[1]).text.count("webhook-id") == 6


def test_owners_set_the_name_and_admins_the_secret(account, admin, django_user_model):
    path, owner = f"/account/{account.pk}/settings/", of(member(account, "cy", "owner"))
    Account.objects.create(name="Taken")
    assert admin.post(path, {"act": "change", "name": "Mine"}).status_code == 403
    for name, why in (("", "required"), ("Taken", "Another account"), ("a\nb", "one line"), ("x" * 101, "100")):
        answer = owner.post(path, {"act": "change", "name": name})
        assert why in wrongs(answer), wrongs(answer)
    owner.post(path, {"act": "change", "name": "Wizards", "require_idempotency_key": "on"})
    account.refresh_from_db()
    assert (account.name, account.require_idempotency_key) == ("Wizards", True)
    entry: Any = AuditEntry.objects.get(action="account.change")
    assert entry.after == {"name": "Wizards", "require_idempotency_key": True}
    first = secret_in(admin.post(path, {"act": "show"}))
    second = secret_in(admin.post(path, {"act": "rotate"}))
    account.refresh_from_db()
    assert account.callback_secrets == [second, first]
    admin.post(path, {"act": "drop_old"})
    account.refresh_from_db()
    assert account.callback_secrets == [second]
    assert "whsec_" not in admin.get(path).text
