"""Telling receivers that a cast has ended, what happened to their account, or a test: what is owed to whom.

The form is that of Standard Webhooks (https://www.standardwebhooks.com). A callback is a row, made in the transaction
that ends the cast or keeps the account's event; `delivery` sends it, once at least: receivers drop repetitions by
`webhook-id`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone

from accounts.models import AccountEvent
from casts.errors import CallbackInFlight, EndpointDisabled, TooManyTests
from casts.models import (
    ABOUT_ACCOUNTS,
    Callback,
    CallbackEndpoint,
    CallbackType,
    Cast,
    CastStatus,
    message_id_of_end,
)
from core import limits
from core.db.compiled import Insert, Param, Select
from core.queue import wakeups
from core.queue.due import DueQuerySet

State = Callback.State
TESTS_WITHIN = dt.timedelta(minutes=1)
SENDS_PER_ACCOUNT = 2  # at a time: one account's slow receivers must not hold up everybody else's
TYPES = {
    CastStatus.SUCCEEDED: CallbackType.SUCCEEDED,
    CastStatus.FAILED: CallbackType.FAILED,
    CastStatus.CANCELLED: CallbackType.CANCELLED,
}


class CallbackQueue(DueQuerySet):
    """Due callbacks, of which SENDS_PER_ACCOUNT of one account are claimed at a time."""

    def claimable(self) -> CallbackQueue:
        under_way = self.filter(lease_until__isnull=False).order_by().values("account").annotate(held=Count("pk"))
        busy = under_way.filter(held__gte=SENDS_PER_ACCOUNT).values_list("account", flat=True)
        return super().claimable().exclude(account__in=list(busy))

    def claim(
        self, *, limit: int, lease: dt.timedelta, newest: bool = False, failing: bool | None = None
    ) -> list[Callback]:
        # One, because each claim changes which accounts are busy.
        return super().claim(limit=min(limit, 1), lease=lease, newest=newest, failing=failing)


ENDPOINTS = Select(
    lambda: CallbackEndpoint.objects.filter(account=Param(CallbackEndpoint, "account_id"), active=True, deleted_at=None)
)
ADD_CALLBACK = Insert(Callback)

# --- What is owed ----------------------------------------------------------------------------------------------


def enqueue(cast: Cast) -> None:
    """Note whom to tell of a cast's end: each endpoint that wants it, and its callback_url. For its transaction."""
    now, kind = timezone.now(), TYPES[CastStatus(cast.status)]
    endpoints = ENDPOINTS.all(account_id=cast.account_id)
    receivers: list[tuple[CallbackEndpoint | None, str]]
    receivers = [(endpoint, endpoint.url) for endpoint in endpoints if endpoint.wants(kind, cast.spell.key)]
    if cast.callback_url:
        receivers.append((None, cast.callback_url))
    for endpoint, url in receivers:
        about: dict[str, Any] = {"account_id": cast.account_id, "cast": cast, "endpoint": endpoint, "url": url}
        about["id"] = message_id_of_end(cast, endpoint)
        ADD_CALLBACK.run(Callback(**about, type=kind, created_at=now, due_at=now))
    if receivers:
        transaction.on_commit(wakeups.work_is_due)


def enqueue_event(event: AccountEvent) -> None:
    """Note whom to tell of what happened to an account: each endpoint that names it. For its transaction."""
    if event.kind not in ABOUT_ACCOUNTS:
        return
    now = timezone.now()
    # Whatever spells it is for: this is about none.
    receivers = [one for one in ENDPOINTS.all(account_id=event.account_id) if event.kind in one.types]
    for endpoint in receivers:
        about: dict[str, Any] = {"account_id": event.account_id, "event": event, "endpoint": endpoint}
        ADD_CALLBACK.run(Callback(**about, url=endpoint.url, type=event.kind, created_at=now, due_at=now))
    if receivers:
        transaction.on_commit(wakeups.work_is_due)


def enqueue_test(endpoint: CallbackEndpoint) -> Callback:
    """Have an endpoint sent a test event, whatever types it names. Raise EndpointDisabled or TooManyTests."""
    now = timezone.now()
    with transaction.atomic():
        # Its row is held, so that two at once can't both be the last that may be.
        endpoint = CallbackEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        check_enabled(endpoint)
        tests = Callback.objects.filter(endpoint=endpoint, type=CallbackType.TEST)
        if tests.filter(created_at__gt=now - TESTS_WITHIN).count() >= limits.ENDPOINT_TESTS:
            raise TooManyTests(
                f"An endpoint is sent {limits.ENDPOINT_TESTS} test events a minute at most. Wait a little, or send "
                "one of them again.",
                headers={"Retry-After": str(int(TESTS_WITHIN.total_seconds()))},
            )
        made = Callback.objects.create(
            account_id=endpoint.account_id,
            endpoint=endpoint,
            url=endpoint.url,
            type=CallbackType.TEST,
            created_at=now,
            due_at=now,
        )
        transaction.on_commit(wakeups.work_is_due)
    return made


def check_enabled(endpoint: CallbackEndpoint) -> None:
    """Raise EndpointDisabled for one that nothing is sent to."""
    if not endpoint.active:
        raise EndpointDisabled(
            "Its endpoint was deleted." if endpoint.deleted_at else "Its endpoint is disabled; set it to active first."
        )


def send_again(callback: Callback) -> Callback:
    """Have a callback sent now, with the id it had and a new schedule; one that waits is sent sooner.

    Raise EndpointDisabled or CallbackInFlight.
    """
    with transaction.atomic():
        if callback.endpoint is not None:
            check_enabled(callback.endpoint)
        free = Callback.objects.filter(pk=callback.pk, lease_until=None)
        changes: dict[str, Any] = {"state": State.PENDING, "due_at": timezone.now(), "delivered_at": None}
        changes |= {"attempts": 0, "failed_steps": 0, "failure": ""}
        # A new claim number: a worker whose lease ran out can't note its result any more.
        if not free.update(**changes, claim_number=F("claim_number") + 1):
            raise CallbackInFlight("It is being sent at this moment; see how that ends.", headers={"Retry-After": "5"})
        transaction.on_commit(wakeups.work_is_due)
    return Callback.objects.select_related("endpoint").get(pk=callback.pk)
