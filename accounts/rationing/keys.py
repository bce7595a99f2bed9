"""What an API key, or a member in the browser, may ask for: so much alone, and so much with the account's others."""

from __future__ import annotations

from django.conf import settings

from accounts.models import Account, ApiKey
from core.rationing import Allowance, visits
from core.rationing.visits import Visit

KEY = Allowance("key", "This API key")
MEMBER = Allowance("member", "This member")
ACCOUNT = Allowance("account", "This account")


def admit(key: ApiKey, of: Visit | None) -> None:
    """Spend one request of a key that was found good, and of its account. Raise RateLimited."""
    _admit(KEY, key.pk, key.account, of)


def admit_member(user_id: int, account: Account, of: Visit | None) -> None:
    """Spend one request of a member, who has as many as a key, and of the account. Raise RateLimited.

    For what changes something: pages that are only read are counted by their address.
    """
    _admit(MEMBER, f"{account.pk} {user_id}", account, of)


def _admit(alone: Allowance, who: object, account: Account, of: Visit | None) -> None:
    by_key, by_account = account.requests_per_key, account.requests_per_minute
    visits.admit(
        of,
        (alone, who, settings.RATION_PER_KEY if by_key is None else by_key),
        (ACCOUNT, account.pk, settings.RATION_PER_ACCOUNT if by_account is None else by_account),
    )
