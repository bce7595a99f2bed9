"""The API's blocking views: read the request, call one function, write the answer."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db.models import Value
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import budget, keys
from accounts.models import Account, ApiKey
from casts.api import serializers as s
from casts.api.authentication import ApiRequest, visible_cast
from casts.lifecycle import idempotency, moves
from casts.links import cast_url
from casts.models import Cast, CastStatus, Spell
from casts.representation import cast_out, casts_out, spell_out
from core.api.etags import etag_of, is_current
from core.api.problems import CONTENT_TYPE
from core.db.documents import TextAt
from core.db.statements import Rows
from core.errors import Forbidden, SpellError
from core.urls import absolute


class SpellNotFound(SpellError):
    """No such spell for this key."""

    code, status, title = "SPELL_NOT_FOUND", 404, "Spell not found"


class BadQuery(SpellError):
    """A query parameter that can't be used."""

    code, status, title = "VALIDATION_ERROR", 422, "Not valid"


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
PROBLEMS = {(status, CONTENT_TYPE): s.Problem for status in (400, 401, 402, 403, 404, 409, 413, 415, 422)}


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


def once_each(request: Request) -> dict[str, str]:
    """Return a query's parameters; raise BadQuery for one that is there twice, of which one would be passed over."""
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise BadQuery(f"{name[:100]!r} is there {len(values)} times; name each parameter once.")
    return request.query_params.dict()


class CastPages(CursorPagination):
    """Newest first; ids sort by time."""

    ordering = "-id"
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        """Return a page. Links to the others begin with PUBLIC_URL, as all of ours do."""
        page: list[Any] = super().paginate_queryset(queryset, request, view) or []
        self.base_url = absolute(request.get_full_path())
        return page

    def get_page_size(self, request: Request) -> int:
        """Return how many to a page; raise BadQuery."""
        given = request.query_params.get("page_size", str(self.page_size))
        if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= self.max_page_size:
            raise BadQuery(f"page_size is a number from 1 to {self.max_page_size}; not {given[:20]!r}.")
        return int(given)

    def decode_cursor(self, request: Request) -> Any:
        """Return where the page begins; raise BadQuery for a cursor that we never gave."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                uuid.UUID(str(cursor.position))
        except (NotFound, ValueError) as exc:
            raise BadQuery("This cursor is not one of ours; take it from `next` or `previous` of a page.") from exc
        return cursor


SPELL = Rows(Spell, "key")


def castable(key: ApiKey, spell_key: str) -> Spell:
    """Return an active spell that this key may cast; raise SpellNotFound, or Forbidden if the key's list lacks it."""
    spell = SPELL.first(spell_key)
    if spell is not None and spell.active:
        if key.allows_spell(spell_key):
            return spell
        raise Forbidden(f"This API key may not cast {spell_key!r}; it may cast {', '.join(key.spell_keys or [])}.")
    raise SpellNotFound(f"There is no active spell {spell_key!r}. GET /api/v1/spells lists what this key may cast.")


class CreateCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(
        operation_id="cast",
        request=s.CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: s.CastLine, **PROBLEMS},
    )
    def post(self, request: ApiRequest) -> Response:
        """Cast a spell. Answers at once; the run starts behind it."""
        if (answer := replayed(request, route="cast", payload=request.data, status=201)) is not None:
            return answer
        body = s.CastRequest(data=request.data)
        body.is_valid(raise_exception=True)
        wanted: dict[str, Any] = dict(body.validated_data)
        spell = castable(request.auth, wanted.pop("spell_key"))
        wanted["input"] = s.checked_input(spell, wanted["input"])
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
        request=s.CastRequest,
        parameters=[WAIT, IDEMPOTENCY],
        responses={201: s.CastLine, **PROBLEMS},
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
        responses={200: s.CastPage, **PROBLEMS},
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
        operation_id="get_cast", parameters=[WAIT, IF_NONE_MATCH], responses={200: s.CastLine, 304: None, **PROBLEMS}
    )
    def get(self, request: ApiRequest, cast_id: str) -> Response:
        """One cast, with its output, error and artifacts."""
        cast = visible_cast(cast_id, of=request.auth.account)
        return cast_answer(cast, request.headers.get("If-None-Match", ""))


def cast_answer(cast: Cast, if_none_match: str = "", status: int = 200) -> Response:
    """Return a cast with its ETag, or 304. Links in it are signed anew each time, so they don't count."""
    shown = cast_out(cast)
    steady = {k: v for k, v in shown.items() if not k.endswith("_url") and k != "artifacts"}
    steady["files"] = [{k: v for k, v in a.items() if k != "url"} for a in shown["artifacts"]]
    etag = etag_of(json.dumps(steady, sort_keys=True).encode())
    if is_current(if_none_match, etag):
        return Response(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
    return Response(shown, status=status, headers={"ETag": etag, "Cache-Control": "private, no-cache"})


class CancelCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(operation_id="cancel_cast", request=None, responses={202: s.CastLine, **PROBLEMS})
    def post(self, request: ApiRequest, cast_id: str) -> Response:
        """Cancel a cast. At once if it was not sent yet, else GitHub is asked; may be repeated."""
        cast = visible_cast(cast_id, of=request.auth.account)
        return Response(cast_out(moves.cancel(cast.pk)), status=202)


class RetryCast(APIView):
    scopes = {"POST": "casts:write"}

    @extend_schema(
        operation_id="retry_cast", request=None, parameters=[WAIT, IDEMPOTENCY], responses={202: s.CastLine, **PROBLEMS}
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
                input=s.checked_input(spell, before.input),
                metadata=before.metadata,
                callback_url=before.callback_url,
                retry_of=before,
                first=first,
            ),
            status=202,
        )


class CastNotFinal(SpellError):
    """The cast is still open."""

    code, status, title = "CAST_NOT_FINAL", 409, "Cast has not ended"


class Spells(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(operation_id="list_spells", responses={200: s.SpellList, **PROBLEMS})
    def get(self, request: ApiRequest) -> Response:
        """What this key may cast, with schemas and prices."""
        spells = sorted(Spell.objects.castable_by(request.auth), key=lambda spell: spell.key)  # see events.snapshot
        return Response({"results": [spell_out(spell) for spell in spells]})


class OneSpell(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(operation_id="get_spell", responses={200: s.SpellLine, **PROBLEMS})
    def get(self, request: ApiRequest, spell_key: str) -> Response:
        """One spell."""
        return Response(spell_out(castable(request.auth, spell_key)))


class Budget(APIView):
    scopes = {"GET": "budget:read", "PATCH": "budget:write"}

    @extend_schema(operation_id="get_budget", responses={200: s.BudgetLine, **PROBLEMS})
    def get(self, request: ApiRequest) -> Response:
        """This month's caps, what is held and what was spent."""
        return Response(budget_out(request.auth.account))

    @extend_schema(operation_id="set_cap", request=s.NewCap, responses={200: s.BudgetLine, **PROBLEMS})
    def patch(self, request: ApiRequest) -> Response:
        """Change a cap: the account's, or within it one API key's or one spell's. null lifts it, 0 stops everything."""
        body = s.NewCap(data=request.data)
        body.is_valid(raise_exception=True)
        account = request.auth.account
        wanted = body.validated_data
        ref = str(wanted.get("key_id") or wanted.get("spell_key") or "")
        if wanted["scope"] == "key" and not account.api_keys.filter(pk=wanted["key_id"]).exists():
            raise KeyNotFound(f"There is no API key {ref} in this account.")
        if wanted["scope"] == "spell" and not Spell.objects.filter(key=ref).exists():
            raise SpellNotFound(f"There is no spell {ref!r}.")
        budget.set_cap(account, cap_cents=wanted["cap_cents"], scope=wanted["scope"], ref=ref)
        return Response(budget_out(account))


def budget_out(account: Account) -> dict[str, Any]:
    """Return the account's month, and the caps within it."""
    period = budget.current(account)
    inner = list(account.budget_periods.filter(month=period.month).exclude(scope="account"))
    inner.sort(key=lambda cap: (cap.scope, cap.ref))  # see events.snapshot
    return {**s.PeriodLine(period).data, "caps": s.InnerPeriodLine(inner, many=True).data}


class Usage(APIView):
    scopes = {"GET": "budget:read"}

    @extend_schema(
        operation_id="get_usage",
        parameters=[
            OpenApiParameter("from", str, description="First day, YYYY-MM-DD (UTC); default: 30 days ago."),
            OpenApiParameter("to", str, description="Last day; default: today."),
        ],
        responses={200: s.UsageLine, **PROBLEMS},
    )
    def get(self, request: ApiRequest) -> Response:
        """What was spent, by day of acceptance and by spell."""
        if unknown := set(once_each(request)) - {"from", "to"}:
            raise BadQuery(f"There is no parameter {', '.join(sorted(unknown))}; use from and to.")
        today = timezone.now().date()
        last = parse_day("to", request.query_params.get("to"), today)
        before = dt.date.fromordinal(max(last.toordinal() - 30, 1))  # the calendar has a first day
        first = parse_day("from", request.query_params.get("from"), before)
        if not dt.timedelta(0) <= last - first <= dt.timedelta(days=366):
            raise BadQuery("`from` is a day before `to`, by 366 days at most.")
        rows = budget.usage(request.auth.account, first, last)
        return Response(
            {"from": first, "to": last, "total_cents": sum(r["captured_cents"] for r in rows), "days": rows}
        )


def parse_day(name: str, value: str | None, default: dt.date) -> dt.date:
    """Return a day from a query; raise BadQuery."""
    try:
        return dt.date.fromisoformat(value) if value else default
    except ValueError as exc:
        raise BadQuery(f"{name} is a day such as 2026-11-23; not {value!r}.") from exc


class Keys(APIView):
    scopes = {"GET": "keys", "POST": "keys"}

    @extend_schema(operation_id="list_keys", responses={200: s.KeyList, **PROBLEMS})
    def get(self, request: ApiRequest) -> Response:
        """The account's keys; their secrets are not to be had."""
        return Response({"results": s.KeyLine(request.auth.account.api_keys.all(), many=True).data})

    @extend_schema(operation_id="create_key", request=s.NewKey, responses={201: s.KeyMade, **PROBLEMS})
    def post(self, request: ApiRequest) -> Response:
        """Make a key. It can do no more than the key that makes it."""
        body = s.NewKey(data=request.data)
        body.is_valid(raise_exception=True)
        key, secret = keys.create_below(request.auth, **body.validated_data)
        return Response({**s.KeyLine(key).data, "secret": secret}, status=201)


class OneKey(APIView):
    scopes = {"DELETE": "keys"}

    @extend_schema(operation_id="revoke_key", responses={204: None, **PROBLEMS})
    def delete(self, request: ApiRequest, key_id: int) -> Response:
        """Revoke a key, at once and for good."""
        key = request.auth.account.api_keys.filter(pk=key_id).first()
        if key is None:
            raise KeyNotFound(f"There is no API key {key_id} in this account.")
        keys.revoke(key)
        return Response(status=204)


class KeyNotFound(SpellError):
    """No such key in this account."""

    code, status, title = "KEY_NOT_FOUND", 404, "API key not found"
