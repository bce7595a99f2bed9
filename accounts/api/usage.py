"""What an account spent, by day and spell."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import usage
from accounts.api.authentication import ApiRequest
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
        responses={200: UsageOut},
    )
    def get(self, request: ApiRequest) -> Response:
        """What was spent, by day of acceptance and by spell; for the key's spells, if it is limited to some."""
        if unknown := set(once_each(request)) - {"from", "to"}:
            raise BadQuery(f"There is no parameter {', '.join(sorted(unknown))}; use from and to.")
        days = usage.span(request.query_params.get("from"), request.query_params.get("to"))
        found = usage.by_day_and_spell(request.auth.account, days, spell_keys=request.auth.spell_keys)
        rows = [{"day": one.day, "spell_key": one.by, "casts": one.casts, "captured_cents": one.cents} for one in found]
        return Response(
            {"from": days.first, "to": days.last, "total_cents": sum(r["captured_cents"] for r in rows), "days": rows}
        )
