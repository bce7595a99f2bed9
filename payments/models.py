"""What is known of Stripe, and what is owed to it. All amounts are in the smallest unit of BILLING_CURRENCY.

A row is stored before Stripe is asked for anything, and its id is the request's idempotency key: whoever is killed in
between, or gets no answer, asks for the same thing again.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import Account
from core.ids import uuid7
from core.money import money
from core.queue.due import DueRow

STRIPE_ID_CHARS = 255  # Source: https://docs.stripe.com/upgrades, "object IDs"
MESSAGE_CHARS = 500


class AskedRow(DueRow):
    """What Stripe is asked for under an idempotency key of its own; see payments.keys."""

    keys_spent = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    spent_at = models.DateTimeField(null=True, editable=False)  # when the present key was found to be used up

    class Meta(DueRow.Meta):
        abstract = True


class Customer(AskedRow):
    """An account as Stripe knows it, and how it pays."""

    class Mode(models.TextChoices):
        PREPAID = "prepaid", "prepaid: it tops up, and casts what it has"
        METERED = "metered", "metered: it casts up to its credit limit, and pays an invoice each month"

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="customer")
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)  # by which Stripe's customer is found again
    # Null until Stripe has answered.
    stripe_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True, editable=False)
    mode = models.CharField(max_length=7, choices=Mode, default=Mode.PREPAID)
    email = models.EmailField(blank=True, help_text="Where Stripe sends receipts and invoices.")
    # The saved card, as far as people are shown it. Stripe alone has its number.
    payment_method_id = models.CharField(max_length=STRIPE_ID_CHARS, blank=True, editable=False)
    card_brand = models.CharField(max_length=40, blank=True, editable=False)
    card_last4 = models.CharField(max_length=4, blank=True, editable=False)
    card_exp_month = models.PositiveSmallIntegerField(null=True, editable=False)
    card_exp_year = models.PositiveSmallIntegerField(null=True, editable=False)
    card_version = models.PositiveIntegerField(default=0, editable=False)  # grows with every look at Stripe
    livemode = models.BooleanField(null=True, editable=False)  # of the key that made it: real money, or Stripe's test
    first_sent_at = models.DateTimeField(null=True, editable=False)  # when Stripe was first asked to make it
    # Both or neither: top up by itself when the remaining credit falls below.
    auto_topup_below_cents = models.PositiveBigIntegerField(null=True, blank=True)
    auto_topup_cents = models.PositiveBigIntegerField(null=True, blank=True)
    auto_topup_failures = models.PositiveSmallIntegerField(default=0, editable=False)  # in a row; off after three
    auto_topup_off_reason = models.CharField(max_length=MESSAGE_CHARS, blank=True, editable=False)
    # Of a metered customer.
    credit_limit_cents = models.PositiveBigIntegerField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, editable=False)  # at Stripe
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(DueRow.Meta):
        ordering = ("account",)
        constraints = [
            models.CheckConstraint(
                condition=Q(auto_topup_below_cents=None, auto_topup_cents=None)
                | Q(auto_topup_below_cents__isnull=False, auto_topup_cents__gt=0),
                name="auto_topup_whole_or_off",
            ),
            models.CheckConstraint(
                condition=~Q(mode="metered") | Q(credit_limit_cents__isnull=False), name="metered_has_a_limit"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} ({self.stripe_id or 'not at Stripe yet'})"


class CardSetup(models.Model):
    """A page of Stripe's on which a member saves a card: a Checkout session."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="card_setups")
    session_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True)
    url = models.TextField(blank=True)
    return_url = models.CharField(max_length=2000)
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.id} of {self.customer_id}"


class TopUp(AskedRow):
    """Money to be taken from a card, once, and credited, once."""

    class State(models.TextChoices):
        NEW = "new"  # Stripe has not answered yet
        PROCESSING = "processing"
        REQUIRES_ACTION = "requires_action"  # a member must go to `action_url`
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Origin(models.TextChoices):
        MEMBER = "member"  # with the saved card, or on Stripe's page
        AUTO = "auto"
        OPERATOR = "operator"

    OPEN = (State.NEW, State.PROCESSING, State.REQUIRES_ACTION)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="topups")
    cents = models.PositiveBigIntegerField()
    refunded_cents = models.PositiveBigIntegerField(default=0)
    origin = models.CharField(max_length=8, choices=Origin)
    hosted = models.BooleanField(default=False)  # paid on a page of Stripe's; else with the saved card
    payment_method_id = models.CharField(max_length=STRIPE_ID_CHARS, blank=True)  # the card as it was saved then
    save_card = models.BooleanField(default=False)  # that it is paid with, for later; false once that is done
    state = models.CharField(max_length=15, choices=State, default=State.NEW)
    intent_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True)
    session_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True)  # of a hosted one
    # The card's bank wanted its holder, so this one is cancelled, and a page of Stripe's takes its place.
    replaced_intent_id = models.CharField(max_length=STRIPE_ID_CHARS, blank=True)
    action_url = models.TextField(blank=True)
    return_url = models.CharField(max_length=2000, blank=True)
    receipt_url = models.TextField(blank=True)
    code = models.CharField(max_length=100, blank=True)  # Stripe's, of a decline
    decline_code = models.CharField(max_length=100, blank=True)
    message = models.CharField(max_length=MESSAGE_CHARS, blank=True)
    # What an operator has to settle by hand, such as money that was taken and not credited; blank again once it is.
    to_settle = models.CharField(max_length=MESSAGE_CHARS, blank=True, default="", db_default="")
    by = models.CharField(max_length=150, blank=True)
    # A request's own Idempotency-Key; see payments.api.
    request_key = models.CharField(max_length=255, blank=True)
    request_digest = models.CharField(max_length=64, blank=True)
    first_sent_at = models.DateTimeField(null=True)  # from then on Stripe keeps the idempotency key for a day
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        verbose_name = "top-up"
        ordering = ("-id",)
        indexes = [*DueRow.Meta.indexes, models.Index(fields=["customer", "-id"], name="topup_by_customer")]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "request_key"], condition=~Q(request_key=""), name="one_topup_per_request_key"
            ),
            models.UniqueConstraint(
                fields=["customer"],
                condition=Q(origin="auto", state__in=["new", "processing", "requires_action"]),
                name="one_automatic_topup_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(refunded_cents__lte=models.F("cents")), name="no_more_refunded_than_paid"
            ),
        ]

    def __str__(self) -> str:
        return f"{money(self.cents)}, {self.state}"


class Refund(AskedRow):
    """Money of a top-up to be given back, as an operator decided."""

    class State(models.TextChoices):
        NEW = "new"
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    cents = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=MESSAGE_CHARS)
    by = models.CharField(max_length=150)
    state = models.CharField(max_length=9, choices=State, default=State.NEW)
    refund_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True)
    message = models.CharField(max_length=MESSAGE_CHARS, blank=True)
    first_sent_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{money(self.cents)}, {self.state}"


class Dispute(models.Model):
    """A cardholder's objection to a payment, as Stripe tells of it."""

    id = models.CharField(max_length=STRIPE_ID_CHARS, primary_key=True)
    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="disputes")
    cents = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=100)
    status = models.CharField(max_length=40)  # Stripe's word
    due_by = models.DateTimeField(null=True)  # for evidence
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-opened_at",)

    def __str__(self) -> str:
        return f"{self.id} {self.status}"


class Subscription(AskedRow):
    """A time in which a customer is metered: what is captured in it is reported to Stripe, and invoiced each month."""

    class State(models.TextChoices):
        NEW = "new"  # Stripe has not answered yet; nothing is reported, and no limit granted
        ACTIVE = "active"
        ENDING = "ending"  # what was captured in its time is still to be reported, and invoiced
        ENDED = "ended"

    OPEN = (State.NEW, State.ACTIVE, State.ENDING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    stripe_id = models.CharField(max_length=STRIPE_ID_CHARS, null=True, blank=True, unique=True)
    state = models.CharField(max_length=6, choices=State, default=State.NEW)
    status = models.CharField(max_length=40, blank=True)  # Stripe's word
    # Whose it is there: an account whose customer was deleted at Stripe gets another. Blank: not asked for yet.
    stripe_customer = models.CharField(max_length=STRIPE_ID_CHARS, blank=True, default="", db_default="")
    mails_invoices = models.BooleanField(default=False)  # else they are taken from the saved card
    message = models.CharField(max_length=MESSAGE_CHARS, blank=True)
    # Of the ledger: what was captured before is not its matter, up to here it is in reports, up to here it is to be.
    after_entry = models.PositiveBigIntegerField(default=0)
    sealed_upto_entry = models.PositiveBigIntegerField(default=0)
    upto_entry = models.PositiveBigIntegerField(null=True)
    refusals = models.PositiveSmallIntegerField(default=0)  # certain ones: each is followed by another key
    first_sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)  # at Stripe
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["customer"],
                condition=Q(state__in=["new", "active", "ending"]),
                name="one_subscription_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id or self.id} of {self.customer_id}, {self.state}"


class MeterReport(AskedRow):
    """What an account's casts came to in one hour, as reported to Stripe's meter, once."""

    class State(models.TextChoices):
        NEW = "new"
        SENT = "sent"  # accepted; it may still turn out to be wrong
        COUNTED = "counted"  # it is in what Stripe adds up
        DOUBTFUL = "doubtful"  # whether Stripe counted it must be looked up: see payments.metering
        FAILED = "failed"  # for an operator

    OPEN = (State.NEW, State.SENT, State.DOUBTFUL)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)  # also Stripe's `identifier`: see `name`
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="reports")
    stripe_customer = models.CharField(max_length=STRIPE_ID_CHARS, blank=True, default="", db_default="")  # its payer
    after_entry = models.PositiveBigIntegerField()  # of the ledger: it covers what comes after this one,
    upto_entry = models.PositiveBigIntegerField()  # up to this one, as far as it was captured in `hour`
    hour = models.DateTimeField()
    happened_at = models.DateTimeField()  # the last of its captures, in `hour`: what Stripe is told as its time
    cents = models.PositiveBigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.NEW)
    message = models.CharField(max_length=MESSAGE_CHARS, blank=True)
    # How often it is certain that what was sent does not count: each time it gets another name.
    refusals = models.PositiveSmallIntegerField(default=0)
    # Under its present name. From the first on Stripe may have counted it.
    first_sent_at = models.DateTimeField(null=True)
    last_sent_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)  # when Stripe said yes
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)
        indexes = [*DueRow.Meta.indexes, models.Index(fields=["customer", "hour"], name="report_by_customer")]
        constraints = [
            models.UniqueConstraint(fields=["customer", "upto_entry", "hour"], name="one_report_per_range_and_hour")
        ]

    def __str__(self) -> str:
        return f"{money(self.cents)} in {self.hour:%Y-%m-%d %H:00}"

    @property
    def payer_is_gone(self) -> bool:
        """Whether the customer at Stripe that it is for was deleted; the one made since pays for none of it."""
        now = self.customer
        return now.deleted_at is not None or self.stripe_customer not in ("", now.stripe_id)

    @property
    def name(self) -> str:
        """What Stripe knows it by, and counts once."""
        return f"{self.id}-{self.refusals}" if self.refusals else str(self.id)


class Invoice(models.Model):
    """An invoice of a metered customer, as Stripe tells of it."""

    id = models.CharField(max_length=STRIPE_ID_CHARS, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="invoices")
    number = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20)  # Stripe's word
    usage_cents = models.PositiveBigIntegerField(default=0)  # of our meter, without taxes: what is credited when paid
    total_cents = models.BigIntegerField(default=0)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    page_url = models.TextField(blank=True)
    pdf_url = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["customer", "-created_at"], name="invoice_by_customer")]

    def __str__(self) -> str:
        return self.number or self.id


class Verification(models.Model):
    """What `verifybilling` found when it was last run. There is one row."""

    SINGLETON_PK = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK)
    at = models.DateTimeField()
    months = models.CharField(max_length=200)
    differences = models.TextField(blank=True)  # a line for each
    under_way = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "verification"

    def __str__(self) -> str:
        return f"{len(self.differences.splitlines())} differences, {self.at:%Y-%m-%d %H:%M}"


class StripeEvent(DueRow):
    """An event that Stripe told us of, by webhook or when asked. Only its object's id counts: that is looked up."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPLIED = "applied"
        NOT_OURS = "not_ours"
        FAILED = "failed"

    id = models.CharField(max_length=STRIPE_ID_CHARS, primary_key=True)
    type = models.CharField(max_length=100)
    object_type = models.CharField(max_length=60, blank=True)
    object_id = models.CharField(max_length=STRIPE_ID_CHARS, blank=True)
    created = models.DateTimeField()  # at Stripe
    received_at = models.DateTimeField()
    swept = models.BooleanField(default=False)  # found by asking: no webhook brought it
    repeats = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    applied_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=MESSAGE_CHARS, blank=True)

    class Meta(DueRow.Meta):
        verbose_name = "Stripe event"
        ordering = ("-created",)
        indexes = [*DueRow.Meta.indexes, models.Index("created", name="stripe_event_by_time")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class EventSweep(DueRow):
    """How far Stripe's list of events has been read for what no webhook brought. There is one row."""

    SINGLETON_PK = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK)
    read_upto = models.DateTimeField(null=True)
    # Of the round under way, if there is one: from its beginning back to `since`, and `cursor` is read by now.
    began_at = models.DateTimeField(null=True)
    since = models.DateTimeField(null=True)
    cursor = models.CharField(max_length=STRIPE_ID_CHARS, blank=True)
    recovered = models.PositiveBigIntegerField(default=0)  # in all
    failures = models.PositiveIntegerField(default=0)  # in a row
    error = models.CharField(max_length=MESSAGE_CHARS, blank=True)  # Stripe's, the last time

    class Meta(DueRow.Meta):
        verbose_name = "sweep of Stripe's events"
        verbose_name_plural = "sweep of Stripe's events"

    def __str__(self) -> str:
        return f"Stripe's events up to {self.read_upto}"


class Books(models.Model):
    """In what money all amounts here are; see payments.books. There is one row."""

    SINGLETON_PK = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK)
    currency = models.CharField(max_length=3)
    livemode = models.BooleanField()
    noted_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "books"

    def __str__(self) -> str:
        return f"{self.currency}, {'live' if self.livemode else 'test'} mode"


def idempotency_key(row: TopUp | Refund | MeterReport | CardSetup | Customer | Subscription, of: str = "") -> str:
    """Return the key under which Stripe does a row's request once: the same whenever it is asked again.

    What was certainly refused, or failed, is asked for under another key: Stripe keeps its answer. `of`: which request,
    where a row has several.
    """
    # Accounts are numbered from 1 in every installation, and two may share a Stripe account.
    own = row.key if isinstance(row, Customer) else uuid.UUID(str(row.pk))
    spent = 0 if isinstance(row, CardSetup) else row.keys_spent
    refusals = row.refusals if isinstance(row, MeterReport | Subscription) else 0
    number = str(spent + 1) if spent else ""
    # That of a report ends in its name.
    return "-".join(filter(None, [row._meta.model_name, number, str(own), str(refusals or ""), of]))
