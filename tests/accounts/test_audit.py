"""Where a change came from, as its entry in the audit log tells: through the real application, as a server is asked."""

from __future__ import annotations

import json

import pytest

from accounts.audit.models import AuditEntry
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
