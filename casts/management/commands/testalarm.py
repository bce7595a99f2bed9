"""Send a test alarm, and say whether it was taken."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.utils import timezone

from casts.alarms import messages
from casts.models import AlarmMessage
from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = "Send a test to ALARM_MAIL and ALARM_URL, now and once, and say what came of it."

    def handle(self, *args: object, **options: object) -> None:
        ways = messages.channels()
        if not ways:
            raise CommandError("Nobody is to be told: set ALARM_MAIL to addresses, or ALARM_URL with ALARM_SECRET.")
        failed = 0
        for channel in ways:
            message = AlarmMessage.objects.create(
                channel=channel, type="alarms.test", news={"by": "manage.py testalarm"}, created_at=timezone.now()
            )
            outcome = messages.send(message)
            AlarmMessage.objects.filter(pk=message.pk).update(
                state="delivered" if outcome.delivered else "failed",
                last_error=outcome.error[:500],
                attempts=1,
                delivered_at=timezone.now() if outcome.delivered else None,
            )
            failed += not outcome.delivered
            self.stdout.write(f"{channel}: {'taken' if outcome.delivered else outcome.error}")
        if failed:
            raise CommandError("Not all of it was taken.")
