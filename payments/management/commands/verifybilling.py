"""Prove that the ledger, what was reported, and what Stripe has say the same."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from core.commands import DatabaseCommand
from payments import client, reconcile

NOT_KNOWN = 2  # the exit code when Stripe can't be asked


class Command(DatabaseCommand):
    help = (
        "Compare, for each customer and month, the ledger with what was reported and with Stripe's sums, top-ups and "
        "refunds with credits and Stripe's payments, and invoices with both. End with code 1 and the differences if "
        "there are any, with 2 if Stripe can't be asked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--month", action="append", default=[], metavar="YYYY-MM", help="default: this month and the last"
        )

    def handle(self, **options: Any) -> None:
        if not settings.BILLING:
            raise CommandError("Set STRIPE_SECRET_KEY first: without it there is no billing.")
        months = [month(text) for text in options["month"]] or this_and_last()
        try:
            found = reconcile.verify(months)
        except client.StripeTrouble as exc:
            raise CommandError(f"Stripe can't be asked: {exc}", returncode=NOT_KNOWN) from exc
        for line in found.under_way:
            self.stdout.write(f"Under way: {line}")
        if found.differences:
            raise CommandError("There are differences:\n" + "\n".join(found.differences))
        told = ", ".join(f"{count} {what}" for what, count in found.checked.items())
        self.stdout.write(f"No differences: {told or 'no customers'}.")


def month(text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise CommandError(f"“{text}” is no month. Write it as 2026-11.") from None


def this_and_last() -> list[dt.date]:
    first = timezone.now().date().replace(day=1)
    return [(first - dt.timedelta(days=1)).replace(day=1), first]
