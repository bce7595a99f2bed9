"""`manage.py createapikey`."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import keys
from accounts.models import Account, ApiKey, usual_scopes


def createapikey(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command("createapikey", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.django_db
def test_it_makes_the_account_and_prints_the_secret_alone_on_stdout():
    out, err = createapikey("Ankh", "--cap-cents", "500")
    secret = out.removesuffix("\n")
    key = keys.authenticate(secret)
    assert (key.account.name, key.account.monthly_cap_cents, key.name) == ("Ankh", 500, "command line")
    assert (key.scopes, key.spell_keys, key.expires_at) == (usual_scopes(), None, None)
    assert "this once" in err
    assert secret not in err


@pytest.mark.django_db
def test_a_second_key_goes_to_the_same_account_and_leaves_its_cap():
    createapikey("Ankh", "--cap-cents", "500")
    createapikey("Ankh")
    assert Account.objects.get().api_keys.count() == 2
    assert Account.objects.get().monthly_cap_cents == 500


@pytest.mark.django_db
def test_it_narrows_the_key_as_told():
    out, _ = createapikey(
        "A", "--scopes", "casts:read,spells:read", "--spells", "greet,report", "--days", "3", "--name", "ci"
    )
    key = keys.authenticate(out.strip())
    assert (key.name, key.scopes, key.spell_keys) == ("ci", ["casts:read", "spells:read"], ["greet", "report"])
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - dt.timedelta(days=3)) < dt.timedelta(minutes=1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Ankh", "--scopes", "everything"], "casts:write"),
        (["Ankh", "--scopes", "casts:read,"], "casts:write"),
        (["Ankh", "--scopes", ""], "casts:write"),
        (["Ankh", "--spells", ""], "spell keys"),
        (["Ankh", "--spells", "greet,"], "spell keys"),
        (["Ankh", "--days", "0"], "--days"),
        (["Ankh", "--days", "-3"], "--days"),
        (["Ankh", "--days", "1000000000"], "--days"),
        (["Ankh", "--days", "soon"], "--days"),
        (["Ankh", "--cap-cents", "-1"], "0"),
        (["Ankh", "--cap-cents", "1.50"], "--cap-cents"),
        (["A" * 101], "100"),
        ([""], "blank"),
        (["Ankh", "--name", "n" * 101], "100"),
        ([], "account"),
    ],
)
def test_bad_arguments_make_neither_key_nor_account(arguments, says):
    with pytest.raises(CommandError, match=says):
        createapikey(*arguments)
    assert not Account.objects.exists()
    assert not ApiKey.objects.exists()
