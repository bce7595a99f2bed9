"""What an API key may ask for: so much by itself, and so much with the account's other keys."""

from __future__ import annotations

from django.conf import settings

from accounts.models import ApiKey
from core.rationing import Allowance, visits
from core.rationing.visits import Visit

KEY = Allowance("key", "This API key")
ACCOUNT = Allowance("account", "This account")


def admit(key: ApiKey, of: Visit | None) -> None:
    """Spend one request of a key that was found good, and of its account. Raise RateLimited."""
    account = key.account
    by_key, by_account = account.requests_per_key, account.requests_per_minute
    visits.admit(
        of,
        (KEY, key.pk, settings.RATION_PER_KEY if by_key is None else by_key),
        (ACCOUNT, account.pk, settings.RATION_PER_ACCOUNT if by_account is None else by_account),
    )
