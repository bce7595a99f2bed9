"""Sending callbacks from the due loop: one try per step, its answer into the log, and the time of the next."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.principals import of_key
from casts.access import Reach, may_read, named_by
from casts.callbacks import endpoints, outbox, schedule, signing
from casts.metrics import CALLBACK_SECONDS, CALLBACKS
from casts.models import Callback, CallbackAttempt, CallbackEndpoint, CallbackType, Cast
from casts.representation import cast_out, receipt
from core import safe_http
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from core.sealing import SecretsUnreadable
from core.telemetry import tracing
from core.times import stamp

logger = logging.getLogger(__name__)

State = Callback.State
GONE = 410
RESULTS = {State.PENDING: "again"}  # what metrics call a state
EXCERPT_CHARS, ERROR_CHARS = 1000, 500
USER_AGENT = "Spell-Platform-Callbacks/1"
TEST_NOTE = "A test: no cast has ended, and nothing happened to the account."


@dataclass(frozen=True)
class Outcome:
    """The result of one try."""

    status: int | None = None
    error: str = ""
    for_good: bool = False  # another try can't do better
    retry_after: str = ""
    excerpt: str = ""

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class CallbackWork:
    """The queue of due callbacks, for the worker."""

    thread_share = 0.5  # of the worker's threads at most: receivers may be slow, casts must go on

    def rows(self) -> DueQuerySet:
        return outbox.CallbackQueue(Callback)

    def step(self, row: Callback) -> dt.datetime | None:
        callback = row.mine().select_related("account", "endpoint", "event", "cast__spell", "cast__api_key").first()
        if callback is None or callback.state != State.PENDING:
            return None
        if callback.endpoint is not None and not callback.endpoint.active:
            callback.mine().update(state=State.DISABLED, last_error="Its endpoint is disabled.")
            return None
        if callback.attempts > len(schedule.SCHEDULE):  # each try that is not in the log ended with its worker
            callback.mine().update(state=State.FAILED, last_error="Its tries ended without a result.")
            return None
        with tracing.joined(callback.cast.traceparent if callback.cast else None):
            return self.try_once(callback)

    def try_once(self, callback: Callback) -> dt.datetime | None:
        url = callback.endpoint.url if callback.endpoint else callback.url
        at, began = timezone.now(), time.monotonic()
        outcome = send(callback, url)
        took = int((time.monotonic() - began) * 1000)
        attempt = CallbackAttempt(
            callback=callback,
            at=at,
            url=url,
            status_code=outcome.status,
            error=outcome.error[:ERROR_CHARS],
            duration_ms=took,
            response_excerpt=outcome.excerpt,
        )
        return record(callback, attempt, outcome)

    def give_up(self, row: Callback) -> None:
        row.mine().filter(state=State.PENDING).update(state=State.FAILED, last_error=how_often(row, "Sending it"))


def message(callback: Callback) -> bytes:
    """Return the body: what happened to the account, what became of the cast, or that it is a test."""
    at: dt.datetime | None
    if callback.type == CallbackType.TEST:
        assert callback.endpoint is not None  # a constraint of the database
        at, shown = callback.created_at, {"endpoint_id": callback.endpoint_id, "note": TEST_NOTE}
    elif callback.cast is None:
        assert callback.event is not None  # a constraint of the database
        # In an order of its own: databases differ in which order they give it back.
        at, shown = callback.event.at, dict(sorted(callback.event.data.items()))
    else:
        at, shown = callback.cast.finished_at, ended(callback.cast, callback.endpoint)
    body: dict[str, Any] = {"type": callback.type, "timestamp": stamp(at), "data": shown}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def ended(cast: Cast, endpoint: CallbackEndpoint | None) -> dict[str, Any]:
    """Return what a message says of a cast: all of it if who said where it goes could read that."""
    if endpoint is not None:
        whole = endpoint.contents
    else:
        key = named_by(cast)
        whole = key is not None and may_read(of_key(key), cast) == Reach.ALL
    if not whole:
        return receipt(cast)
    shown = cast_out(cast)  # made anew for each try: the links in it expire
    del shown["input"]
    return shown


@tracing.spanned("callback send", lambda callback, url: facts_of(callback))
def send(callback: Callback, url: str) -> Outcome:
    body = message(callback)
    try:
        keys = callback.endpoint.secrets if callback.endpoint else endpoints.secrets_of(callback.account)
    except SecretsUnreadable as exc:  # an operator may put that right in time
        return Outcome(error=f"Not sent. {exc}")
    return post(url, keys, callback.id, body)


def facts_of(callback: Callback) -> tracing.Facts:
    return {"spell.callback.id": callback.id, "spell.callback.type": callback.type, "spell.try": callback.attempts}


def post(url: str, keys: list[str], message_id: str, body: bytes) -> Outcome:
    """Send one signed message, once."""
    timestamp = int(time.time())
    headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", USER_AGENT),
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signing.signature(keys, message=message_id, timestamp=timestamp, body=body)),
    ]
    if (traceparent := tracing.carried()) is not None:
        headers.append(("traceparent", traceparent))
    try:
        answer = safe_http.post(url, body, headers, seconds=settings.CALLBACK_TIMEOUT_SECONDS)
    except safe_http.BadAddress as exc:
        return Outcome(error=f"Not called. {exc}", for_good=True)
    except safe_http.Unreached as exc:
        return Outcome(error=str(exc))
    tracing.describe({"http.response.status_code": answer.status})
    # Postgres stores no NUL in text.
    excerpt = answer.excerpt.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")[:EXCERPT_CHARS]
    return Outcome(answer.status, error_of(answer.status), answer.status == GONE, answer.retry_after, excerpt)


def error_of(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed. Set the address it leads to."
    if status == GONE:
        return "It answered 410: nobody wants this any more."
    return f"It answered {status}; only 2xx counts as delivered."


def record(callback: Callback, attempt: CallbackAttempt, outcome: Outcome) -> dt.datetime | None:
    """Note one try and what it means for its callback, if the claim still holds; return when to try again."""
    wait = None
    if outcome.delivered:
        state = State.DELIVERED
    elif outcome.status == GONE:
        state = State.DISABLED
    elif outcome.for_good:
        state = State.FAILED
    elif callback.type == CallbackType.TEST:
        state = State.FAILED  # somebody looks at what came of it, and can send it again
    else:
        wait = schedule.wait_before_next(callback.attempts, retry_after=outcome.retry_after)
        state = State.FAILED if wait is None else State.PENDING
    with transaction.atomic():
        now = timezone.now()
        if not callback.mine().update(
            state=state,
            url=attempt.url,
            last_status=outcome.status,
            last_error=attempt.error,
            delivered_at=now if outcome.delivered else None,
        ):
            return None
        attempt.save()
        if outcome.status == GONE and callback.endpoint is not None:
            endpoints.disable(callback.endpoint, why=endpoints.ANSWERED_GONE)
    CALLBACKS.labels(RESULTS.get(state, str(state))).inc()
    CALLBACK_SECONDS.observe(attempt.duration_ms / 1000)
    facts = {"callback": callback.id, "type": callback.type, "state": state, "status": outcome.status}
    facts |= {"cast_id": str(callback.cast_id)} if callback.cast_id else {"account": callback.account_id}
    if state in (State.FAILED, State.DISABLED):
        logger.warning("callback given up", extra=facts | {"why": attempt.error})
    else:
        logger.info("callback tried", extra=facts | {"try": callback.attempts, "ms": attempt.duration_ms})
    return None if wait is None else now + wait
