"""The API of callbacks: endpoints and their secrets, the delivery log, and sending again."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest, require
from accounts.models import ApiKey
from casts.callbacks import acting, endpoints
from casts.callbacks.serializers import (
    EndpointChange,
    EndpointList,
    EndpointMade,
    EndpointOut,
    Logged,
    LoggedPage,
    NewEndpoint,
    Rotation,
    Secrets,
    detail_out,
    endpoint_out,
    log_out,
    secrets_out,
)
from casts.errors import CallbackNotFound, EndpointNotFound
from casts.models import ABOUT_ACCOUNTS, READS_ACCOUNTS, Callback, CallbackEndpoint, CallbackType, usual_types
from core.api.filters import Filter, filtered, parameters_of
from core.api.pagination import NewestFirst
from core.errors import BadQuery, Forbidden

NO_STORE = {"Cache-Control": "no-store"}
OUR_ID = re.compile(r"(ep|msg)_[0-9a-f]{32}")  # anything else does not reach the database


class CallbackPages(NewestFirst):
    """Newest first; ids sort by time."""

    def check_position(self, text: str) -> None:
        if not OUR_ID.fullmatch(text):
            raise ValueError(text)


def endpoint_of(key: ApiKey, endpoint_id: str) -> CallbackEndpoint:
    endpoints = key.account.callback_endpoints.filter(deleted_at=None)
    found = endpoints.filter(pk=endpoint_id).first() if OUR_ID.fullmatch(endpoint_id) else None
    if found is None:
        raise EndpointNotFound(f"There is no endpoint {endpoint_id[:64]} in this account.")
    return found


def log_of(key: ApiKey) -> QuerySet[Any]:
    """Return tests, the messages about casts of this key's spells, and those about the account if it may read that."""
    ours = Callback.objects.filter(account=key.account_id)
    if READS_ACCOUNTS not in key.scopes:
        ours = ours.filter(event=None)
    return ours if key.spell_keys is None else ours.filter(Q(cast=None) | Q(cast__spell__key__in=key.spell_keys))


def check_types(key: ApiKey, types: list[str]) -> None:
    """Raise Forbidden unless the key may read what messages of these types hold."""
    if named := sorted(set(types) & set(ABOUT_ACCOUNTS)):
        require(key, READS_ACCOUNTS, f"Messages of the type {named[0]} tell of the account's money.")


def callback_of(key: ApiKey, callback_id: str) -> Callback:
    log = log_of(key).select_related("endpoint")
    found: Callback | None = log.filter(pk=callback_id).first() if OUR_ID.fullmatch(callback_id) else None
    if found is None:
        raise CallbackNotFound(f"There is no callback {callback_id[:64]} in this account.")
    return found


class Endpoints(APIView):
    scopes = {"GET": "callbacks", "POST": "callbacks"}

    @extend_schema(operation_id="list_callback_endpoints", responses={200: EndpointList})
    def get(self, request: ApiRequest) -> Response:
        """The addresses that are called when a cast of the account ends, or something happens to the account."""
        endpoints = request.auth.account.callback_endpoints.filter(deleted_at=None)
        return Response({"results": [endpoint_out(endpoint) for endpoint in endpoints]})

    @extend_schema(operation_id="create_callback_endpoint", request=NewEndpoint, responses={201: EndpointMade})
    def post(self, request: ApiRequest) -> Response:
        """Have an address called when casts end, or of what happens to the account. The secret verifies the calls."""
        body = NewEndpoint(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = {"types": usual_types(), **body.validated_data}
        check_types(request.auth, wanted["types"])
        # Whoever says where messages go gets no more from them than the key may read.
        wanted |= {"contents": "casts:read" in request.auth.scopes, "spell_keys": request.auth.spell_keys}
        endpoint = acting.add(request.user, request.auth.account, **wanted)
        shown = endpoint_out(endpoint) | {"secret": endpoint.secrets[0]}
        return Response(shown, status=201, headers=NO_STORE)


class OneEndpoint(APIView):
    scopes = {"GET": "callbacks", "PATCH": "callbacks", "DELETE": "callbacks"}

    @extend_schema(operation_id="get_callback_endpoint", responses={200: EndpointOut})
    def get(self, request: ApiRequest, endpoint_id: str) -> Response:
        """One endpoint."""
        return Response(endpoint_out(endpoint_of(request.auth, endpoint_id)))

    @extend_schema(operation_id="change_callback_endpoint", request=EndpointChange, responses={200: EndpointOut})
    def patch(self, request: ApiRequest, endpoint_id: str) -> Response:
        """Change an endpoint, stop it, or start it again. What is still to be sent goes to the new address."""
        endpoint = endpoint_of(request.auth, endpoint_id)
        body = EndpointChange(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        check_types(request.auth, list(set(body.validated_data.get("types", ())) - set(endpoint.types)))
        if body.validated_data.get("url", endpoint.url) != endpoint.url and not endpoint.may_be_led_by(request.auth):
            raise Forbidden(
                "This endpoint is sent what your key may not read, so your key can't change its url. Use one that has "
                "the scope casts:read, and budget:read where it is told of the account, and is for the endpoint's "
                "spells; or make another endpoint."
            )
        acting.change(request.user, endpoint, **body.validated_data)
        return Response(endpoint_out(endpoint_of(request.auth, endpoint_id)))

    @extend_schema(operation_id="delete_callback_endpoint", responses={204: None})
    def delete(self, request: ApiRequest, endpoint_id: str) -> Response:
        """Delete an endpoint; the log of what was sent there stays."""
        acting.delete(request.user, endpoint_of(request.auth, endpoint_id))
        return Response(status=204)


class EndpointSecret(APIView):
    scopes = {"GET": "callbacks"}

    @extend_schema(operation_id="get_callback_endpoint_secret", responses={200: Secrets})
    def get(self, request: ApiRequest, endpoint_id: str) -> Response:
        """What messages to this endpoint are signed with."""
        return Response(secrets_out(endpoint_of(request.auth, endpoint_id).secrets), headers=NO_STORE)


class RotateEndpointSecret(APIView):
    scopes = {"POST": "callbacks"}

    @extend_schema(operation_id="rotate_callback_endpoint_secret", request=Rotation, responses={200: Secrets})
    def post(self, request: ApiRequest, endpoint_id: str) -> Response:
        """Make a new secret; the one before signs as well, until the next rotation or `drop_old`."""
        endpoint = endpoint_of(request.auth, endpoint_id)
        body = Rotation(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(secrets_out(acting.rotate(request.user, endpoint, **body.validated_data)), headers=NO_STORE)


class TestEndpoint(APIView):
    scopes = {"POST": "callbacks"}

    @extend_schema(operation_id="test_callback_endpoint", request=None, responses={202: Logged})
    def post(self, request: ApiRequest, endpoint_id: str) -> Response:
        """Send the endpoint a message of the type `endpoint.test`, whatever types it names; it is tried once."""
        callback = acting.test(request.user, endpoint_of(request.auth, endpoint_id))
        return Response(detail_out(request.auth, callback), status=202)


class AccountSecret(APIView):
    scopes = {"GET": "keys"}

    @extend_schema(operation_id="get_callback_secret", responses={200: Secrets})
    def get(self, request: ApiRequest) -> Response:
        """What calls to a cast's own callback_url are signed with."""
        return Response(secrets_out(endpoints.secrets_of(request.auth.account)), headers=NO_STORE)


class RotateAccountSecret(APIView):
    scopes = {"POST": "keys"}

    @extend_schema(operation_id="rotate_callback_secret", request=Rotation, responses={200: Secrets})
    def post(self, request: ApiRequest) -> Response:
        """Make a new secret; the one before signs as well, until the next rotation or `drop_old`."""
        body = Rotation(data=request.data)
        body.is_valid(raise_exception=True)
        secrets = acting.rotate_account(request.user, request.auth.account, **body.validated_data)
        return Response(secrets_out(secrets), headers=NO_STORE)


def by_cast(name: str, value: str) -> Q:
    try:
        return Q(cast=uuid.UUID(value))
    except ValueError as exc:
        raise BadQuery(f"cast is a cast's id; not {value[:64]!r}.") from exc


def by_endpoint(name: str, value: str) -> Q:
    if not OUR_ID.fullmatch(value):
        raise BadQuery(f"endpoint is an endpoint's id (ep_...); not {value[:64]!r}.")
    return Q(endpoint=value)


def by_state(name: str, value: str) -> Q:
    if value not in Callback.State.values:
        raise BadQuery(f"state is one of {', '.join(Callback.State.values)}; not {value[:64]!r}.")
    return Q(state=value)


def by_type(name: str, value: str) -> Q:
    if value not in CallbackType.values:
        raise BadQuery(f"type is one of {', '.join(CallbackType.values)}; not {value[:64]!r}.")
    return Q(type=value)


FILTERS = [
    Filter(OpenApiParameter("cast", uuid.UUID), by_cast),
    Filter(OpenApiParameter("endpoint", str), by_endpoint),
    Filter(OpenApiParameter("state", str, enum=Callback.State.values), by_state),
    Filter(OpenApiParameter("type", str, enum=CallbackType.values), by_type),
]


class Callbacks(APIView):
    scopes = {"GET": "callbacks"}

    @extend_schema(
        operation_id="list_callbacks",
        parameters=parameters_of(FILTERS),
        responses={200: LoggedPage},
    )
    def get(self, request: ApiRequest) -> Response:
        """The delivery log: what was and will be sent, newest first."""
        log = filtered(log_of(request.auth), request, FILTERS, text=False)
        pages = CallbackPages()
        page: list[Callback] = pages.paginate_queryset(log, request, view=self) or []
        return pages.get_paginated_response(log_out(request.auth, page))


class OneCallback(APIView):
    scopes = {"GET": "callbacks"}

    @extend_schema(operation_id="get_callback", responses={200: Logged})
    def get(self, request: ApiRequest, callback_id: str) -> Response:
        """One message, with every try to deliver it."""
        return Response(detail_out(request.auth, callback_of(request.auth, callback_id)))


class ReplayCallback(APIView):
    scopes = {"POST": "callbacks"}

    @extend_schema(operation_id="replay_callback", request=None, responses={202: Logged})
    def post(self, request: ApiRequest, callback_id: str) -> Response:
        """Send a message again, now, with the same webhook-id; its schedule begins anew."""
        callback = acting.send_again(request.user, callback_of(request.auth, callback_id))
        return Response(detail_out(request.auth, callback), status=202)
