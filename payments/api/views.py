"""How an account pays over the API: cards, top-ups, invoices. Stripe's pages do what needs a person."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest
from core import limits
from core.api.filters import Filter, filtered, parameters_of
from core.api.pagination import NewestFirst
from core.errors import BadQuery, Malformed
from core.urls import absolute
from payments import customers, overview, paying
from payments.api.serializers import (
    BillingChange,
    BillingOut,
    InvoiceList,
    InvoiceOut,
    NewTopUp,
    StripePage,
    TopUpOut,
    TopUpPage,
    ToStripe,
)
from payments.errors import TopUpNotFound
from payments.models import Invoice, TopUp
from payments.returning import money_page

KEY_FORMAT = re.compile(rf"[\x21-\x7e]{{1,{limits.IDEMPOTENCY_KEY_CHARS}}}")  # visible ASCII
ONCE = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="A text of your own: repeated, it is one top-up."
)


class BillingView(APIView):
    """Where billing is off there is nothing of it, whatever the key may do."""

    scopes: dict[str, str]

    def check_permissions(self, request: Any) -> None:
        if request.method in self.scopes:  # others are answered with 405
            paying.check_on()
        super().check_permissions(request)


def billing_out(request: ApiRequest) -> Any:
    account = request.auth.account
    return BillingOut(overview.of(account, customers.of(account))).data


class Billing(BillingView):
    scopes = {"GET": "billing", "PATCH": "billing"}

    @extend_schema(operation_id="get_billing", responses={200: BillingOut})
    def get(self, request: ApiRequest) -> Response:
        """How the account pays, what it has, and what somebody should do about it."""
        return Response(billing_out(request))

    @extend_schema(operation_id="change_billing", request=BillingChange, responses={200: BillingOut})
    def patch(self, request: ApiRequest) -> Response:
        """Have the account top up by itself, or no longer, which also starts it again; and say when credit is low."""
        body = BillingChange(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        customer = paying.customer_of(request.auth.account)
        if "auto_topup" in body.validated_data:
            wanted = body.validated_data["auto_topup"] or {"below_cents": None, "cents": None}
            if len(wanted) < 2:  # a partial update asks for no field, but these two belong together
                raise serializers.ValidationError({"auto_topup": ["Give below_cents and cents, or null."]})
            paying.set_auto(request.user, customer, **wanted)
        if "low_cents" in body.validated_data:
            paying.set_low(request.user, customer, body.validated_data["low_cents"])
        return Response(billing_out(request))


class Setup(BillingView):
    scopes = {"POST": "billing"}

    @extend_schema(operation_id="set_up_card", request=ToStripe, responses={201: StripePage})
    def post(self, request: ApiRequest) -> Response:
        """A page of Stripe's on which a person saves a card, or another one. No card's number ever comes here."""
        body = ToStripe(data=request.data)
        body.is_valid(raise_exception=True)
        customer = paying.customer_of(request.auth.account)
        back = body.validated_data.get("return_url") or money_page(customer.account_id, back="card")
        setup = paying.save_card(request.user, customer, return_url=back)
        return Response({"url": setup.url, "expires_at": setup.expires_at}, status=201)


class Portal(BillingView):
    scopes = {"POST": "billing"}

    @extend_schema(operation_id="open_billing_portal", request=ToStripe, responses={201: StripePage})
    def post(self, request: ApiRequest) -> Response:
        """A page of Stripe's with the account's invoices, receipts and card, for a person. It opens for minutes."""
        body = ToStripe(data=request.data)
        body.is_valid(raise_exception=True)
        customer = paying.customer_of(request.auth.account)
        back = body.validated_data.get("return_url") or money_page(customer.account_id)
        return Response(
            {"url": paying.open_portal(request.user, customer, return_url=back), "expires_at": None}, status=201
        )


def by_state(name: str, value: str) -> Q:
    if value not in TopUp.State.values:
        raise BadQuery(f"state is one of {', '.join(TopUp.State.values)}; not {value[:64]!r}.")
    return Q(state=value)


FILTERS = [Filter(OpenApiParameter("state", str, enum=TopUp.State.values), by_state)]


class TopUps(BillingView):
    scopes = {"GET": "billing", "POST": "billing"}

    @extend_schema(operation_id="list_topups", parameters=parameters_of(FILTERS), responses={200: TopUpPage})
    def get(self, request: ApiRequest) -> Response:
        """The account's top-ups, newest first."""
        found = filtered(TopUp.objects.filter(customer=request.auth.account_id), request, FILTERS, text=False)
        pages = NewestFirst()
        page: list[TopUp] = pages.paginate_queryset(found, request, view=self) or []
        return pages.get_paginated_response(TopUpOut(page, many=True).data)

    @extend_schema(operation_id="create_topup", parameters=[ONCE], request=NewTopUp, responses={201: TopUpOut})
    def post(self, request: ApiRequest) -> Response:
        """Take money from the saved card, or have it paid on Stripe's page. A card that is declined is no error: see
        the top-up's state."""
        key = request_key(request)
        body = NewTopUp(data=request.data)
        body.is_valid(raise_exception=True)
        customer = paying.customer_of(request.auth.account)
        wanted = {"return_url": "", **body.validated_data}
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest() if key else ""
        wanted["return_url"] = wanted["return_url"] or money_page(customer.account_id, back="topup")
        topup, replayed = paying.top_up(request.user, customer, **wanted, key=key, digest=digest)
        headers = {"Location": absolute(f"/api/v1/billing/topups/{topup.pk}")}
        return Response(
            TopUpOut(topup).data, status=201, headers=headers | ({"Idempotent-Replayed": "true"} if replayed else {})
        )


def request_key(request: ApiRequest) -> str:
    """Return the request's Idempotency-Key, blank without one; raise Malformed, also if the account requires one."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if request.auth.account.require_idempotency_key:
            raise Malformed("This account requires an Idempotency-Key header: a new one for each top-up you mean.")
        return ""
    if not KEY_FORMAT.fullmatch(key):
        raise Malformed(
            f"An Idempotency-Key is 1 to {limits.IDEMPOTENCY_KEY_CHARS} visible ASCII characters, without spaces; "
            "a UUID is good."
        )
    return key


def topup_of(request: ApiRequest, topup_id: str) -> TopUp:
    """Raise TopUpNotFound."""
    try:
        return TopUp.objects.get(pk=uuid.UUID(topup_id), customer=request.auth.account_id)
    except (ValueError, TopUp.DoesNotExist):
        raise TopUpNotFound(f"There is no top-up {topup_id[:64]!r} in this account.") from None


class OneTopUp(BillingView):
    scopes = {"GET": "billing"}

    @extend_schema(operation_id="get_topup", responses={200: TopUpOut})
    def get(self, request: ApiRequest, topup_id: str) -> Response:
        """One top-up."""
        return Response(TopUpOut(topup_of(request, topup_id)).data)


class CancelTopUp(BillingView):
    scopes = {"POST": "billing"}

    @extend_schema(operation_id="cancel_topup", request=None, responses={200: TopUpOut})
    def post(self, request: ApiRequest, topup_id: str) -> Response:
        """Close the page on which a top-up is paid. One that was paid before has succeeded; one that ended stays."""
        return Response(TopUpOut(paying.cancel_top_up(request.user, topup_of(request, topup_id))).data)


class Invoices(BillingView):
    scopes = {"GET": "billing"}

    @extend_schema(operation_id="list_invoices", responses={200: InvoiceList})
    def get(self, request: ApiRequest) -> Response:
        """The account's newest invoices, as Stripe tells of them."""
        found = Invoice.objects.filter(customer=request.auth.account_id)[: limits.INVOICES_SHOWN]
        return Response({"results": InvoiceOut(found, many=True).data})
