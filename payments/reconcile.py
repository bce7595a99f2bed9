"""Whether the ledger, what was reported, and what Stripe has say the same, to the smallest unit.

What is still on its way (not sealed, not sent, not yet in Stripe's sums, just paid) is told apart from differences.
Nothing is changed: this only looks.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from accounts.models import Credit
from core.money import money
from payments import client, counting, invoices, metering, returned
from payments.models import Customer, Invoice, MeterReport, Refund, Subscription, TopUp, Verification

# By then a webhook or the reading of Stripe's list of events has brought what happened.
KNOWN_AFTER = dt.timedelta(minutes=30)
CLOCKS = dt.timedelta(hours=1)  # by which Stripe's clock and ours may differ, amply


@dataclass
class Found:
    """What one look found: a line for each thing."""

    differences: list[str] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)


def month_of(first: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Return when a month begins and ends (UTC)."""
    since = dt.datetime(first.year, first.month, 1, tzinfo=dt.UTC)
    return since, (since + dt.timedelta(days=32)).replace(day=1)


def verify(months: list[dt.date]) -> Found:
    """Compare each customer's months, keep what was found for operators, and return it.

    Raise what `client.errors` raises.
    """
    found = Found()
    for first in months:
        since, until = month_of(first)
        for customer in Customer.objects.select_related("account").order_by("pk"):
            Month(found, customer, since, until).verify()
        returned_in(found, since, until)
    lines = {"differences": "\n".join(found.differences), "under_way": "\n".join(found.under_way)}
    told = ", ".join(f"{first:%Y-%m}" for first in months)
    Verification.objects.update_or_create(
        pk=Verification.SINGLETON_PK, defaults={"at": timezone.now(), "months": told[:200], **lines}
    )
    return found


def returned_in(found: Found, since: dt.datetime, until: dt.datetime) -> None:
    """Compare refunds and disputes, of which Stripe has lists by time alone."""

    def of(topup: TopUp) -> Month:
        return Month(found, topup.customer, since, until)

    found.checked["refunds and disputes at Stripe"] += returned.verify(
        since,
        until,
        differ=lambda topup, text: of(topup).differ(text),
        late=lambda topup, at, text: of(topup).late(at, text),
    )


@dataclass
class Month:
    """One customer's month."""

    found: Found
    customer: Customer
    since: dt.datetime
    until: dt.datetime

    def verify(self) -> None:
        self.found.checked["months of customers"] += 1
        if Subscription.objects.filter(customer=self.customer, started_at__isnull=False).exists():
            self.usage()
        self.credits()
        if self.customer.stripe_id and self.customer.deleted_at is None:
            self.payments()
            self.invoices()

    def differ(self, text: str) -> None:
        self.found.differences.append(f"{self.customer.account} {self.since:%Y-%m}: {text}")

    def on_its_way(self, text: str) -> None:
        self.found.under_way.append(f"{self.customer.account} {self.since:%Y-%m}: {text}")

    # --- what was cast ---------------------------------------------------------------------------------------------

    def usage(self) -> None:
        """The ledger's captures are what was reported, and that is what Stripe counts."""
        # Before the reports are read: Stripe's sum then has nothing that is not among them.
        hour = timezone.now().replace(minute=0, second=0, microsecond=0) + counting.HOUR
        until, counted = min(self.until, hour), 0
        asked = bool(self.customer.stripe_id) and self.customer.deleted_at is None
        if asked and until > self.since:
            counted = counting.counted_cents(str(self.customer.stripe_id), self.since, until)
        with transaction.atomic():
            # Whoever seals has these locked.
            own = list(Subscription.objects.select_for_update(no_key=True).filter(customer=self.customer))
            sealed, later = self._captured([one for one in own if one.started_at is not None])
            reports = list(self.customer.reports.filter(hour__gte=self.since, hour__lt=self.until))
        reported = sum(one.cents for one in reports)
        self.found.checked["reports"] += len(reports)
        if sealed != reported:
            self.differ(f"the ledger has {money(sealed)} sealed in reports, which come to {money(reported)}.")
        if later:
            self.on_its_way(f"{money(later)} of the ledger wait to be sealed; they are in the hour to come.")
        for one in reports:
            if one.state == MeterReport.State.FAILED:
                self.differ(f"report {one.pk} of {one.hour:%d %H:00} UTC ({money(one.cents)}) failed: {one.message}")
        if not asked:
            return  # Stripe has no sums of a customer that was deleted
        reports = [one for one in reports if not one.payer_is_gone]
        reported = sum(one.cents for one in reports)
        waiting = sum(one.cents for one in reports if one.state in MeterReport.OPEN)
        missing = reported - counted - sum(one.cents for one in reports if one.state == MeterReport.State.FAILED)
        if 0 < missing <= waiting:
            self.on_its_way(f"{money(missing)} of {money(reported)} reported are not yet in Stripe's sum.")
        elif missing > 0 or reported < counted:
            self.differ(f"{money(reported)} were reported, and Stripe counts {money(counted)}.")

    def _captured(self, subscriptions: list[Subscription]) -> tuple[int, int]:
        """Return what the ledger has in this month: that is in reports, and that is not yet."""
        sums = [0, 0]
        for one in subscriptions:
            newest = metering.newest_capture(self.customer.pk) if one.upto_entry is None else one.upto_entry
            for place, (after, upto) in enumerate(
                ((one.after_entry, one.sealed_upto_entry), (one.sealed_upto_entry, newest))
            ):
                hours: Any = metering.by_hour(one, after=after, upto=upto)
                sums[place] += sum(row["total"] for row in hours.filter(hour__gte=self.since, hour__lt=self.until))
        return sums[0], sums[1]

    # --- what was paid ---------------------------------------------------------------------------------------------

    def credits(self) -> None:
        """What we know to be paid or given back is credited, and nothing else is."""
        topups = self.customer.topups.filter(
            state=TopUp.State.SUCCEEDED, ended_at__gte=self.since, ended_at__lt=self.until
        )
        owed = {("topup", str(one.intent_id)): one.cents for one in topups}
        refunds = Refund.objects.filter(
            topup__customer=self.customer, created_at__gte=self.since, created_at__lt=self.until
        )
        ended = (Refund.State.FAILED, Refund.State.CANCELLED)
        owed |= {("refund", f"refund:{one.pk}"): -one.cents for one in refunds}
        owed |= {("refund", f"refund:{one.pk}:failed"): one.cents for one in refunds if one.state in ended}
        paid = self.customer.invoices.filter(status=invoices.PAID, usage_cents__gt=0)
        owed |= {
            ("paid", one.pk): one.usage_cents for one in paid.filter(paid_at__gte=self.since, paid_at__lt=self.until)
        }
        kinds = ("topup", "refund", "paid")
        of_month = Q(at__gte=self.since, at__lt=self.until, kind__in=kinds)
        named = Q(source__in=[source for _, source in owed])
        booked = {
            (one.kind, one.source): one for one in Credit.objects.filter(of_month | named, account=self.customer.pk)
        }
        self.found.checked["payments and refunds"] += len(owed)
        for key, cents in owed.items():
            one = booked.pop(key, None)
            if one is None:
                self.differ(f"{key[0]} {key[1]}: {money(cents)} are not credited.")
            elif one.cents != cents:
                self.differ(f"{key[0]} {key[1]}: {money(one.cents)} are credited in place of {money(cents)}.")
        for (kind, source), one in booked.items():
            if not self._known(kind, source):
                self.differ(f"{kind} {source}: {money(one.cents)} are credited, and nothing that is known paid them.")

    def _known(self, kind: str, source: str) -> bool:
        """Return whether something of another month accounts for a credit."""
        if kind == "topup":
            return self.customer.topups.filter(intent_id=source, state=TopUp.State.SUCCEEDED).exists()
        if kind == "paid":
            return self.customer.invoices.filter(pk=source, status=invoices.PAID).exists()
        refund = source.removeprefix("refund:").removesuffix(":failed")
        return Refund.objects.filter(topup__customer=self.customer, pk=refund).exists()

    def payments(self) -> None:
        """Each payment that Stripe took for a top-up is that top-up, and each top-up is one of Stripe's payments."""
        taken: dict[str, Any] = {}
        for facts in self._listed(client.client().v1.payment_intents, "data.latest_charge"):
            named = client.named_in(facts, "topup")
            if named is None or facts["status"] != "succeeded":
                continue
            if str(named) in taken:
                self.differ(f"top-up {named} was paid twice: by {taken[str(named)]} and {facts['id']}.")
            taken[str(named)] = facts["id"]
            topup = self.customer.topups.filter(pk=named).first()
            state = topup.state if topup is not None else "not known"
            if topup is not None and topup.state == TopUp.State.SUCCEEDED:
                if (topup.intent_id, topup.cents) != (facts["id"], facts["amount_received"]):
                    told = f"{money(topup.cents)} by {topup.intent_id}"
                    self.differ(
                        f"payment {facts['id']} took {money(facts['amount_received'])}; its top-up {named} has {told}."
                    )
                self._given_back(topup, facts.get("latest_charge"))
            else:
                self.late(facts["created"], f"payment {facts['id']} was taken, and its top-up {named} is {state}.")
        self.found.checked["payments at Stripe"] += len(taken)
        for topup in self.customer.topups.filter(
            state=TopUp.State.SUCCEEDED, created_at__gte=self.since + CLOCKS, ended_at__lt=self.until - CLOCKS
        ):
            if str(topup.pk) not in taken and not self._is_paid(str(topup.intent_id)):
                self.differ(f"top-up {topup.pk} is paid by {topup.intent_id}, and Stripe has no such payment.")

    def _given_back(self, topup: TopUp, charge: Any) -> None:
        """What Stripe gave back of a payment, in whichever month, is what we counted."""
        given = charge.get("amount_refunded", 0) if isinstance(charge, dict) else 0
        if given == topup.refunded_cents:
            return
        told = f"of payment {topup.intent_id} {money(given)} were given back, here {money(topup.refunded_cents)}."
        listed: Any = {"payment_intent": str(topup.intent_id), "limit": 100}
        with client.errors():
            made = [(one.id, one.created) for one in client.client().v1.refunds.list(listed).auto_paging_iter()]
        known = set(Refund.objects.filter(topup=topup).values_list("refund_id", flat=True))
        unknown = [at for name, at in made if name not in known]
        if not unknown:
            self.differ(told)
        elif not all(self.since.timestamp() <= at < self.until.timestamp() for at in unknown):
            self.late(max(unknown), told)  # those of this month are told of one by one

    def _is_paid(self, intent: str) -> bool:
        """Return whether a payment succeeded that was begun in another month."""
        try:
            with client.errors():
                return client.client().v1.payment_intents.retrieve(intent).status == "succeeded"
        except client.Missing:
            return False

    def invoices(self) -> None:
        """Each invoice is known as it is at Stripe, and bills what was reported in its time."""
        for facts in self._listed(client.client().v1.invoices):
            self.found.checked["invoices"] += 1
            known = Invoice.objects.filter(pk=facts["id"]).first()
            if known is None or known.status != facts["status"]:
                times = [one for one in facts["status_transitions"].values() if one]
                is_here = known.status if known is not None else "not known"
                self.late(
                    max(times, default=facts["created"]), f"invoice {facts['id']} is {facts['status']}, here {is_here}."
                )
            if facts["status"] not in ("draft", "void"):
                self._billed(facts)

    def _billed(self, facts: dict[str, Any]) -> None:
        with client.errors():
            lines = list(client.client().v1.invoices.line_items.list(facts["id"], {"limit": 100}).auto_paging_iter())
        for line in lines:
            if not invoices.is_usage(line):
                continue
            since, until = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (line.period.start, line.period.end))
            # Stripe is told whole seconds.
            told = counting.of_payer(self.customer.reports.all(), self.customer)
            told = told.filter(happened_at__gte=since, happened_at__lt=until)
            reported = told.exclude(state=MeterReport.State.FAILED).aggregate(sum=Sum("cents", default=0))["sum"]
            if (billed := invoices.usage_of(line)) != reported:
                time = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
                self.differ(
                    f"invoice {facts['id']} bills {money(billed)} for {time}, when {money(reported)} were reported. "
                    "What came after it was final has to be invoiced otherwise."
                )

    def _listed(self, service: Any, *expand: str) -> list[dict[str, Any]]:
        created = {"gte": int(self.since.timestamp()), "lt": int(self.until.timestamp())}
        with client.errors():
            wanted: Any = {"customer": self.customer.stripe_id, "created": created, "limit": 100}
            listed = service.list(wanted | ({"expand": list(expand)} if expand else {}))
            return [client.plain(one) for one in listed.auto_paging_iter()]

    def late(self, at: int, text: str) -> None:
        """Tell what we do not know yet, or should know by now."""
        if timezone.now() - dt.datetime.fromtimestamp(at, dt.UTC) < KNOWN_AFTER:
            self.on_its_way(text)
        else:
            self.differ(text)


def last() -> Verification | None:
    """Return what was found the last time, for operators."""
    return Verification.objects.filter(pk=Verification.SINGLETON_PK).first()
