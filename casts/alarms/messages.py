"""Messages to operators: by mail and to their endpoint, each tried until it is taken.

A message keeps its id however often it is sent (`webhook-id`, and the mail's Message-ID): a worker that is killed
between sending and noting sends it once more, and who gets it twice can tell.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from casts.alarms import texts
from casts.callbacks import delivery, schedule
from casts.models import AlarmMessage
from core.db.purging import purge_some
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from core.redaction import error_text
from core.times import stamp

logger = logging.getLogger(__name__)

Channel, State = AlarmMessage.Channel, AlarmMessage.State
KEPT = dt.timedelta(days=90)
UNCONFIGURED = "Nobody is to be told this way any more: see ALARM_MAIL and ALARM_URL."


def channels() -> list[AlarmMessage.Channel]:
    """Return how operators are told."""
    return [channel for channel, on in ((Channel.MAIL, settings.ALARM_MAIL), (Channel.URL, settings.ALARM_URL)) if on]


def enqueue(kind: str, news: dict[str, Any]) -> list[AlarmMessage]:
    """Note what is to be sent, in the caller's transaction."""
    now = timezone.now()
    made = [
        AlarmMessage.objects.create(channel=channel, type=kind, news=news, created_at=now, due_at=now)
        for channel in channels()
    ]
    transaction.on_commit(wakeups.work_is_due)
    return made


class AlarmMessageWork:
    """The queue of messages to operators."""

    thread_share = 0.25  # of the worker's threads at most: a mail server may be slow, casts must go on

    def rows(self) -> DueQuerySet:
        return AlarmMessage.due_rows()

    def step(self, row: AlarmMessage) -> dt.datetime | None:
        message = row.mine().first()
        if message is None or message.state != State.PENDING:
            return None
        outcome = send(message)
        wait = None
        if not outcome.delivered and not outcome.for_good:
            wait = schedule.wait_before_next(message.attempts, retry_after=outcome.retry_after)
        state = State.DELIVERED if outcome.delivered else State.FAILED if wait is None else State.PENDING
        note(message, state, outcome)
        return None if wait is None else timezone.now() + wait

    def give_up(self, row: AlarmMessage) -> dt.datetime | None:
        row.mine().filter(state=State.PENDING).update(state=State.FAILED, last_error=how_often(row, "Sending it"))
        return None


def note(message: AlarmMessage, state: AlarmMessage.State, outcome: delivery.Outcome) -> None:
    delivered_at = timezone.now() if state == State.DELIVERED else None
    message.mine().update(state=state, last_error=outcome.error[:500], delivered_at=delivered_at)
    facts = {"alarm_message": message.id, "channel": message.channel, "state": state, "why": outcome.error}
    logger.log(logging.INFO if state == State.DELIVERED else logging.WARNING, "alarm message tried", extra=facts)


def send(message: AlarmMessage) -> delivery.Outcome:
    """Try once."""
    if message.channel not in channels():
        return delivery.Outcome(error=UNCONFIGURED, for_good=True)
    if message.channel == Channel.MAIL:
        return send_mail(message)
    body = {"type": message.type, "timestamp": stamp(message.created_at), "data": texts.data(message.news)}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return delivery.post(settings.ALARM_URL, settings.ALARM_SECRETS, message.id, text)


def send_mail(message: AlarmMessage) -> delivery.Outcome:
    mail = EmailMessage(
        texts.subject(message.type, message.news),
        texts.mail(message.type, message.news),
        to=settings.ALARM_MAIL,
        headers={"Message-ID": f"<{message.id}@{texts.host()}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send()
    except Exception as exc:  # whatever a mail server does, it may do better the next time
        return delivery.Outcome(error=error_text(exc))
    return delivery.Outcome(status=200)


def test(by: str) -> list[AlarmMessage]:
    """Have a test message sent by all ways that are configured."""
    with transaction.atomic():
        return enqueue("alarms.test", {"by": by})


def send_again(keys: list[str]) -> int:
    """Have messages sent now, with the ids that they had; those that are being sent are left out."""
    found = AlarmMessage.due_rows().filter(pk__in=keys, lease_until=None)
    changes: dict[str, Any] = {"state": State.PENDING, "due_at": timezone.now(), "attempts": 0}
    sent = found.update(**changes, failed_steps=0, failure="", last_error="")
    wakeups.work_is_due()
    return sent


def purge() -> int:
    """Delete what was told long ago; return how many."""
    old = AlarmMessage.objects.exclude(state=State.PENDING).filter(created_at__lt=timezone.now() - KEPT)
    return purge_some(old.order_by("pk"))
