"""The secrets that sign callbacks lie encrypted in the database; keys are changed, and one may be lost."""

from __future__ import annotations

import base64
import io

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Account
from casts.callbacks import endpoints
from casts.models import CallbackEndpoint
from core.sealing import SecretsUnreadable, is_key, seal, unseal
from tests.casts.client import problem

OLD, NEW = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture
def endpoint(account):
    return endpoints.add_endpoint(account, url="https://example.com/", types=["cast.failed"])


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed_callback_secrets FROM accounts_account")
        found = cursor.fetchall()
        cursor.execute("SELECT sealed_secrets FROM casts_callbackendpoint")
        return str(found + cursor.fetchall())


def reencrypt():
    call_command("reencrypt", stdout=(out := io.StringIO()))
    return out.getvalue()


def test_no_secret_lies_in_the_database_as_it_is(account, endpoint):
    [ours], [its] = endpoints.secrets_of(account), endpoint.secrets
    assert ours.startswith("whsec_")
    assert "whsec" not in stored()
    assert not any(secret.removeprefix("whsec_") in stored() for secret in (ours, its))
    assert endpoints.secrets_of(account) == [ours]


def test_a_key_is_changed_without_losing_what_it_sealed(settings, account, endpoint):
    secret, its = endpoints.secrets_of(account), endpoint.secrets
    for keys in ([OLD], [NEW, OLD]):  # from the derived one, and from one to another
        settings.FIELD_ENCRYPTION_KEYS = keys
        assert endpoints.secrets_of(account) == secret
        assert "accounts: 1 encrypted anew\ncallback endpoints: 1 encrypted anew\n" in reencrypt()
    settings.FIELD_ENCRYPTION_KEYS, settings.SECRET_KEY = [NEW], "another-secret-key-0123456789abcdef"
    assert (endpoints.secrets_of(account), CallbackEndpoint.objects.get().secrets) == (secret, its)


def test_a_new_secret_key_opens_what_the_old_one_sealed_as_long_as_it_is_named(settings, account):
    secret = endpoints.secrets_of(account)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-0123456789abcdef"
    assert endpoints.secrets_of(account) == secret
    reencrypt()
    settings.SECRET_KEY_FALLBACKS = []
    assert endpoints.secrets_of(account) == secret


def test_a_lost_key_is_told_and_a_new_secret_is_the_way_out(settings, api, account, endpoint):
    endpoints.secrets_of(account)
    settings.SECRET_KEY = "another-secret-key-0123456789abcdef"
    for path in ("/callbacks/secret", f"/callbacks/endpoints/{endpoint.pk}/secret"):
        told = problem(api.get(path), 503, "SECRETS_UNREADABLE")
        assert "FIELD_ENCRYPTION_KEYS" in told["detail"]
    problem(api.post("/callbacks/secret/rotate", {"drop_old": True}), 503, "SECRETS_UNREADABLE")
    with pytest.raises(CommandError, match=f"(?s)account {account.pk}, callback endpoint {endpoint.pk}"):
        reencrypt()
    assert api.get("/callbacks/endpoints").status_code == 200
    made = api.post("/callbacks/secret/rotate").json()
    assert (made["secret"].startswith("whsec_"), made["old_secret"]) == (True, None)
    assert api.get("/callbacks/secret").json() == made
    assert api.post(f"/callbacks/endpoints/{endpoint.pk}/rotate").json()["old_secret"] is None


def test_second_factors_are_sealed_too_and_one_that_can_not_be_read_lets_nobody_in(settings, db):
    user = User.objects.create_user("ada")
    TOTP.activate(user, secret := generate_totp_secret())
    assert secret not in str(Authenticator.objects.get().data)
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time

    def code(key):
        return format_hotp_value(hotp_value(key, next(iter(yield_hotp_counters_from_time()))))

    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert "second factors: 1 encrypted anew" in reencrypt()
    settings.SECRET_KEY = "another-secret-key-0123456789abcdef"
    factor = Authenticator.objects.get().wrap()
    assert unseal(factor.instance.data["secret"]) == secret
    assert factor.validate_code(code(secret))
    settings.FIELD_ENCRYPTION_KEYS = []
    assert not any(Authenticator.objects.get().wrap().validate_code(code(key)) for key in (secret, "", "A" * 32))


@pytest.mark.parametrize("text", ["", "short", NEW[:-4], "x" * 44, "ö" * 44])
def test_what_is_no_key_is_refused_by_the_checks(text):
    assert is_key(NEW)
    assert not is_key(text)


def test_what_was_not_sealed_here_can_not_be_opened(db):
    for text in ("", '["whsec_x"]', "gAAAAA", seal("x")[:-2]):
        with pytest.raises(SecretsUnreadable):
            unseal(text)
    assert Account(name="x").callback_secrets == []
