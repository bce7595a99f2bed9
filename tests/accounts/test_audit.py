"""Where a change came from, as its entry in the audit log tells: through the real application, as a server is asked."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from accounts.audit.models import AuditEntry
from casts.models import Cast, IdempotencyRecord
from tests.casts.client import asked, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8:1:2:3:4:5:6", "2001:db8::1"])
def test_an_entry_holds_the_whole_address_of_whoever_asked(secret, spell, settings, address):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    body = json.dumps({"spell_key": spell.key, "input": {"name": "Ada"}}).encode()

    async def scene():
        sent = {"Authorization": f"Bearer {secret}", "X_Forwarded_For": address}
        async with asked("/api/v1/cast", method="POST", body=body, **sent) as answer:
            assert answer.status == 201, await answer.body()
            assert (await answer.json())["cast_id"]
            return answer.headers["X-Request-Id"]

    number = run(scene())
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.address, entry.request_id) == ("cast.create", address, number)


@pytest.mark.parametrize(
    ("limits", "status"), [({"monthly_cap_cents": 4}, 402), ({"max_open": 0}, 429)], ids=["no money", "too many open"]
)
def test_a_cast_that_is_refused_leaves_nothing_not_even_its_entry(account, secret, spell, limits, status):
    """The entry is written first, before the counters that other casts wait for."""
    type(account).objects.filter(pk=account.pk).update(**limits)
    body = {"spell_key": spell.key, "input": {}}
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "once"}
    answer = Client().post("/api/v1/cast", body, "application/json", headers=headers)
    assert answer.status_code == status, answer.content
    assert not AuditEntry.objects.filter(action="cast.create").exists()
    assert not Cast.objects.exists()
    assert not IdempotencyRecord.objects.exists()
