"""What the pages about callbacks say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from django.db.models import Prefetch

from casts.models import Callback, CallbackAttempt, CallbackEndpoint, CallbackType

SHOWN = 20  # messages of a page
TRIES = 10  # of each message, the newest
WORDS = {
    CallbackType.SUCCEEDED: "a cast succeeded",
    CallbackType.FAILED: "a cast failed",
    CallbackType.CANCELLED: "a cast was cancelled",
    CallbackType.TOPUP_SUCCEEDED: "a top-up was paid",
    CallbackType.TOPUP_FAILED: "a top-up failed, or waits for the card's holder",
    CallbackType.CREDIT_LOW: "credit is low",
    CallbackType.DISPUTE_OPENED: "a payment is disputed",
    CallbackType.TEST: "a test",
}
# What a state is called, and the tone in which it is shown.
STATES = {
    Callback.State.PENDING: ("waits", "queued"),
    Callback.State.DELIVERED: ("delivered", "succeeded"),
    Callback.State.FAILED: ("given up", "failed"),
    Callback.State.DISABLED: ("not sent", "cancelled"),
}


def type_words(word: str) -> str:
    return f"{word}: {WORDS[CallbackType(word)]}"


class CallbacksPage:
    """Reads what its template asks for: endpoints, and messages with their tries; three queries."""

    def __init__(
        self, account_id: int, *, endpoint: CallbackEndpoint | None = None, before: str = "", sent: str = ""
    ) -> None:
        self.account_id, self.endpoint, self.before, self.sent = account_id, endpoint, before, sent

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        rows = CallbackEndpoint.objects.filter(account=self.account_id, deleted_at=None)
        return [{"row": row, "types": ", ".join(row.types), "tone": tone_of(row)} for row in rows]

    @cached_property
    def messages(self) -> list[Callback]:
        rows = Callback.objects.filter(account=self.account_id)
        if self.endpoint is not None:
            rows = rows.filter(endpoint=self.endpoint)
        if self.before:
            rows = rows.filter(pk__lt=self.before)
        tries = CallbackAttempt.objects.order_by("-pk")[:TRIES]
        tried = Prefetch("tries", queryset=tries, to_attr="newest")
        found = rows.select_related("endpoint", "cast__spell").only(
            *("id", "type", "state", "attempts", "due_at", "last_status", "last_error", "created_at", "url"),
            *("endpoint__url", "endpoint__deleted_at", "endpoint__active", "cast__spell__name"),
        )
        return list(found.order_by("-pk").prefetch_related(tried)[: SHOWN + 1])

    @property
    def log(self) -> Iterator[dict[str, Any]]:
        for row in self.messages[:SHOWN]:
            word, tone = STATES[Callback.State(row.state)]
            pending = row.state == Callback.State.PENDING
            yield {
                "row": row,
                "what": WORDS[CallbackType(row.type)],
                "word": "tried again" if pending and row.attempts else word,
                "tone": tone,
                "next": row.due_at if pending and row.attempts else None,
                "tries": getattr(row, "newest", []),
                "open": row.pk == self.sent,
                "again": row.endpoint is None or row.endpoint.active,
            }

    @property
    def older(self) -> str:
        """Return where the next page begins, blank if there is none."""
        return self.messages[SHOWN - 1].pk if len(self.messages) > SHOWN else ""

    @property
    def waiting(self) -> bool:
        """Whether the message that was just sent has not been tried yet: the page looks again by itself."""
        return any(row.pk == self.sent and row.state == Callback.State.PENDING for row in self.messages)


def tone_of(endpoint: CallbackEndpoint) -> str:
    return "succeeded" if endpoint.active else "cancelled"
