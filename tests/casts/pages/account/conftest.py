"""Members of an account, each with a browser."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts import budget
from accounts.models import Account, Membership, Role
from tests.accounts.people import PASSWORD, log_in

Spend = Callable[..., uuid.UUID]


@pytest.fixture
def member(account: Account, django_user_model: Any) -> Callable[..., Client]:
    """Log in somebody with this role in the account."""

    def one(role: Role = Role.OWNER, name: str = "") -> Client:
        user = django_user_model.objects.create_user(name or f"the-{role}", password=PASSWORD)
        Membership.objects.create(account=account, user=user, role=role)
        client = Client()
        log_in(client, user.username)
        return client

    return one


@pytest.fixture
def spend(account: Account) -> Spend:
    """Cast on a day and end it: `captured` None takes all, "open" leaves it open."""

    def one(
        day: str,
        cents: int,
        captured: int | str | None = None,
        *,
        spell: str = "greet",
        key: object = "",
        who: Any = None,
    ) -> uuid.UUID:
        cast_id = uuid.uuid4()
        with transaction.atomic():
            at = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
            budget.hold(who or account, cast_id=cast_id, cents=cents, at=at, spell_key=spell, api_key_id=key)
            if captured != "open":
                assert not isinstance(captured, str)
                budget.settle(cast_id, capture_cents=captured)
        return cast_id

    return one
