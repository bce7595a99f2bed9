"""A key is replaced by one with the same rights, and works on for a while."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from accounts import budget, key_acts, keys, principals
from accounts.audit.models import AuditEntry
from accounts.errors import KeyMadeBefore, KeyNotRotated, TooManyKeys
from accounts.models import SCOPES, Account, ApiKey, BudgetScope, Membership, Role
from accounts.principals import Principal
from core.errors import Forbidden, Unauthorized
from tests.casts.client import Api, problem
from tests.together import together

DAY = dt.timedelta(days=1)


@pytest.fixture
def owner(account: Account) -> Membership:
    user = User.objects.create_user("ann", password="x")
    return Membership.objects.create(account=account, user=user, role=Role.OWNER)


@pytest.fixture
def who(owner: Membership) -> Principal:
    return principals.of_user(owner.user, account_id=owner.account_id)


def test_both_work_until_the_old_one_expires(account: Account, who: Principal, monkeypatch: Any):
    old, old_secret = keys.create(account, name="site", scopes=["casts:read", "budget:read"], spell_keys=["greet"])
    budget.set_cap(account, cap_cents=700, scope=BudgetScope.KEY, ref=str(old.pk))
    new, secret = key_acts.rotate(who, old, overlap=DAY)
    assert (new.name, new.scopes, new.spell_keys, new.expires_at) == (old.name, old.scopes, old.spell_keys, None)
    assert budget.cap_of(account, scope=BudgetScope.KEY, ref=str(new.pk)) == 700
    for one in (old_secret, secret):
        assert Api(one).get("/budget").status_code == 200
    later = timezone.now() + DAY
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert keys.authenticate(secret).pk == new.pk
    with pytest.raises(Unauthorized, match="has expired"):
        keys.authenticate(old_secret)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", "object_id"))
    assert actions == [("key.rotate", str(old.pk))]


def test_without_an_overlap_the_old_one_ends_at_once_and_never_later_than_before(account: Account, who: Principal):
    old, secret = keys.create(account, name="leaked")
    key_acts.rotate(who, old, overlap=dt.timedelta())
    problem(Api(secret).get("/budget"), 401, "UNAUTHORIZED")
    soon = timezone.now() + dt.timedelta(minutes=5)
    old, _ = keys.create(account, name="short", expires_at=soon)
    new, _ = key_acts.rotate(who, old, overlap=DAY)
    old.refresh_from_db()
    assert (old.expires_at, new.expires_at) == (soon, soon)


def test_over_the_api_a_key_rotates_itself_and_no_more_than_it_is(account: Account):
    old, secret = keys.create(account, name="robot", scopes=["keys", "casts:read"])
    made = Api(secret).post(f"/keys/{old.pk}/rotate", {"overlap_seconds": 60})
    assert made.status_code == 201
    assert made.json()["scopes"] == ["keys", "casts:read"]
    assert made.json()["created_by"]["key_id"] == old.pk  # so revoking it and its descendants ends both
    assert Api(made.json()["secret"]).get("/keys").json()["results"][1]["replaced_by"] == made.json()["id"]
    problem(Api(secret).post(f"/keys/{old.pk}/rotate", {}), 409, "KEY_NOT_ROTATED")
    strong, _ = keys.create(account, name="strong", scopes=list(SCOPES))
    problem(Api(made.json()["secret"]).post(f"/keys/{strong.pk}/rotate", {}), 403, "FORBIDDEN")
    strong.refresh_from_db()
    assert (strong.replaced_by_id, strong.expires_at) == (None, None)
    theirs, _ = keys.create(Account.objects.create(name="Other"), name="theirs")
    problem(Api(secret).post(f"/keys/{theirs.pk}/rotate", {}), 404, "KEY_NOT_FOUND")
    for wrong in ({"overlap_seconds": -1}, {"overlap_seconds": 604_801}, {"overlap": 5}, {"overlap_seconds": "60"}):
        problem(Api(secret).post(f"/keys/{strong.pk}/rotate", wrong), 422, "VALIDATION_ERROR")


def test_a_key_for_some_spells_rotates_none_for_all(account: Account):
    all_spells, _ = keys.create(account, name="all", scopes=["keys"])
    _, secret = keys.create(account, name="some", scopes=["keys"], spell_keys=["greet"])
    problem(Api(secret).post(f"/keys/{all_spells.pk}/rotate", {"overlap_seconds": 0}), 403, "FORBIDDEN")
    all_spells.refresh_from_db()
    assert (all_spells.replaced_by_id, all_spells.expires_at) == (None, None)


def test_a_capped_key_gets_round_its_cap_by_no_other_key(account: Account, who: Principal):
    capped, secret = keys.create(account, name="capped", scopes=["keys", "casts:write"])
    budget.set_cap(account, cap_cents=3, scope=BudgetScope.KEY, ref=str(capped.pk))
    for path, body in (("/keys", {"name": "child"}), (f"/keys/{capped.pk}/rotate", {})):
        told = problem(Api(secret).post(path, body), 403, "FORBIDDEN")
        assert "a cap of its own" in told["detail"]
    assert list(ApiKey.objects.filter(account=account)) == [capped]
    new, _ = key_acts.rotate(who, capped, overlap=DAY)  # an owner does
    assert budget.cap_of(account, scope=BudgetScope.KEY, ref=str(new.pk)) == 3


def test_what_has_ended_is_not_rotated(account: Account, who: Principal):
    revoked, _ = keys.create(account, name="revoked")
    keys.revoke(revoked)
    expired, _ = keys.create(account, name="expired", expires_at=timezone.now() - DAY)
    for key in (revoked, expired):
        with pytest.raises(KeyNotRotated):
            key_acts.rotate(who, key, overlap=DAY)
    assert ApiKey.objects.count() == 2


def test_a_role_gives_away_only_what_it_has(account: Account, owner: Membership, who: Principal, monkeypatch: Any):
    monkeypatch.setitem(key_acts.MAY_GIVE, Role.OWNER, frozenset({"casts:read"}))
    asked: dict[str, Any] = {"form": _form(1), "name": "x", "spell_keys": None, "expires_at": None}
    with pytest.raises(Forbidden, match="billing"):
        key_acts.make(owner, scopes=["casts:read", "billing"], **asked)
    strong, _ = keys.create(account, name="strong", scopes=list(SCOPES))
    with pytest.raises(Forbidden):
        key_acts.rotate(who, strong, overlap=DAY)
    assert ApiKey.objects.count() == 1
    key_acts.make(owner, scopes=["casts:read"], **asked)
    with pytest.raises(KeyMadeBefore):
        key_acts.make(owner, scopes=["casts:read"], **asked)
    monkeypatch.setattr("core.limits.KEYS", 2)
    with pytest.raises(TooManyKeys):
        key_acts.make(owner, scopes=["casts:read"], **asked | {"form": _form(2)})


def _form(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


@pytest.mark.django_db(transaction=True)
def test_of_two_rotations_at_once_one_is_done(account: Account, who: Principal):
    old, _ = keys.create(account, name="site")

    def rotate() -> object:
        return key_acts.rotate(who, ApiKey.objects.get(pk=old.pk), overlap=DAY)

    found = together([rotate, rotate])
    assert sorted(type(one).__name__ for one in found) == ["KeyNotRotated", "tuple"]
    [new] = ApiKey.objects.exclude(pk=old.pk)
    old.refresh_from_db()
    assert old.replaced_by_id == new.pk
    assert AuditEntry.objects.filter(action="key.rotate").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_revoked_and_rotated_at_once_is_revoked_either_way(account: Account, who: Principal):
    for _ in range(3):
        old, _ = keys.create(account, name="site", scopes=["keys"])
        by = principals.of_key(old)
        rotated, revoked = together(
            [
                partial(key_acts.rotate, by, ApiKey.objects.get(pk=old.pk), overlap=DAY),
                partial(key_acts.revoke, who, old, descendants=True),
            ]
        )
        assert isinstance(revoked, list), revoked
        assert isinstance(rotated, tuple | KeyNotRotated | Unauthorized), rotated
        assert not [key for key in ApiKey.objects.all() if key.usable]


@pytest.mark.django_db(transaction=True)
def test_as_many_who_make_keys_at_once_pass_no_bound(account: Account, owner: Membership, monkeypatch: Any):
    monkeypatch.setattr("core.limits.KEYS", 2)
    keys.create(account, name="first")

    def making(number: int) -> Callable[[], object]:
        asked: dict[str, Any] = {"form": _form(number), "spell_keys": None, "expires_at": None}
        return lambda: key_acts.make(owner, name=f"key {number}", scopes=["casts:read"], **asked)

    found = together([making(number) for number in range(6)])
    assert sorted(type(one).__name__ for one in found) == ["TooManyKeys"] * 5 + ["tuple"]
    assert ApiKey.objects.count() == 2
