"""Operators and credit: they see all of it, and grant some, with a reason, once."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from accounts import budget, credit
from accounts.audit.models import AuditEntry
from accounts.models import Account, Credit
from tests.accounts.test_credit import hold, numbers

pytestmark = pytest.mark.django_db
ADD = "/admin/accounts/credit/add/"


def granted(client, account, cents, note="sorry for the outage", **more):
    """Send the form that grants credit, as it was shown."""
    shown = client.get(f"{ADD}?account={account.pk}").content.decode()
    [number] = re.findall(r'name="number" value="([0-9a-f-]{36})"', shown)
    form = {"account": account.pk, "cents": cents, "note": note, "number": number, **more}
    return client.post(ADD, form), form


def errors(answer):
    assert answer.status_code == 200
    return " ".join(re.findall(r"<li>(.*?)</li>", answer.content.decode().partition("errornote")[2]))


def test_an_operator_grants_credit_with_a_reason_and_once(admin_client, account):
    answer, form = granted(admin_client, account, 500, begin_billing="on")
    assert answer.status_code == 302
    account.refresh_from_db()
    entry = Credit.objects.get()
    assert (entry.kind, entry.cents, entry.note, entry.by) == ("grant", 500, form["note"], "user admin")
    assert entry.source == f"grant:{form['number']}"
    assert (account.billed, numbers(account)[3]) == (True, 500)
    audited = AuditEntry.objects.get(action="admin.credit.add")
    assert (audited.account_id, audited.actor, audited.object_id) == (account.pk, "admin", str(entry.pk))
    assert (audited.after or {}).items() >= {"cents": 500, "note": form["note"]}.items()
    assert "sent twice" in errors(admin_client.post(ADD, form))
    assert granted(admin_client, account, -100)[0].status_code == 302
    assert numbers(account)[0] == 400


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"cents": 0}, "other than 0"),
        ({"cents": 10**13}, "at most 1,000,000,000,000"),
        ({"note": ""}, "required"),
        ({}, "Say that billing is to begin"),
        ({"begin_billing": "on", "number": "x"}, "UUID"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_booked(admin_client, account, form, why):
    answer, _ = granted(admin_client, account, **{"cents": 5, **form})
    assert why in errors(answer)
    account.refresh_from_db()
    assert (Credit.objects.exists(), account.billed) == (False, False)


def test_credit_is_granted_by_who_may_and_who_has_shown_a_password_lately(account, settings):
    person = User.objects.create_user("reader", password="read it to me", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_credit"))
    client = Client()
    client.force_login(person)
    assert client.get("/admin/accounts/credit/").status_code == 200
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"account": account.pk, "cents": 5, "note": "x"}).status_code == 403
    person.user_permissions.add(
        *Permission.objects.filter(codename__in=["add_credit", "view_account", "change_account"])
    )
    assert client.get(ADD).status_code == 200
    settings.REAUTHENTICATE_SECONDS = -1
    assert reverse("account_reauthenticate") in client.get(ADD)["Location"]
    asked = client.post(ADD, {"account": account.pk, "cents": 5, "note": "x"})
    assert reverse("account_reauthenticate") in asked["Location"]
    assert not Credit.objects.exists()


def test_what_is_shown(admin_client, account):
    credit.begin_billing(account)
    credit.book(account.pk, "topup", 1234, "pi_77")
    credit.set_low(account.pk, 50)
    credit.book(account.pk, "dispute", -1300, "du_77")
    free = Account.objects.create(name="Colon")
    page = admin_client.get(f"/admin/accounts/account/{account.pk}/change/").content.decode()
    assert "-0.66 USD" in page
    assert "its owner is told below 0.50 USD" in page
    assert "credit.low" in page
    assert f"{ADD}?account={account.pk}" in page
    assert "not billed" in admin_client.get(f"/admin/accounts/account/{free.pk}/change/").content.decode()
    listed = admin_client.get("/admin/accounts/credit/", {"account__id__exact": account.pk}).content.decode()
    assert "pi_77" in listed
    assert "du_77" in listed
    assert "pi_77" in admin_client.get("/admin/accounts/credit/", {"q": "pi_77"}).content.decode()
    entry = Credit.objects.get(source="du_77")
    one = f"/admin/accounts/credit/{entry.pk}/"
    assert "du_77" in admin_client.get(f"{one}change/").content.decode()
    assert admin_client.post(f"{one}change/", {"cents": 1}).status_code == 403
    assert admin_client.post(f"{one}delete/", {"post": "yes"}).status_code == 403


def test_a_months_counters_are_shown_without_the_credit_which_is_of_no_month(admin_client, account):
    hold(account, 5)
    credit.begin_billing(account)
    listed = admin_client.get("/admin/accounts/budgetperiod/").content.decode()
    assert f"{budget.current(account).month:%Y-%m}" in listed
    assert "1970" not in listed
