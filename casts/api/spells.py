"""What a key may cast."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest
from casts.casting import castable
from casts.models import Spell
from core.api.openapi import PROBLEMS


class SpellOut(serializers.Serializer[Any]):
    """One spell."""

    spell_key = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    input_schema = serializers.DictField()
    output_schema = serializers.DictField(allow_null=True)
    price_cents = serializers.IntegerField()
    ttl_seconds = serializers.IntegerField()
    timeout_seconds = serializers.IntegerField()
    artifact_retention_days = serializers.IntegerField()


class SpellList(serializers.Serializer[Any]):
    """What a key may cast."""

    results = SpellOut(many=True)


def spell_out(spell: Spell) -> dict[str, Any]:
    # What a caller needs, and not where it runs.
    return {
        "spell_key": spell.key,
        "name": spell.name,
        "description": spell.description,
        "input_schema": spell.input_schema,
        "output_schema": spell.output_schema,
        "price_cents": spell.price_cents,
        "ttl_seconds": spell.ttl_seconds,
        "timeout_seconds": spell.timeout_seconds,
        "artifact_retention_days": spell.artifact_retention_days,
    }


class Spells(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(operation_id="list_spells", responses={200: SpellList, **PROBLEMS})
    def get(self, request: ApiRequest) -> Response:
        """What this key may cast, with schemas and prices."""
        spells = sorted(Spell.objects.castable_by(request.auth), key=lambda spell: spell.key)  # see events.snapshot
        return Response({"results": [spell_out(spell) for spell in spells]})


class OneSpell(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(operation_id="get_spell", responses={200: SpellOut, **PROBLEMS})
    def get(self, request: ApiRequest, spell_key: str) -> Response:
        """One spell."""
        return Response(spell_out(castable(request.auth, spell_key)))
