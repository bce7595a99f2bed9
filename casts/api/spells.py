"""What a key may cast."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest
from casts import versions
from casts.api.cast_serializers import PriceOut
from casts.casting import castable_by, priced_for
from casts.errors import SpellVersionNotFound
from casts.models import Spell
from casts.pricing import Price
from casts.retention.rules import load_for
from core.api.pagination import once_each
from core.errors import BadQuery

A_NUMBER, MOST_DIGITS = re.compile(r"[1-9][0-9]*"), 9  # no spell has as many versions


class SpellOut(serializers.Serializer[Any]):
    """One spell."""

    spell_key = serializers.CharField()
    version = serializers.IntegerField(help_text="Counted up at each change of the spell.")
    name = serializers.CharField()
    description = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField(), help_text="By which people find it in the catalogue.")
    input_schema = serializers.DictField()
    output_schema = serializers.DictField(allow_null=True)
    price_cents = serializers.IntegerField(help_text="The most that a cast can cost; with a flat price just that.")
    price = PriceOut()
    ttl_seconds = serializers.IntegerField()
    timeout_seconds = serializers.IntegerField()
    artifact_retention_days = serializers.IntegerField()
    retention_days = serializers.DictField(
        child=serializers.IntegerField(allow_null=True),
        help_text="For how many days after their end what casts of it hold is kept, for this key's account, by kind; "
        "null: for ever.",
    )


class SpellList(serializers.Serializer[Any]):
    """What a key may cast."""

    results = SpellOut(many=True)


def spell_out(spell: Spell, kept: dict[str, int | None]) -> dict[str, Any]:
    # What a caller needs, and not where it runs.
    price = Price.of(spell)
    return {
        "spell_key": spell.key,
        "version": spell.version,
        "name": spell.name,
        "description": spell.description,
        "tags": spell.tags,
        "input_schema": spell.input_schema,
        "output_schema": spell.output_schema,
        "price_cents": price.max_cents,
        "price": price.shown,
        "ttl_seconds": spell.ttl_seconds,
        "timeout_seconds": spell.timeout_seconds,
        "artifact_retention_days": spell.artifact_retention_days,
        "retention_days": kept,
    }


class Spells(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(operation_id="list_spells", responses={200: SpellList})
    def get(self, request: ApiRequest) -> Response:
        """What this key may cast, with schemas and prices."""
        found = priced_for(request.auth.account_id, Spell.objects.castable_by(request.auth))
        spells = sorted(found, key=lambda spell: spell.key)  # see events.snapshot
        account = request.auth.account_id
        rules = load_for(account, spells)
        return Response({"results": [spell_out(spell, rules.of_casts(account, spell)) for spell in spells]})


class OneSpell(APIView):
    scopes = {"GET": "spells:read"}

    @extend_schema(
        operation_id="get_spell",
        parameters=[
            OpenApiParameter("version", int, description="As it was then: a cast's `spell_version`, for instance.")
        ],
        responses={200: SpellOut},
    )
    def get(self, request: ApiRequest, spell_key: str) -> Response:
        """One spell, as it is now or was in an earlier version."""
        if unknown := set(once_each(request)) - {"version"}:
            raise BadQuery(f"There is no parameter {', '.join(sorted(unknown))}; use version.")
        spell = castable_by(request.auth.account_id, request.auth, spell_key)
        kept = load_for(request.auth.account_id, [spell]).of_casts(request.auth.account_id, spell)
        if (asked := request.query_params.get("version")) is None:
            return Response(spell_out(spell, kept))
        if not A_NUMBER.fullmatch(asked):
            raise BadQuery(f"version is a whole number from 1, such as {spell.version}; not {asked[:40]!r}.")
        was = versions.as_it_was(spell, int(asked)) if len(asked) <= MOST_DIGITS else None
        if was is None or was.account_id not in (None, request.auth.account_id):
            raise SpellVersionNotFound(
                f"The spell {spell_key!r} has no version {asked[:40]}; its latest is {spell.version}."
            )
        return Response(spell_out(was, kept))
