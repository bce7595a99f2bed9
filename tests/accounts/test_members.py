"""Members: roles, removing and leaving, and that an account is never left without an owner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts import keys, principals
from accounts.audit.models import AuditEntry
from accounts.members import changes
from accounts.members.errors import LastOwner, MemberNotFound
from accounts.models import Account, ApiKey, Membership, Role
from accounts.principals import Principal
from core.errors import Forbidden
from tests.accounts.people import browser
from tests.together import together


def member(account: Account, name: str, role: str, **fields: Any) -> Membership:
    user = User.objects.create_user(name, password="x", **fields)
    return Membership.objects.create(account=account, user=user, role=role)


def who(row: Membership) -> Principal:
    return principals.of_user(row.user, account_id=row.account_id)


def of(row: Membership) -> Client:
    client = browser()
    client.force_login(row.user)
    return client


@pytest.fixture
def people(account: Account) -> dict[str, Membership]:
    return {role: member(account, role, role) for role in Role.values} | {"other": member(account, "other", "owner")}


@pytest.mark.parametrize(
    ("by", "on", "role", "error"),
    [
        ("owner", "viewer", "owner", None),
        ("owner", "owner", "viewer", None),  # another one is left
        ("owner", "other", "member", None),
        ("admin", "viewer", "member", Forbidden),
        ("admin", "admin", "owner", Forbidden),
        ("member", "member", "owner", Forbidden),
        ("viewer", "owner", "viewer", Forbidden),
        ("owner", "stranger", "viewer", MemberNotFound),
    ],
)
def test_owners_say_who_may_what(account, people, by, on, role, error):
    people["stranger"] = member(Account.objects.create(name="Else"), "stranger", "member")
    before = AuditEntry.objects.count()
    if error:
        with pytest.raises(error):
            changes.change_role(who(people[by]), account.pk, people[on].user_id, Role(role))
        assert AuditEntry.objects.count() == before
        return
    changes.change_role(who(people[by]), account.pk, people[on].user_id, Role(role))
    assert Membership.objects.get(pk=people[on].pk).role == role
    entry: Any = AuditEntry.objects.first()
    assert (entry.action, entry.actor, entry.account_id) == ("member.change_role", by, account.pk)
    assert (entry.before["user"], entry.after) == (on, {"role": role})


ENDS: dict[str, Any] = {"leave": changes.remove, "demote": partial(changes.change_role, role=Role.VIEWER)}


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("other", ["none", "closed"])
def test_the_last_owner_who_can_log_in_stays(account, act, other):
    last, admin = member(account, "last", "owner"), member(account, "admin", "admin")
    if other == "closed":
        member(account, "gone", "owner", is_active=False)
    with pytest.raises(LastOwner):
        ENDS[act](who(last), account.pk, last.user_id)
    with pytest.raises(Forbidden):
        changes.remove(who(admin), account.pk, last.user_id)
    assert Membership.objects.get(pk=last.pk).role == "owner"
    changes.remove(who(admin), account.pk, admin.user_id)  # anybody may go himself
    assert AuditEntry.objects.filter(action="member.leave").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_leave_at_once_one_stays(account):
    both = [member(account, name, "owner") for name in ("ann", "bob")]

    def leaving(row: Membership) -> Callable[[], object]:
        return lambda: changes.remove(who(row), account.pk, row.user_id)

    assert sorted(type(end).__name__ for end in together([leaving(row) for row in both])) == ["LastOwner", "tuple"]
    assert Membership.objects.filter(account=account, role="owner").count() == 1


def test_keys_that_somebody_made_are_shown_and_revoked_with_all_below_them_if_it_is_wanted(account, people):
    admin, owner = people["admin"], of(people["owner"])
    made, _ = keys.create(account, name="theirs", scopes=["keys"], by=who(admin))
    below, _ = keys.create_below(made, name="below", scopes=["keys"])
    mine, _ = keys.create(account, name="mine", scopes=["keys"], by=who(people["owner"]))
    path = f"/account/{account.pk}/members/{admin.user_id}/"
    page = owner.get(path).text
    assert ("theirs" in page, "below" in page, "mine" in page) == (True, True, False)
    answer = owner.post(path, {"act": "remove", "revoke_keys": "on"}, follow=True)
    assert "admin is not a member any more. 2 keys revoked." in answer.text
    valid = ApiKey.objects.filter(revoked_at=None).values_list("name", flat=True)
    assert set(valid) == {"mine"}
    assert {mine.pk, below.pk} == set(ApiKey.objects.exclude(pk=made.pk).values_list("pk", flat=True))
    actions = list(AuditEntry.objects.filter(account_id=account.pk).values_list("action", flat=True)[:2])
    assert actions == ["key.revoke", "member.remove"]
    kept = member(account, "next", "admin")
    keys.create(account, name="kept", scopes=["keys"], by=who(kept))
    owner.post(f"/account/{account.pk}/members/{kept.user_id}/", {"act": "remove"})
    assert ApiKey.objects.get(name="kept").usable


def test_who_sees_whom(account, people):
    User.objects.filter(username="viewer").update(email="viewer@example.com", first_name="<b>x</b>")
    for by, row in people.items():
        page = of(row).get(f"/account/{account.pk}/members/").text
        owner = row.role == "owner"
        assert ("viewer@example.com" in page, "Invite somebody" in page) == (owner, owner), by
        one = of(row).get(f"/account/{account.pk}/members/{people['viewer'].user_id}/").status_code
        assert one == (200 if owner or by == "viewer" else 403)
    stranger = member(Account.objects.create(name="Else"), "stranger", "owner")
    assert of(stranger).get(f"/account/{account.pk}/members/").status_code == 404


def test_a_change_by_form_is_confirmed_and_needs_the_sites_own_form(account, people, settings):
    owner, path = of(people["owner"]), f"/account/{account.pk}/members/{people['viewer'].user_id}/"
    assert owner.post(path, {"act": "role", "role": "emperor"}).status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["owner"].user)
    assert strict.post(path, {"act": "remove"}).status_code == 403
    settings.REAUTHENTICATE_SECONDS = 0
    assert owner.post(path, {"act": "remove"}).headers["Location"].startswith("/account/confirm/")
    assert Membership.objects.filter(pk=people["viewer"].pk).exists()


def test_the_page_asks_as_much_for_many_members_as_for_few(account, people, django_assert_max_num_queries):
    owner = of(people["owner"])
    owner.get(f"/account/{account.pk}/members/")

    def asked() -> int:
        with django_assert_max_num_queries(30) as counted:
            assert owner.get(f"/account/{account.pk}/members/").status_code == 200
        return len(counted)

    few = asked()
    for number in range(20):
        member(account, f"m{number}", "member")
    assert asked() == few
