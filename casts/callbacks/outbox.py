"""Telling receivers that a cast has ended: what is owed to whom, when it is tried, and how it is signed.

The form is that of Standard Webhooks (https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
`webhook-signature`, secrets that begin with `whsec_`. A callback is a row, made in the transaction that ends the cast;
`casts.callbacks.delivery` sends it, once at least: receivers drop repetitions by `webhook-id`.
"""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import hashlib
import hmac
import random
import secrets
from typing import Any

from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone

from accounts.models import Account
from casts.errors import CallbackInFlight, EndpointDisabled, TooManyEndpoints
from casts.models import Callback, CallbackEndpoint, CallbackType, Cast, CastStatus
from core.queue import wakeups
from core.queue.due import DueQuerySet

State = Callback.State

# How long after the try before it each try comes. Source: the specification's example schedule.
SCHEDULE = (
    dt.timedelta(0),
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=14),
    dt.timedelta(hours=20),
    dt.timedelta(hours=24),
)
JITTER = 0.1  # of the wait, either way: what failed together must not come back together
LONGEST_RETRY_AFTER = dt.timedelta(hours=24)
SECRET_PREFIX, SECRET_BYTES = "whsec_", 32  # the specification wants 24 to 64 random bytes
SENDS_PER_ACCOUNT = 2  # at a time: one account's slow receivers must not hold up everybody else's
MAX_ENDPOINTS = 20
ANSWERED_GONE = "Its receiver answered 410 Gone."  # why an endpoint is disabled that nobody switched off
TYPES = {
    CastStatus.SUCCEEDED: CallbackType.SUCCEEDED,
    CastStatus.FAILED: CallbackType.FAILED,
    CastStatus.CANCELLED: CallbackType.CANCELLED,
}


class CallbackQueue(DueQuerySet):
    """Callbacks that are due, few of one account at a time."""

    def claimable(self) -> CallbackQueue:
        """Leave out accounts that have SENDS_PER_ACCOUNT under way."""
        under_way = self.filter(lease_until__isnull=False).order_by().values("account").annotate(held=Count("pk"))
        busy = under_way.filter(held__gte=SENDS_PER_ACCOUNT).values_list("account", flat=True)
        return super().claimable().exclude(account__in=list(busy))

    def claim(self, *, limit: int, lease: dt.timedelta, newest: bool = False) -> list[Callback]:
        """Take one: who is busy is counted anew for the next."""
        return super().claim(limit=min(limit, 1), lease=lease, newest=newest)


# --- What is owed ----------------------------------------------------------------------------------------------


def owe(cast: Cast) -> None:
    """Note, in the transaction that ends a cast, whom to tell: each endpoint that wants it, and its callback_url."""
    now, kind = timezone.now(), TYPES[CastStatus(cast.status)]
    endpoints = CallbackEndpoint.objects.filter(account=cast.account_id, active=True, deleted_at=None)
    receivers: list[tuple[CallbackEndpoint | None, str]]
    receivers = [(endpoint, endpoint.url) for endpoint in endpoints if kind in endpoint.types]
    if cast.callback_url:
        receivers.append((None, cast.callback_url))
    if not receivers:
        return
    Callback.objects.bulk_create(
        Callback(
            account_id=cast.account_id, cast=cast, endpoint=endpoint, url=url, type=kind, created_at=now, due_at=now
        )
        for endpoint, url in receivers
    )
    transaction.on_commit(wakeups.work_is_due)


def send_again(callback: Callback) -> Callback:
    """Have a callback sent now, with the id it had; its schedule begins anew. Also hurries one that waits."""
    with transaction.atomic():
        endpoint = callback.endpoint
        if endpoint is not None and not endpoint.active:
            raise EndpointDisabled(
                "Its endpoint was deleted."
                if endpoint.deleted_at
                else "Its endpoint is disabled; set it to active first."
            )
        free = Callback.objects.filter(pk=callback.pk, lease_until=None)
        changes = {"state": State.PENDING, "due_at": timezone.now(), "attempts": 0, "delivered_at": None}
        if not free.update(**changes, token=F("token") + 1):
            raise CallbackInFlight("It is being sent at this moment; see how that ends.", headers={"Retry-After": "5"})
        transaction.on_commit(wakeups.work_is_due)
    return Callback.objects.select_related("endpoint").get(pk=callback.pk)


def wait_before_next(tries: int, *, retry_after: str = "") -> dt.timedelta | None:
    """Return how long to wait after `tries` failed ones, None to give up. Never sooner than the receiver asked for."""
    if tries >= len(SCHEDULE):
        return None
    jitter = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311 - nothing to guess
    return max(SCHEDULE[tries] * jitter, asked_wait(retry_after))


def asked_wait(retry_after: str) -> dt.timedelta:
    """Return what a Retry-After header asks for, in seconds or as a date; 24 hours at most, 0 if it can't be read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(dt.timedelta(seconds=int(text[:9])), LONGEST_RETRY_AFTER)
    try:
        wait = email.utils.parsedate_to_datetime(text).astimezone(dt.UTC) - timezone.now()
    except (TypeError, ValueError, OverflowError):
        return dt.timedelta(0)
    return min(max(wait, dt.timedelta(0)), LONGEST_RETRY_AFTER)


# --- Signatures ------------------------------------------------------------------------------------------------


def new_secret() -> str:
    """Return a new signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(keys: list[str], *, message: str, timestamp: int, body: bytes) -> str:
    """Return the webhook-signature: one `v1,...` for each secret, newest first.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join(
        "v1,"
        + base64.b64encode(
            hmac.digest(base64.b64decode(key.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256)
        ).decode()
        for key in keys
    )


def secrets_of(account: Account) -> list[str]:
    """Return what signs calls to this account's callback_urls, newest first; made when first asked for."""
    found: list[str] = Account.objects.values_list("callback_secrets", flat=True).get(pk=account.pk)
    if found:
        return found
    with transaction.atomic():
        found = Account.objects.select_for_update().get(pk=account.pk).callback_secrets or [new_secret()]
        Account.objects.filter(pk=account.pk).update(callback_secrets=found)
    return found


def rotate_account(account: Account, *, drop_old: bool) -> list[str]:
    """Put a new secret in front of the account's, or end a rotation; return what signs from now on."""
    with transaction.atomic():
        held = Account.objects.select_for_update().get(pk=account.pk).callback_secrets or [new_secret()]
        changed = rotated(held, drop_old=drop_old)
        Account.objects.filter(pk=account.pk).update(callback_secrets=changed)
    return changed


def rotate_endpoint(endpoint: CallbackEndpoint, *, drop_old: bool) -> list[str]:
    """Put a new secret in front of an endpoint's, or end a rotation; return what signs from now on."""
    with transaction.atomic():
        locked = CallbackEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        changed = rotated(locked.secrets, drop_old=drop_old)
        CallbackEndpoint.objects.filter(pk=endpoint.pk).update(secrets=changed)
    return changed


def rotated(held: list[str], *, drop_old: bool) -> list[str]:
    """Return the newest secret alone (`drop_old`), or a new one and the one that was newest."""
    return held[:1] if drop_old else [new_secret(), *held[:1]]


# --- Endpoints -------------------------------------------------------------------------------------------------


def add_endpoint(account: Account, *, url: str, types: list[str], description: str = "") -> CallbackEndpoint:
    """Make an endpoint with a secret of its own; raise TooManyEndpoints."""
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)  # so that two can't both be the last
        if account.callback_endpoints.filter(deleted_at=None).count() >= MAX_ENDPOINTS:
            raise TooManyEndpoints(f"An account has {MAX_ENDPOINTS} endpoints at most; delete one first.")
        return CallbackEndpoint.objects.create(
            account=account, url=url, types=types, description=description, secrets=[new_secret()]
        )


def change_endpoint(endpoint: CallbackEndpoint, *, active: bool | None = None, **changes: Any) -> None:
    """Change an endpoint's fields, and whether it is sent to."""
    with transaction.atomic():
        if changes:
            CallbackEndpoint.objects.filter(pk=endpoint.pk).update(**changes)
        if active is True:
            enable(endpoint)
        elif active is False:
            disable(endpoint, why="Switched off.")


def enable(endpoint: CallbackEndpoint) -> None:
    """Send to it again, from now on. What was stopped meanwhile stays so, until it is sent again one by one."""
    CallbackEndpoint.objects.filter(pk=endpoint.pk, deleted_at=None).update(
        active=True, disabled_at=None, disabled_reason=""
    )


def disable(endpoint: CallbackEndpoint, *, why: str) -> None:
    """Send nothing to it any more; the worker closes what is pending."""
    with transaction.atomic():
        CallbackEndpoint.objects.filter(pk=endpoint.pk, active=True).update(
            active=False, disabled_at=timezone.now(), disabled_reason=why
        )
        Callback.due_rows().filter(endpoint=endpoint, state=State.PENDING, due_at__isnull=False).wake()
        transaction.on_commit(wakeups.work_is_due)


def delete(endpoint: CallbackEndpoint) -> None:
    """Delete an endpoint and its secrets; the log of what was sent there stays."""
    with transaction.atomic():
        disable(endpoint, why="Deleted.")
        CallbackEndpoint.objects.filter(pk=endpoint.pk).update(deleted_at=timezone.now(), secrets=[])
