"""The endpoints that an account wants called, and the secrets that sign calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from casts.callbacks.outbox import State
from casts.callbacks.signing import new_secret
from casts.errors import TooManyEndpoints
from casts.models import Callback, CallbackEndpoint
from core.limits import ENDPOINTS
from core.queue import wakeups
from core.sealing import SecretsUnreadable, seal

ANSWERED_GONE = "Its receiver answered 410 Gone."  # why an endpoint is disabled that nobody switched off


def secrets_of(account: Account) -> list[str]:
    """Return the secrets that sign calls to this account's callback_urls, newest first; made at the first call."""
    found = Account.objects.only("sealed_callback_secrets").get(pk=account.pk).callback_secrets
    if found:
        return found
    with transaction.atomic():
        found = Account.objects.select_for_update().get(pk=account.pk).callback_secrets or [new_secret()]
        keep(account, found)
    return found


def keep(account: Account, secrets: list[str]) -> None:
    Account.objects.filter(pk=account.pk).update(sealed_callback_secrets=seal(secrets))


def rotate_account(account: Account, *, drop_old: bool) -> list[str]:
    with transaction.atomic():
        locked = Account.objects.select_for_update().get(pk=account.pk)
        changed = rotated(lambda: locked.callback_secrets or [new_secret()], drop_old=drop_old)
        keep(account, changed)
    return changed


def rotate_endpoint(endpoint: CallbackEndpoint, *, drop_old: bool) -> list[str]:
    with transaction.atomic():
        locked = CallbackEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        changed = rotated(lambda: locked.secrets, drop_old=drop_old)
        CallbackEndpoint.objects.filter(pk=endpoint.pk).update(sealed_secrets=seal(changed))
    return changed


def rotated(held: Callable[[], list[str]], *, drop_old: bool) -> list[str]:
    """Return a new secret and the newest before it; or, to end a rotation (`drop_old`), the newest alone.

    Where the newest can't be read, a new one alone is the way out. Raise SecretsUnreadable if none is to be made.
    """
    try:
        newest = held()[:1]
    except SecretsUnreadable:
        if drop_old:
            raise
        newest = []
    return newest if drop_old else [new_secret(), *newest]


# --- Endpoints -------------------------------------------------------------------------------------------------


def add_endpoint(
    account: Account,
    *,
    url: str,
    types: list[str],
    description: str = "",
    contents: bool = True,
    spell_keys: list[str] | None = None,
) -> CallbackEndpoint:
    """Make an endpoint with a secret of its own; raise TooManyEndpoints."""
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)  # so that two can't both be the last
        if account.callback_endpoints.filter(deleted_at=None).count() >= ENDPOINTS:
            raise TooManyEndpoints(f"An account has {ENDPOINTS} endpoints at most; delete one first.")
        return CallbackEndpoint.objects.create(
            account=account,
            url=url,
            types=types,
            description=description,
            contents=contents,
            spell_keys=spell_keys,
            sealed_secrets=seal([new_secret()]),
        )


def change_endpoint(endpoint: CallbackEndpoint, *, active: bool | None = None, **changes: Any) -> None:
    with transaction.atomic():
        if changes:
            CallbackEndpoint.objects.filter(pk=endpoint.pk).update(**changes)
        if active is True:
            enable(endpoint)
        elif active is False:
            disable(endpoint, why="Switched off.")


def enable(endpoint: CallbackEndpoint) -> None:
    # What was stopped meanwhile stays so, until it is sent again one by one.
    CallbackEndpoint.objects.filter(pk=endpoint.pk, deleted_at=None).update(
        active=True, disabled_at=None, disabled_reason=""
    )


def disable(endpoint: CallbackEndpoint, *, why: str) -> None:
    with transaction.atomic():
        CallbackEndpoint.objects.filter(pk=endpoint.pk, active=True).update(
            active=False, disabled_at=timezone.now(), disabled_reason=why
        )
        # The worker closes what is still to be sent.
        Callback.due_rows().filter(endpoint=endpoint, state=State.PENDING, due_at__isnull=False).wake()
        transaction.on_commit(wakeups.work_is_due)


def delete(endpoint: CallbackEndpoint) -> None:
    with transaction.atomic():
        # The row stays, for the log of what was sent there; its secrets don't.
        disable(endpoint, why="Deleted.")
        CallbackEndpoint.objects.filter(pk=endpoint.pk).update(deleted_at=timezone.now(), sealed_secrets="")
