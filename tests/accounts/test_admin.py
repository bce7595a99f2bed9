"""The operator's console: accounts, keys, money."""

import datetime as dt
import re
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from accounts import budget, keys
from accounts.admin import AccountAdmin
from accounts.errors import BudgetExceeded
from accounts.models import SCOPES, Account, ApiKey, BudgetPeriod, LedgerEntry, Membership, Session, month_of
from core.errors import Unauthorized
from core.ids import uuid7
from tests.console import HOSTILE, ended_cast, listed, page, queries, refuses_changes, shown

KEYS = "/admin/accounts/apikey/"
A_KEY = re.compile(r"sk_live_spl_[0-9A-Za-z]{36}")


def test_the_admin_sends_others_to_the_login(client, account, django_user_model):
    client.force_login(django_user_model.objects.create_user("visitor"))
    for path in ("/admin/", "/admin/accounts/account/", f"/admin/accounts/account/{account.pk}/change/", KEYS):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/login/?next={path}")


def test_staff_without_the_permission_is_refused(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("clerk", is_staff=True))
    for name in ("account", "apikey", "budgetperiod", "ledgerentry"):
        assert client.get(f"/admin/accounts/{name}/").status_code == 403


# --- accounts --------------------------------------------------------------------------------------------------------


def test_an_account_shows_this_months_money(admin_client, account):
    budget.hold(account, cast_id=uuid7(), cents=300)
    spent = uuid7()
    budget.hold(account, cast_id=spent, cents=1200)
    budget.settle(spent, capture_cents=None)
    BudgetPeriod.objects.create(account=account, month=dt.date(2020, 1, 1), cap_cents=1, captured_cents=777)
    Account.objects.create(name="No cap")
    listing = shown(page(admin_client, "/admin/accounts/account/"))
    assert "Unseen University 100.00 USD 3.00 USD 12.00 USD 85.00 USD" in listing
    assert "No cap no cap 0.00 USD 0.00 USD no cap" in listing
    assert "777" not in listing
    detail = page(admin_client, f"/admin/accounts/account/{account.pk}/change/")
    assert "85.00 USD" in detail
    for link in re.findall(r'href="(/admin/[^"]+__exact=\d+)"', detail):
        page(admin_client, link)


def test_accounts_are_found_by_name_and_member(admin_client, admin_user, account):
    Account.objects.create(name="Other")
    Membership.objects.create(account=account, user=admin_user)
    assert listed(admin_client, "/admin/accounts/account/", q="unseen") == 1
    assert listed(admin_client, "/admin/accounts/account/", q=admin_user.username) == 1
    assert listed(admin_client, "/admin/accounts/account/", q="nobody") == 0


def members(*users, initial=0):
    total = {"membership_set-TOTAL_FORMS": str(len(users)), "membership_set-INITIAL_FORMS": str(initial)}
    total |= {"caps-TOTAL_FORMS": "0", "caps-INITIAL_FORMS": "0"}
    total |= {"retention_rules-TOTAL_FORMS": "0", "retention_rules-INITIAL_FORMS": "0"}
    for i, user in enumerate(users):
        total |= {f"membership_set-{i}-user": str(user.pk), f"membership_set-{i}-role": "owner"}
    return total


def test_an_account_is_made_with_its_members(admin_client, admin_user):
    page(admin_client, "/admin/accounts/account/add/")
    posted = {"name": "New", "monthly_cap_cents": "500", **members(admin_user)}
    assert admin_client.post("/admin/accounts/account/add/", posted).status_code == 302
    made = Account.objects.get(name="New")
    assert (made.monthly_cap_cents, list(made.members.all())) == (500, [admin_user])
    assert Membership.objects.get().role == "owner"


def test_a_new_cap_counts_for_the_month_that_has_begun(admin_client, account):
    account.monthly_cap_cents = 10
    account.save()
    with pytest.raises(BudgetExceeded):
        budget.hold(account, cast_id=uuid7(), cents=100)
    old = BudgetPeriod.objects.create(account=account, month=dt.date(2020, 1, 1), cap_cents=10)
    posted = {"name": account.name, "monthly_cap_cents": "100", **members()}
    admin_client.post(f"/admin/accounts/account/{account.pk}/change/", posted, follow=True)
    account.refresh_from_db()
    budget.hold(account, cast_id=uuid7(), cents=100)
    old.refresh_from_db()
    assert old.cap_cents == 10


def test_renaming_an_account_leaves_a_cap_that_was_set_meanwhile(admin_client, account, monkeypatch):
    read = AccountAdmin.get_object

    def read_then_capped(*args: Any) -> Any:
        found = read(*args)
        budget.set_cap(account, cap_cents=5)
        return found

    monkeypatch.setattr(AccountAdmin, "get_object", read_then_capped)
    posted = {"name": "Renamed", "monthly_cap_cents": str(account.monthly_cap_cents), **members()}
    admin_client.post(f"/admin/accounts/account/{account.pk}/change/", posted, follow=True)
    account.refresh_from_db()
    assert (account.name, account.monthly_cap_cents, budget.current(account).cap_cents) == ("Renamed", 5, 5)


def test_an_account_that_ever_paid_stays(admin_client, account, api_key, spell):
    ended_cast(api_key, spell)
    path = f"/admin/accounts/account/{account.pk}/delete/"
    assert admin_client.get(path).status_code == admin_client.post(path, {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [str(account.pk)], "post": "yes"}
    admin_client.post("/admin/accounts/account/", selected)
    assert Account.objects.get() == account


def test_an_account_that_never_paid_can_go(admin_client, account, api_key):
    assert "tests" in page(admin_client, f"/admin/accounts/account/{account.pk}/delete/")
    admin_client.post(f"/admin/accounts/account/{account.pk}/delete/", {"post": "yes"})
    assert not Account.objects.exists()


# --- keys ------------------------------------------------------------------------------------------------------------


def new_key(owner, **changes):
    return {"account": str(owner.pk), "name": "CI", "scopes": ["casts:write"], "spell_keys": ""} | changes


def test_making_a_key_shows_its_secret_exactly_once(admin_client, account, caplog):
    form = page(admin_client, f"{KEYS}add/")
    assert form.count('type="checkbox" name="scopes"') == len(SCOPES)
    caplog.set_level("DEBUG")
    answer = admin_client.post(f"{KEYS}add/", new_key(account, spell_keys="greet,\ncount-words other"))
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    [secret] = A_KEY.findall(answer.content.decode())
    key = keys.authenticate(secret)
    assert (key.account, key.name, key.scopes) == (account, "CI", ["casts:write"])
    assert (key.spell_keys, key.expires_at) == (["greet", "count-words", "other"], None)

    # Nowhere else: not on later pages, not in the log of changes, sessions, cookies, other columns or log lines.
    later = ["/admin/", KEYS, f"{KEYS}add/", f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/"]
    places = [page(admin_client, path) for path in later]
    places += [str(row) for model in (LogEntry, ApiKey) for row in model.objects.values()]
    places += [str(session.get_decoded()) for session in Session.objects.all()]
    places += [answer.cookies.output(), SimpleCookie(admin_client.cookies).output(), caplog.text]
    assert secret[20:] not in "\n".join(places)
    assert secret[:20] in places[1]


def test_a_key_may_have_every_spell_and_an_end(admin_client, account):
    tomorrow = timezone.now().replace(microsecond=0) + dt.timedelta(days=1)
    when = {"expires_at_0": f"{tomorrow:%Y-%m-%d}", "expires_at_1": f"{tomorrow:%H:%M:%S}"}
    answer = admin_client.post(f"{KEYS}add/", new_key(account, scopes=["casts:read", "keys"], **when))
    key = keys.authenticate(A_KEY.findall(answer.content.decode())[0])
    assert (key.scopes, key.spell_keys, key.expires_at) == (["casts:read", "keys"], None, tomorrow)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scopes": []}, "This field is required."),
        ({"scopes": ["root"]}, "Select a valid choice. root is not one of the available choices."),
        ({"name": ""}, "This field is required."),
        ({"account": ""}, "This field is required."),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "That is over already."),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(admin_client, account, changes, complaint):
    answer = admin_client.post(f"{KEYS}add/", new_key(account, **changes))
    assert complaint in shown(answer.content.decode())
    assert not A_KEY.search(answer.content.decode())
    assert not ApiKey.objects.exists()


def test_only_a_keys_name_can_be_changed(admin_client, account, api_key):
    other = Account.objects.create(name="Other")
    posted = new_key(other, name="Renamed", prefix="x", digest="x", revoked_at_0="2020-01-01", revoked_at_1="00:00")
    before = ApiKey.objects.values().get()
    form = page(admin_client, f"{KEYS}{api_key.pk}/change/")
    assert 'name="name"' in form
    assert 'name="scopes"' not in form
    assert admin_client.post(f"{KEYS}{api_key.pk}/change/", posted).status_code == 302
    assert ApiKey.objects.values().get() == before | {"name": "Renamed"}


def test_selected_keys_are_revoked(admin_client, account, key_and_secret):
    key, secret = key_and_secret
    other, other_secret = keys.create(account, name="other")
    gone, _ = keys.create(account, name="gone")
    keys.revoke(gone)
    posted = {"action": "revoke", "_selected_action": [str(key.pk), str(gone.pk)]}
    answer = admin_client.post(KEYS, posted, follow=True)
    assert "Revoked 1 key(s). 1 had been revoked before." in shown(answer.content.decode())
    with pytest.raises(Unauthorized, match="revoked"):
        keys.authenticate(secret)
    assert keys.authenticate(other_secret) == other
    assert [e.object_id for e in LogEntry.objects.filter(change_message="Revoked.")] == [str(key.pk)]


def test_revoking_a_key_offers_those_that_were_made_with_it(admin_client, account):
    def family(name):
        first, _ = keys.create(account, name=f"{name} first", scopes=["keys"])
        second, _ = keys.create_below(first, name=f"{name} second")
        third, _ = keys.create_below(second, name=f"{name} third")
        return first, second, third

    def valid():
        return {key.name for key in account.api_keys.all() if key.usable}

    for name, more, left in (
        ("asked", None, {"asked first", "asked second", "asked third"}),
        ("alone", {"asked": "yes"}, {"alone second", "alone third"}),
        ("all", {"asked": "yes", "descendants": "on"}, set()),
    ):
        first, _, third = family(name)
        answer = admin_client.post(KEYS, {"action": "revoke", "_selected_action": [str(first.pk)]} | (more or {}))
        assert valid() == left
        if more is None:
            text = shown(answer.content.decode())
            assert f"{third} of Unseen University, made by asked second" in text
            assert 'name="descendants" checked' in answer.content.decode()
            assert not LogEntry.objects.exists()
        else:
            assert LogEntry.objects.filter(change_message="Revoked.").count() == 3 - len(left)
        LogEntry.objects.all().delete()
        ApiKey.objects.update(revoked_at=timezone.now())
    # Who chose all of them is not asked.
    chosen = [str(key.pk) for key in family("chosen")]
    answer = admin_client.post(KEYS, {"action": "revoke", "_selected_action": chosen}, follow=True)
    assert "Revoked 3 key(s)." in shown(answer.content.decode())


def test_a_keys_page_shows_who_made_it_and_what_it_made(admin_client, admin_user, account):
    admin_client.post(f"{KEYS}add/", new_key(account, name="made here", scopes=["keys"]))
    key = ApiKey.objects.get()
    assert (key.created_by_user, key.created_by_key) == (admin_user, None)
    child, _ = keys.create_below(key, name="its child")
    text = page(admin_client, f"{KEYS}{key.pk}/change/")
    assert admin_user.get_username() in shown(text)
    assert f"{KEYS}{child.pk}/change/" in text
    assert f"{KEYS}{key.pk}/change/" in page(admin_client, f"{KEYS}{child.pk}/change/")


def test_who_may_only_look_at_keys_can_not_revoke_them(client, django_user_model, api_key):
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(viewer)
    page(client, f"{KEYS}{api_key.pk}/change/")
    assert "Revoke selected" not in page(client, KEYS)
    client.post(KEYS, {"action": "revoke", "_selected_action": [str(api_key.pk)]})
    api_key.refresh_from_db()
    assert api_key.revoked_at is None
    assert client.get(f"{KEYS}add/").status_code == 403


def test_a_used_key_can_not_be_deleted(admin_client, account, key_and_secret):
    key, secret = key_and_secret
    keys.authenticate(secret)
    unused, _ = keys.create(account, name="unused")
    assert "deletelink" not in page(admin_client, f"{KEYS}{key.pk}/change/")
    assert admin_client.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    both = {"action": "delete_selected", "_selected_action": [str(key.pk), str(unused.pk)], "post": "yes"}
    admin_client.post(KEYS, both)
    assert ApiKey.objects.count() == 2
    assert admin_client.post(f"{KEYS}{unused.pk}/delete/", {"post": "yes"}).status_code == 302
    assert ApiKey.objects.get() == key
    admin_client.post(f"/admin/accounts/account/{account.pk}/delete/", {"post": "yes"})
    assert ApiKey.objects.get() == key


def test_keys_are_filtered_by_state_and_found(admin_client, account):
    expired, _ = keys.create(account, name="expired one")
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - dt.timedelta(days=1))
    revoked, _ = keys.create(account, name="revoked one")
    keys.revoke(revoked)
    active, _ = keys.create(account, name="active one", spell_keys=["greet"])
    for state in ("active", "expired", "revoked"):
        text = page(admin_client, KEYS, state=state)
        assert [name for name in ("active", "expired", "revoked") if f"{name} one" in text] == [state]
    for term, found in ((active.prefix, 1), ("expired", 1), ("unseen", 3), ("nothing", 0)):
        assert listed(admin_client, KEYS, q=term) == found
    assert listed(admin_client, KEYS, last_used_at__isnull="True") == 3


# --- money -----------------------------------------------------------------------------------------------------------


def test_money_is_read_only_and_found(admin_client, account, api_key, spell):
    cast = ended_cast(api_key, spell)
    entry, period = LedgerEntry.objects.get(kind="capture"), BudgetPeriod.objects.get()
    refuses_changes(admin_client, "accounts.ledgerentry", entry.pk)
    refuses_changes(admin_client, "accounts.budgetperiod", period.pk)
    assert (LedgerEntry.objects.count(), BudgetPeriod.objects.count()) == (2, 1)
    ledger = "/admin/accounts/ledgerentry/"
    for query, found in (
        ({}, 2),
        ({"q": str(cast.pk)}, 2),
        ({"q": str(uuid7())}, 0),
        ({"q": "unseen"}, 2),
        ({"kind__exact": "hold"}, 1),
        ({"period__id__exact": period.pk}, 2),
        ({"period__account__id__exact": account.pk}, 2),
        ({"period__account__id__exact": account.pk + 1}, 0),
    ):
        assert listed(admin_client, ledger, **query) == found, query
    assert f"/admin/casts/cast/{cast.pk}/change/" in page(admin_client, ledger)
    text = shown(page(admin_client, "/admin/accounts/budgetperiod/", q="unseen"))
    assert f"Unseen University {month_of(timezone.now()):%Y-%m} 100.00 USD 0.00 USD 0.05 USD 99.95 USD" in text
    assert listed(admin_client, "/admin/accounts/budgetperiod/", month=period.month.isoformat()) == 1


def test_names_are_shown_as_text(admin_client):
    account = Account.objects.create(name=HOSTILE)
    key, _ = keys.create(account, name=HOSTILE, spell_keys=[HOSTILE])
    budget.hold(account, cast_id=uuid7(), cents=1)
    for path in (
        *("/admin/accounts/account/", f"/admin/accounts/account/{account.pk}/change/", KEYS, f"{KEYS}{key.pk}/change/"),
        *("/admin/accounts/ledgerentry/", "/admin/accounts/budgetperiod/"),
    ):
        assert HOSTILE in shown(page(admin_client, path)) or HOSTILE in page(admin_client, path).replace("&lt;", "<")
    answer = admin_client.post(f"{KEYS}add/", new_key(account, name=HOSTILE))
    assert "<script>alert" not in answer.content.decode()


@pytest.mark.parametrize("name", ["account", "apikey", "budgetperiod", "ledgerentry"])
def test_lists_need_as_many_queries_for_many_rows(admin_client, name):
    def fill(count):
        for _ in range(count):
            account = Account.objects.create(name=str(uuid7()), monthly_cap_cents=5)
            keys.create(account, name="x")
            budget.hold(account, cast_id=uuid7(), cents=1)

    fill(3)
    few = queries(admin_client, f"/admin/accounts/{name}/")
    fill(27)
    assert queries(admin_client, f"/admin/accounts/{name}/") == few < 12
