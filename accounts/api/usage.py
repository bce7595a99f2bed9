"""What an account spent, by day and spell."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import budget
from accounts.api.authentication import ApiRequest
from core.api.openapi import PROBLEMS
from core.api.pagination import once_each
from core.errors import BadQuery


class UsageDay(serializers.Serializer[Any]):
    """What one spell cost on one day."""

    day = serializers.DateField()
    spell_key = serializers.CharField()
    casts = serializers.IntegerField()
    captured_cents = serializers.IntegerField()


class UsageOut(serializers.Serializer[Any]):
    """What was spent between two days."""

    to = serializers.DateField()
    total_cents = serializers.IntegerField()
    days = UsageDay(many=True)

    def get_fields(self) -> dict[str, Any]:
        # Not declared above: `from` is a keyword of Python's.
        return {**super().get_fields(), "from": serializers.DateField()}


class Usage(APIView):
    scopes = {"GET": "budget:read"}

    @extend_schema(
        operation_id="get_usage",
        parameters=[
            OpenApiParameter("from", str, description="First day, YYYY-MM-DD (UTC); default: 30 days ago."),
            OpenApiParameter("to", str, description="Last day; default: today."),
        ],
        responses={200: UsageOut, **PROBLEMS},
    )
    def get(self, request: ApiRequest) -> Response:
        """What was spent, by day of acceptance and by spell; for the key's spells, if it is limited to some."""
        if unknown := set(once_each(request)) - {"from", "to"}:
            raise BadQuery(f"There is no parameter {', '.join(sorted(unknown))}; use from and to.")
        today = timezone.now().date()
        last = parse_day("to", request.query_params.get("to"), today)
        before = dt.date.fromordinal(max(last.toordinal() - 30, 1))  # the calendar has a first day
        first = parse_day("from", request.query_params.get("from"), before)
        if not dt.timedelta(0) <= last - first <= dt.timedelta(days=366):
            raise BadQuery("`from` is a day before `to`, by 366 days at most.")
        rows = budget.usage(request.auth.account, first, last, spell_keys=request.auth.spell_keys)
        return Response(
            {"from": first, "to": last, "total_cents": sum(r["captured_cents"] for r in rows), "days": rows}
        )


def parse_day(name: str, value: str | None, default: dt.date) -> dt.date:
    """Return a day given in a query. Raise BadQuery."""
    try:
        return dt.date.fromisoformat(value) if value else default
    except ValueError as exc:
        raise BadQuery(f"{name} is a day such as 2026-11-23; not {value!r}.") from exc
