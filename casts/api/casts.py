"""The API's blocking views: read the request, call one function, write the answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db.models import Value
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest
from casts.access import visible_cast
from casts.api.serializers import CastLine, CastPage, CastRequest
from casts.casting import castable
from casts.errors import CastNotFinal
from casts.lifecycle import idempotency, moves
from casts.links import cast_url
from casts.models import Cast, CastStatus
from casts.representation import cast_answer, cast_out, casts_out
from casts.spells.inputs import checked_input
from core.api.openapi import PROBLEMS
from core.api.pagination import CastPages, once_each
from core.db.documents import TextAt
from core.errors import BadQuery

WAIT = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: answer when the cast ends, or after N (1 to 60) seconds.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="An earlier answer's ETag: if nothing changed, 304."
)
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="Casts once, however often the request is repeated."
)


def replayed(request: ApiRequest, *, route: str, payload: Any, status: int) -> Response | None:
    """Return the answer that the first request with this Idempotency-Key had, None if this is the first."""
    account = request.auth.account
    body = idempotency.replay(account, route, idempotency.key_of(request.headers, account), payload)
    return None if body is None else cast_answered(body, status=status, replay=True)


def accepted(request: ApiRequest, *, route: str, payload: Any, accept: Callable[..., Cast], status: int) -> Response:
    """Accept a cast once per Idempotency-Key and answer with it."""
    account = request.auth.account
    key = idempotency.key_of(request.headers, account)
    body, replay = idempotency.once(
        account=account, route=route, key=key, payload=payload, accept=accept, answer=cast_out
    )
    return cast_answered(body, status=status, replay=replay)


def cast_answered(body: dict[str, Any], *, status: int, replay: bool) -> Response:
    """Return the answer to a request that made a cast, now or when it came first."""
    headers = {"Location": cast_url(body["cast_id"])} | ({"Idempotent-Replayed": "true"} if replay else {})
    return Response(body, status=status, headers=headers)


class CreateCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(
        operation_id="cast",
        request=CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: CastLine, **PROBLEMS},
    )
    def post(self, request: ApiRequest) -> Response:
        """Cast a spell. Answers at once; the run starts behind it."""
        if (answer := replayed(request, route="cast", payload=request.data, status=201)) is not None:
            return answer
        body = CastRequest(data=request.data)
        body.is_valid(raise_exception=True)
        wanted: dict[str, Any] = dict(body.validated_data)
        spell = castable(request.auth, wanted.pop("spell_key"))
        wanted["input"] = checked_input(spell, wanted["input"])
        return accepted(
            request,
            route="cast",
            payload=request.data,
            accept=lambda first: moves.accept(api_key=request.auth, spell=spell, first=first, **wanted),
            status=201,
        )


class Casts(CreateCast):
    scopes = {"POST": "casts:write", "GET": "casts:read"}

    @extend_schema(
        operation_id="create_cast",
        request=CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: CastLine, **PROBLEMS},
    )
    def post(self, request: ApiRequest) -> Response:
        """Cast a spell; the same as POST /api/v1/cast."""
        return super().post(request)

    @extend_schema(
        operation_id="list_casts",
        parameters=[
            OpenApiParameter("status", str, enum=CastStatus.values),
            OpenApiParameter("spell_key", str),
            OpenApiParameter("created_after", str, description="RFC 3339"),
            OpenApiParameter("created_before", str, description="RFC 3339"),
            OpenApiParameter("metadata.KEY", str, description="Casts whose metadata has this value under KEY."),
            OpenApiParameter("cursor", str),
            OpenApiParameter("page_size", int),
        ],
        responses={200: CastPage, **PROBLEMS},
    )
    def get(self, request: ApiRequest) -> Response:
        """List the account's casts, newest first."""
        casts = self.filtered(request).only("id")
        pages = CastPages()
        page: list[Cast] = pages.paginate_queryset(casts, request, view=self) or []
        return pages.get_paginated_response(casts_out([cast.pk for cast in page]))

    def filtered(self, request: ApiRequest) -> Any:
        """Apply the query's filters; raise BadQuery, naming the parameter, for what can't be used."""
        casts = Cast.objects.of(request.auth.account)
        for name, value in once_each(request).items():
            if "\0" in name + value:
                raise BadQuery("A query can't hold NUL characters.")
            if name == "status":
                if value not in CastStatus.values:
                    raise BadQuery(f"status is one of {', '.join(CastStatus.values)}; not {value!r}.")
                casts = casts.filter(status=value)
            elif name == "spell_key":
                casts = casts.filter(spell__key=value)
            elif name in ("created_after", "created_before"):
                moment = parse_moment(name, value)
                casts = casts.filter(**{f"created_at__{'gte' if name == 'created_after' else 'lt'}": moment})
            elif name.startswith("metadata."):
                casts = casts.filter(Exact(TextAt("metadata", name.removeprefix("metadata.")), Value(value)))
            elif name not in ("cursor", "page_size"):
                known = "status, spell_key, created_after, created_before, metadata.KEY, cursor and page_size"
                raise BadQuery(f"There is no filter {name!r}; use {known}.")
        return casts


def parse_moment(name: str, value: str) -> dt.datetime:
    """Return a time from a query, in UTC; raise BadQuery."""
    with suppress(ValueError, OverflowError):
        moment = parse_datetime(value.replace(" ", "+"))  # a plus sign in a query reads as a space
        if moment is not None and timezone.is_aware(moment):
            return moment.astimezone(dt.UTC)
    raise BadQuery(f"{name} is a time with a zone, such as 2026-11-23T10:00:00Z; not {value!r}.")


class OneCast(APIView):
    scopes = {"GET": "casts:read"}

    @extend_schema(
        operation_id="get_cast", parameters=[WAIT, IF_NONE_MATCH], responses={200: CastLine, 304: None, **PROBLEMS}
    )
    def get(self, request: ApiRequest, cast_id: str) -> Response:
        """One cast, with its output, error and artifacts."""
        cast = visible_cast(cast_id, of=request.auth.account)
        return cast_answer(cast, request.headers.get("If-None-Match", ""))


class CancelCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(operation_id="cancel_cast", request=None, responses={202: CastLine, **PROBLEMS})
    def post(self, request: ApiRequest, cast_id: str) -> Response:
        """Cancel a cast. At once if it was not sent yet, else its run is asked to end; may be repeated."""
        cast = visible_cast(cast_id, of=request.auth.account)
        return Response(cast_out(moves.cancel(cast.pk)), status=202)


class RetryCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(
        operation_id="retry_cast", request=None, parameters=[WAIT, IDEMPOTENCY], responses={202: CastLine, **PROBLEMS}
    )
    def post(self, request: ApiRequest, cast_id: str) -> Response:
        """Cast the same again: a new cast, with its own price, and `retry_of`."""
        before = visible_cast(cast_id, of=request.auth.account)
        if (answer := replayed(request, route=f"retry:{before.pk}", payload={}, status=202)) is not None:
            return answer
        if not before.final:
            raise CastNotFinal("This cast has not ended yet. Cancel it first, or wait for its end.")
        spell = castable(request.auth, before.spell.key)
        return accepted(
            request,
            route=f"retry:{before.pk}",
            payload={},
            accept=lambda first: moves.accept(
                api_key=request.auth,
                spell=spell,
                input=checked_input(spell, before.input),
                metadata=before.metadata,
                callback_url=before.callback_url,
                retry_of=before,
                first=first,
            ),
            status=202,
        )
