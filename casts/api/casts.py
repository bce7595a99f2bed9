"""The API's blocking views: read the request, call one function, write the answer."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest, require
from accounts.principals import Principal
from casts import acting
from casts.access import changeable_by, of_spells, readable_by, served_by
from casts.api.cast_serializers import CastOut, CastPage, CastPlaced, CastRequest
from casts.casting import Accepted, CastOrder, check, place, repeated
from casts.lifecycle import idempotency
from casts.lifecycle.idempotency import Once
from casts.links import cast_url
from casts.live import placing
from casts.models import Cast, CastStatus, MetadataMark, mark_of
from casts.representation import accepted_out, cast_answer, casts_out, shown_to, stored_bytes
from core.api.fields import validated
from core.api.filters import Filter, filtered, parameters_of, query_time
from core.api.pagination import NewestFirst, once_each
from core.errors import BadQuery
from core.ids import first_id

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
ID_FOLLOWS = dt.timedelta(minutes=1)  # at most, after `created_at`: both are read from the clock in one breath
LATEST = dt.datetime.max.replace(tzinfo=dt.UTC) - ID_FOLLOWS


def by_status(name: str, value: str) -> Q:
    if value not in CastStatus.values:
        raise BadQuery(f"status is one of {', '.join(CastStatus.values)}; not {value!r}.")
    return Q(status=value)


def marks_in(request: ApiRequest) -> list[int]:
    """Return what finds the casts that have a query's metadata."""
    named = {k.removeprefix("metadata."): v for k, v in once_each(request).items() if k.startswith("metadata.")}
    return [mark_of(request.auth.account_id, name, value) for name, value in named.items()]


def created_after(name: str, value: str) -> Q:
    at = query_time(name, value)
    return Q(created_at__gte=at, pk__gte=first_id(at))  # an id is made with its cast: they are in one order


def created_before(name: str, value: str) -> Q:
    at = query_time(name, value)
    last = min(at, LATEST) + ID_FOLLOWS
    return Q(created_at__lt=at, pk__lt=first_id(last))


FILTERS = [
    Filter(OpenApiParameter("status", str, enum=CastStatus.values), by_status),
    Filter(OpenApiParameter("spell_key", str), lambda name, value: of_spells([value])),
    Filter(OpenApiParameter("created_after", str, description="RFC 3339"), created_after),
    Filter(OpenApiParameter("created_before", str, description="RFC 3339"), created_before),
    Filter(
        OpenApiParameter("metadata.KEY", str, description="Casts whose metadata has this value under KEY."),
        lambda name, value: Q(),  # of the account's own casts: see `marks_in`
    ),
]


def once_of(request: ApiRequest, *, route: str, payload: Any) -> Once | None:
    return idempotency.once_of(request.headers, request.auth.account, route=route, payload=payload)


def placed(request: ApiRequest, accepted: Accepted, *, status: int) -> Response:
    return told(Response(status=status), request.user, accepted)


def told(response: Response, principal: Principal, accepted: Accepted) -> Response:
    """Fill in the answer to who has placed a cast."""
    response.data = accepted_out(principal, accepted.body)
    response.headers["Location"] = cast_url(accepted.body["cast_id"])
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


class CreateCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(
        operation_id="cast",
        request=CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: CastPlaced},
    )
    def post(self, request: ApiRequest) -> Response:
        """Cast a spell. Answers at once; the run starts behind it.

        An input that does not fit the spell's schema, or that its workflow is known not to take, is refused with 422
        and all places in `errors`; one that is more than a workflow can be handed with 413.
        """
        once = once_of(request, route="cast", payload=request.data)
        if (before := repeated(once, request.auth)) is not None:  # even if such a body would be refused today
            return placed(request, before, status=201)
        order = CastOrder.of_key(request.auth, principal=request.user, **validated(CastRequest, request.data))
        if not placing.serve(request):
            return placed(request, place(order, once), status=201)
        checked = check(order, once)
        if isinstance(checked, Accepted):
            return placed(request, checked, status=201)
        return placing.ToBePlaced(checked, partial(told, principal=request.user), status=201)


class Casts(CreateCast):
    scopes = {"POST": "casts:write", "GET": "casts:read"}

    @extend_schema(
        operation_id="create_cast",
        request=CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: CastPlaced},
    )
    def post(self, request: ApiRequest) -> Response:
        """Cast a spell; the same as POST /api/v1/cast."""
        return super().post(request)

    @extend_schema(
        operation_id="list_casts",
        parameters=parameters_of(FILTERS),
        responses={200: CastPage},
    )
    def get(self, request: ApiRequest) -> Response:
        """List the account's casts of the spells that the key is for, newest first."""
        casts = filtered(served_by(request.auth, Cast.objects.all()), request, FILTERS, text=True).only("id")
        for mark in marks_in(request):
            # Not as a join, for which SQLite would look at each of the account's casts.
            casts = casts.filter(pk__in=MetadataMark.objects.filter(mark=mark).values("cast"))
        casts = casts.annotate(stored_bytes=stored_bytes())
        pages = NewestFirst()
        page: list[Cast] = pages.paginate_queryset(casts, request, view=self) or []
        return pages.get_paginated_response(casts_out([cast.pk for cast in page]))


class OneCast(APIView):
    scopes = {"GET": "casts:read"}

    @extend_schema(operation_id="get_cast", parameters=[WAIT, IF_NONE_MATCH], responses={200: CastOut, 304: None})
    def get(self, request: ApiRequest, cast_id: str) -> Response:
        """One cast, with its output, error and artifacts."""
        cast = readable_by(request.user, cast_id)
        return cast_answer(request.user, cast, request.headers.get("If-None-Match", ""))


class CancelCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(operation_id="cancel_cast", request=None, responses={202: CastPlaced})
    def post(self, request: ApiRequest, cast_id: str) -> Response:
        """Cancel a cast. At once if it was not sent yet, else its run is asked to end; may be repeated."""
        cast = changeable_by(request.user, cast_id)
        return Response(shown_to(request.user, acting.cancel(request.user, cast)), status=202)


class CastLinks(APIView):
    scopes = {"DELETE": "casts:write"}

    @extend_schema(operation_id="revoke_links", responses={204: None})
    def delete(self, request: ApiRequest, cast_id: str) -> Response:
        """Revoke the cast's links: whatever was handed out before opens nothing any more, and streams it opened end."""
        require(request.auth, "casts:read")  # who reads it is for those to say who may
        cast = readable_by(request.user, cast_id)
        acting.revoke_links(request.user, cast)
        return Response(status=204)


class RetryCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(operation_id="retry_cast", request=None, parameters=[WAIT, IDEMPOTENCY], responses={202: CastPlaced})
    def post(self, request: ApiRequest, cast_id: str) -> Response:
        """Cast the same again: a new cast, with its own price, and `retry_of`."""
        before = changeable_by(request.user, cast_id)
        once = once_of(request, route=f"retry:{before.pk}", payload={})
        return placed(request, acting.again(request.user, before, once), status=202)
