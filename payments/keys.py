"""Idempotency keys under which Stripe keeps a failure, and the next one that a row then has.

Stripe keeps what it first answered under a key for a day, a 500 as well: asking again under it never helps. That such
an answer is an old one (`Idempotent-Replayed`) says that the request has ended, and that nothing happens under its key
any more. What it has made, if anything, is in Stripe's lists: so who has looked there afterwards, and found nothing,
may ask under the next key. Of a key that is not known to be used up nothing follows: the same is asked again under it.

Stripe may still complete by hand what has failed. Then there are two, and both are credited and told.
Source: https://docs.stripe.com/error-low-level, "Server errors"; https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db.models import F, QuerySet
from django.utils import timezone

from payments import client
from payments.models import Customer, MeterReport, Refund, Subscription, TopUp, idempotency_key

if TYPE_CHECKING:
    from stripe import RequestOptions

logger = logging.getLogger(__name__)

Asked = TopUp | Refund | Customer | Subscription | MeterReport
# Between a failure that is kept, and the look that decides; and where a second one makes no difference.
REST, NO_REST = dt.timedelta(minutes=1), dt.timedelta(0)


@contextmanager
def asking(row: Asked, of: str = "") -> Iterator[RequestOptions]:
    """Give the options for a row's request, and note if its key is used up. Raise what `client.errors` raises."""
    try:
        with client.errors():
            yield {"idempotency_key": idempotency_key(row, of)}
    except client.Spent as exc:
        logger.error("Stripe keeps a failure", extra={"key": idempotency_key(row, of), "request": exc.request_id})
        _as_read(row).filter(spent_at=None).update(spent_at=timezone.now())
        raise


def renew(row: Asked, rest: dt.timedelta = REST) -> None:
    """Have a row whose key is used up asked for under its next one; others stay as they are. Raise Unavailable.

    Only for who has read the row, and then found at Stripe nothing that it made, or where a second one makes no
    difference. Of two who did so at once, one takes the next key, and the other may use it.
    """
    if row.spent_at is None:
        return
    if timezone.now() < row.spent_at + rest:
        raise client.Unavailable("Stripe failed at this. It is looked for first, and then asked for again.")
    if _as_read(row).filter(spent_at=row.spent_at).update(keys_spent=F("keys_spent") + 1, spent_at=None):
        logger.warning("nothing was made; asking under another key", extra={"key": idempotency_key(row)})
    row.refresh_from_db(fields=["keys_spent", "spent_at"])


def _as_read(row: Asked) -> QuerySet[Any]:
    """Return the row, unless it has got another key meanwhile."""
    every: QuerySet[Any] = type(row)._base_manager.all()
    return every.filter(pk=row.pk, keys_spent=row.keys_spent)
