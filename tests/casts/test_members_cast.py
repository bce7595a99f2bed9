"""Members cast in the browser, without a key: what holds for them as for keys, and what is their own."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from accounts import budget, keys, principals
from accounts.audit.models import AuditEntry
from accounts.errors import BudgetExceeded, TooManyOpenCasts
from accounts.models import SCOPES, Account, BudgetScope, LedgerEntry, Membership, Role
from casts import acting, casting
from casts.callbacks.delivery import ended
from casts.casting import Accepted, CastOrder, place
from casts.errors import CastNotFinal, CastNotFound, MalformedKey, SpellNotFound
from casts.lifecycle import ending
from casts.lifecycle.idempotency import once_of_form
from casts.models import Callback, CallbackEndpoint, Cast, CastStatus
from core.errors import Forbidden
from core.rationing import RateLimited
from tests.casts.client import Api
from tests.casts.conftest import claim

TOKEN = "5f0c1c9e-3a54-4a2e-9d0e-2f6f1b7f2f10"
Make = Any


@pytest.fixture
def member(account: Account) -> Membership:
    return join(account, "ann", Role.MEMBER)


def join(account: Account, name: str, role: Role) -> Membership:
    return Membership.objects.create(account=account, user=User.objects.create_user(name), role=role)


def order(member: Membership, **given: Any) -> CastOrder:
    return CastOrder.of_member(member, **{"spell_key": "greet", "input": {"name": "Ada"}} | given)


def cast_of(accepted: Accepted) -> Cast:
    return Cast.objects.get(pk=accepted.body["cast_id"])


def end(cast: Cast, reason: str = "test") -> None:
    ending.end(claim(cast), CastStatus.FAILED, reason=reason, message="Ended.", charge=True)


def test_a_member_casts_without_a_key_and_the_account_pays(member: Membership, spell: Any, api: Api) -> None:
    CallbackEndpoint.objects.create(account=member.account, url="https://example.com/")
    cast = cast_of(place(order(member), None))
    assert (cast.placed_by, cast.api_key, cast.account) == (member.user, None, member.account)
    assert api.get(f"/casts/{cast.pk}").json()["status"] == "queued"  # the account's keys read and cancel it
    end(cast)
    found = LedgerEntry.objects.filter(cast_id=cast.pk).order_by("id").values_list("kind", "cents", "api_key_id")
    assert list(found) == [("hold", 5, ""), ("capture", 5, "")]
    assert Callback.objects.get().cast == cast  # an endpoint hears of it, too
    entry = AuditEntry.objects.get(action="cast.create")
    assert (entry.actor_kind, entry.actor, entry.account_id) == ("user", "ann", member.account_id)
    member.user.delete()
    cast.refresh_from_db()
    assert (cast.placed_by, cast.status) == (None, "failed")


def test_every_limit_of_the_account_holds_and_none_of_a_key(
    member: Membership, make_spell: Make, settings: Any
) -> None:
    make_spell()
    key = keys.create(member.account, name="k", scopes=list(SCOPES))[0]
    budget.set_cap(member.account, scope=BudgetScope.KEY, ref=str(key.pk), cap_cents=0)
    place(order(member), None)
    budget.set_cap(member.account, scope=BudgetScope.SPELL, ref="greet", cap_cents=9)
    with pytest.raises(BudgetExceeded, match="this spell"):
        place(order(member), None)
    budget.set_cap(member.account, scope=BudgetScope.SPELL, ref="greet", cap_cents=None)
    budget.set_cap(member.account, cap_cents=9)
    with pytest.raises(BudgetExceeded, match="the account"):
        place(order(member), None)
    budget.set_cap(member.account, cap_cents=None)
    member.account.max_open = 1
    with pytest.raises(TooManyOpenCasts):
        place(order(member), None)
    member.account.max_open, member.account.requests_per_key = None, 1
    place(order(member), None)
    with pytest.raises(RateLimited, match="This member"):
        place(order(member), None)
    member.account.requests_per_key, member.account.requests_per_minute = 0, 1
    place(order(member), None)
    with pytest.raises(RateLimited, match="This account"):
        place(order(member), None)
    assert Cast.objects.count() == 3


def test_a_member_casts_what_the_account_may(member: Membership, make_spell: Make) -> None:
    make_spell("old", active=False)
    make_spell("theirs", account=Account.objects.create(name="Others"))
    make_spell("ours", account=member.account)
    for key in ("old", "theirs", "none"):
        with pytest.raises(SpellNotFound, match="The page Spells"):
            place(order(member, spell_key=key), None)
    place(order(member, spell_key="ours"), None)
    with pytest.raises(Forbidden, match="As a viewer"):
        order(join(member.account, "vic", Role.VIEWER))


def test_a_form_that_is_sent_twice_casts_once(member: Membership, spell: Any) -> None:
    def send(name: str, token: str = TOKEN) -> Accepted:
        given = {"name": name}
        once = once_of_form(member.account, token, route="cast", payload=["greet", given])
        return place(order(member, input=given), once)

    first, second = send("Ada"), send("Ada")
    assert (first.replayed, second.replayed, first.body == second.body) == (False, True, True)
    assert not send("Bob").replayed  # the same page, with another name in it
    assert not send("Ada", TOKEN[::-1]).replayed
    for token in ("", "short", "x" * 65, "ü" * 20, TOKEN + "\n"):
        with pytest.raises(MalformedKey, match="not whole"):
            send("Ada", token)
    assert Cast.objects.count() == 3


def test_a_key_retries_what_a_member_cast_unless_it_is_for_other_spells(
    member: Membership, spell: Any, api: Api
) -> None:
    cast = cast_of(place(order(member, metadata={"a": "b"}), None))
    end(cast)
    other = Api(keys.create(member.account, name="o", scopes=list(SCOPES), spell_keys=["another"])[1])
    assert other.post(f"/casts/{cast.pk}/retry").status_code == 404
    retried = Cast.objects.get(pk=api.post(f"/casts/{cast.pk}/retry").json()["cast_id"])
    assert (retried.retry_of, retried.placed_by, retried.metadata) == (cast, None, {"a": "b"})
    assert retried.api_key is not None


@pytest.mark.parametrize("key_is", ["good", "revoked", "deleted"])
def test_a_member_casts_again_what_a_key_cast_and_who_waits_hears_of_it(
    member: Membership, make_cast: Make, key_is: str
) -> None:
    cast = make_cast(callback_url="https://example.com/")
    who = principals.of_user(member.user, account_id=member.account_id)
    with pytest.raises(CastNotFinal):
        acting.again(who, cast, None)
    end(cast)
    if key_is == "revoked":
        keys.revoke(cast.api_key)
    elif key_is == "deleted":
        cast.api_key.delete()
    cast.refresh_from_db()
    once = once_of_form(cast.account, TOKEN, route=f"again:{cast.pk}", payload={})
    retried = cast_of(acting.again(who, cast, once))
    assert acting.again(who, cast, once_of_form(cast.account, TOKEN, route=f"again:{cast.pk}", payload={})).replayed
    assert (retried.retry_of, retried.placed_by, retried.api_key) == (cast, member.user, None)
    # Where a key that was revoked had results sent may be why it was.
    assert retried.callback_url == ("https://example.com/" if key_is == "good" else "")
    end(retried)
    retried.refresh_from_db()
    twice = cast_of(acting.again(who, retried, None))
    assert twice.callback_url == retried.callback_url
    if key_is == "good":
        assert ended(Cast.objects.get(pk=twice.pk), None)["retry_of"] == str(retried.pk)
        type(cast.api_key).objects.update(scopes=["casts:write"])
        assert ended(Cast.objects.get(pk=twice.pk), None).keys() == {"cast_id", "status", "final"}


def test_who_may_act_on_a_cast(member: Membership, make_cast: Make) -> None:
    cast, account = make_cast(), member.account
    people = {role: member.user if role == Role.MEMBER else join(account, role, role).user for role in Role}
    stranger = join(Account.objects.create(name="Others"), "eve", Role.OWNER).user
    operator = User.objects.create_user("op", is_staff=True)
    operator.user_permissions.add(Permission.objects.get(codename="change_cast"))

    def who(user: User) -> Any:
        return principals.of_user(user, account_id=cast.account_id)

    for act in (acting.cancel, acting.revoke_links, lambda p, c: acting.again(p, c, None)):
        with pytest.raises(Forbidden, match="As a viewer"):
            act(who(people[Role.VIEWER]), cast)
        with pytest.raises(CastNotFound):
            act(who(stranger), cast)
    with pytest.raises(CastNotFound):
        acting.again(who(operator), cast, None)  # casts for no account
    assert not AuditEntry.objects.exists()
    acting.revoke_links(who(operator), cast)
    assert acting.cancel(who(people[Role.MEMBER]), cast).status_reason == "cancelled_by_caller"
    assert acting.cancel(who(operator), make_cast()).status_reason == "cancelled_by_operator"
    again = cast_of(acting.again(who(people[Role.ADMIN]), Cast.objects.get(pk=cast.pk), None))
    assert again.placed_by == people[Role.ADMIN]
    logged = list(AuditEntry.objects.order_by("id").values_list("actor", "action", "account_id"))
    assert logged == [
        ("op", "cast.revoke_links", account.pk),
        ("ann", "cast.cancel", account.pk),
        ("op", "cast.cancel", account.pk),
        ("admin", "cast.retry", account.pk),
    ]


def test_an_operator_casts_again_what_a_member_cast_while_it_is_one(member: Membership, spell: Any) -> None:
    cast = cast_of(place(order(member), None))
    end(cast, "internal_error")
    for change in ({"role": Role.VIEWER}, {"role": Role.MEMBER}):
        Membership.objects.filter(pk=member.pk).update(**change)
        assert casting.cast_again(cast.pk, by="op") is (change["role"] == Role.MEMBER)
    assert Cast.objects.get(retry_of=cast).placed_by == member.user
    assert casting.cast_again(cast.pk, by="op") is False
