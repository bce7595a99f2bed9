"""Billing on the wire: what requests must look like, and what answers look like. All amounts are cents."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import limits
from core.api.fields import StrictBooleanField, StrictCharField, StrictIntegerField, StrictSerializer
from payments.models import Customer, Invoice, TopUp
from payments.returning import valid_return_url

CENTS_MAX = 2**53


def return_url() -> StrictCharField:
    return StrictCharField(
        max_length=limits.URL_CHARS,
        validators=[valid_return_url],
        required=False,
        help_text="Where Stripe's page leads back to: a page of this service, or of an origin that its operator "
        "allows. Left out: the page about money.",
    )


class ToStripe(StrictSerializer):
    """A request for a page of Stripe's."""

    return_url = return_url()


class NewTopUp(StrictSerializer):
    """A request for a top-up."""

    cents = StrictIntegerField(min_value=1, max_value=CENTS_MAX)
    hosted = StrictBooleanField(
        default=False, help_text="true: paid on a page of Stripe's, at `action_url`; false: with the saved card."
    )
    return_url = return_url()


class AutoTopUp(StrictSerializer):
    """When to top up by itself, and how much."""

    below_cents = StrictIntegerField(min_value=0, max_value=CENTS_MAX)
    cents = StrictIntegerField(min_value=1, max_value=CENTS_MAX)


class BillingChange(StrictSerializer):
    """A change of how an account pays; what is left out stays."""

    auto_topup = AutoTopUp(required=False, allow_null=True, help_text="null: off.")
    low_cents = StrictIntegerField(
        min_value=1,
        max_value=CENTS_MAX,
        required=False,
        allow_null=True,
        help_text="Below how many cents the callback credit.low is sent; null: never.",
    )


# --- Answers ---------------------------------------------------------------------------------------------------


class BillingCredit(serializers.Serializer[Any]):
    """What the account may spend."""

    cap_cents = serializers.IntegerField(help_text="All that was paid or given, less what was given back.")
    held_cents = serializers.IntegerField(help_text="For casts that have not ended.")
    captured_cents = serializers.IntegerField(help_text="For casts that have.")
    remaining_cents = serializers.IntegerField(help_text="May be below 0 after a refund or a dispute.")
    low_cents = serializers.IntegerField(allow_null=True, help_text="Below how many cents `credit.low` is told.")


class CardOut(serializers.Serializer[Any]):
    """The saved card, as far as anybody but Stripe knows it."""

    brand = serializers.CharField()
    last4 = serializers.CharField()
    exp_month = serializers.IntegerField()
    exp_year = serializers.IntegerField()


class AutoTopUpOut(serializers.Serializer[Any]):
    """When the account tops up by itself, and how much."""

    below_cents = serializers.IntegerField()
    cents = serializers.IntegerField()


class AmountsOut(serializers.Serializer[Any]):
    """What a card can be charged."""

    least_cents = serializers.IntegerField()
    most_cents = serializers.IntegerField()
    step_cents = serializers.IntegerField(help_text="Amounts are multiples of it.")


class BillingProblem(serializers.Serializer[Any]):
    """Something that somebody should do."""

    code = serializers.CharField()
    detail = serializers.CharField()


class BillingOut(serializers.Serializer[Any]):
    """How the account pays, and what it has."""

    billed = serializers.BooleanField(help_text="false: casts cost no credit; an operator turns billing on.")
    mode = serializers.ChoiceField(choices=Customer.Mode.values, allow_null=True)
    currency = serializers.CharField(help_text="Three letters, as Stripe writes it.")
    decimals = serializers.IntegerField(help_text="How many digits of an amount in cents come after the point.")
    credit = BillingCredit(allow_null=True)
    credit_limit_cents = serializers.IntegerField(allow_null=True, help_text="Of mode metered.")
    card = CardOut(allow_null=True)
    auto_topup = AutoTopUpOut(allow_null=True)
    topup = AmountsOut()
    problems = BillingProblem(many=True)
    page_url = serializers.CharField(help_text="Where an owner or admin of the account does all of this by hand.")


class StripePage(serializers.Serializer[Any]):
    """A page of Stripe's, for a person."""

    url = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class TopUpOut(serializers.ModelSerializer[TopUp]):
    """Money to be taken from a card, once."""

    currency = serializers.SerializerMethodField()
    final = serializers.SerializerMethodField(help_text="Whether the state never changes any more.")
    action_url = serializers.SerializerMethodField(help_text="Where a person must go: to pay, or to confirm.")
    receipt_url = serializers.SerializerMethodField()
    code = serializers.SerializerMethodField(help_text="Stripe's, of what failed, such as card_declined.")
    decline_code = serializers.SerializerMethodField(help_text="The bank's, such as insufficient_funds.")
    message = serializers.SerializerMethodField()

    class Meta:
        model = TopUp
        fields = (
            *("id", "state", "final", "cents", "refunded_cents", "currency", "origin", "hosted", "action_url"),
            *("receipt_url", "code", "decline_code", "message", "created_at", "ended_at"),
        )

    def get_currency(self, topup: TopUp) -> str:
        from django.conf import settings

        return str(settings.BILLING_CURRENCY)

    def get_final(self, topup: TopUp) -> bool:
        return topup.state not in TopUp.OPEN

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_action_url(self, topup: TopUp) -> str | None:
        return topup.action_url if topup.state in TopUp.OPEN and topup.action_url else None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_receipt_url(self, topup: TopUp) -> str | None:
        return topup.receipt_url or None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_code(self, topup: TopUp) -> str | None:
        return topup.code or None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_decline_code(self, topup: TopUp) -> str | None:
        return topup.decline_code or None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_message(self, topup: TopUp) -> str | None:
        return topup.message or None


class TopUpPage(serializers.Serializer[Any]):
    """Top-ups, newest first."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = TopUpOut(many=True)


class InvoiceOut(serializers.ModelSerializer[Invoice]):
    """An invoice, which is Stripe's."""

    page_url = serializers.SerializerMethodField(help_text="Stripe's page, on which it is paid.")
    pdf_url = serializers.SerializerMethodField()

    class Meta:
        model = Invoice
        fields = (
            *("id", "number", "status", "usage_cents", "total_cents", "period_start", "period_end"),
            *("due_at", "paid_at", "page_url", "pdf_url", "created_at"),
        )

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_page_url(self, invoice: Invoice) -> str | None:
        return invoice.page_url or None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_pdf_url(self, invoice: Invoice) -> str | None:
        return invoice.pdf_url or None


class InvoiceList(serializers.Serializer[Any]):
    """The account's newest invoices."""

    results = InvoiceOut(many=True)
