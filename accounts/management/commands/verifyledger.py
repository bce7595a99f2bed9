"""Prove that the counters are what the ledger says."""

from django.core.management.base import CommandError
from django.db import transaction

from accounts import credit, open_casts
from accounts.budget import recounted
from accounts.models import BudgetPeriod, BudgetScope, OpenCasts
from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "Recompute every counter of money, caps and credit, from its entries; "
        "end with code 1 and the differences if any differ."
    )

    def handle(self, **options: object) -> None:
        differences = []
        months = BudgetPeriod.objects.filter(scope=BudgetScope.ACCOUNT).order_by("pk")
        checked = 0
        for key in months.values_list("pk", flat=True):
            with transaction.atomic():
                # Whatever moves the account's money waits at this row, so counters and ledger are of one moment.
                own = BudgetPeriod.objects.select_for_update().get(pk=key)
                for period in BudgetPeriod.objects.filter(account=own.account_id, month=own.month):
                    checked += 1
                    held, captured = recounted(own, period.scope, period.ref)
                    if (held, captured) != (period.held_cents, period.captured_cents):
                        differences.append(
                            f"{period}: held {period.held_cents}, by the ledger {held}; "
                            f"captured {period.captured_cents}, by the ledger {captured}"
                        )
        credits = BudgetPeriod.objects.filter(scope=BudgetScope.CREDIT).order_by("pk")
        for key in credits.values_list("pk", flat=True):
            with transaction.atomic():
                # Likewise for what books credit, holds it or settles it.
                counter = BudgetPeriod.objects.select_for_update().get(pk=key)
                checked += 1
                booked, held, captured = credit.recounted(counter.account_id)
                if (booked, held, captured) != (counter.cap_cents, counter.held_cents, counter.captured_cents):
                    differences.append(
                        f"{counter}: booked {counter.cap_cents}, by its entries {booked}; "
                        f"held {counter.held_cents}, by the ledger {held}; "
                        f"captured {counter.captured_cents}, by the ledger {captured}"
                    )
        for account in OpenCasts.objects.order_by("pk").values_list("pk", flat=True):
            with transaction.atomic():
                # Likewise for what opens and ends casts.
                open_now = OpenCasts.objects.select_for_update().get(pk=account)
                checked += 1
                if (by_ledger := open_casts.recounted(account)) != open_now.number:
                    differences.append(f"{open_now} open casts, by the ledger {by_ledger}")
        if differences:
            raise CommandError("The counters differ from the ledger:\n" + "\n".join(differences))
        self.stdout.write(f"{checked} counters agree with the ledger.")
