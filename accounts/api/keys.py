"""API keys over the API."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import key_acts, keys
from accounts.api.authentication import ApiRequest
from accounts.errors import KeyNotFound
from accounts.models import SCOPES, ApiKey
from core import limits
from core.api.fields import FewList, StrictCharField, StrictIntegerField, StrictSerializer
from core.api.pagination import once_each
from core.errors import BadQuery


class NewKey(StrictSerializer):
    """A request for an API key."""

    name = StrictCharField(max_length=limits.KEY_NAME_CHARS)
    scopes = FewList(
        child=serializers.ChoiceField(choices=list(SCOPES)), min_length=1, max_length=len(SCOPES), required=False
    )
    spell_keys = FewList(
        child=StrictCharField(max_length=limits.SPELL_KEY_CHARS),
        max_length=limits.KEY_SPELLS,
        required=False,
        allow_null=True,
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, moment: dt.datetime | None) -> dt.datetime | None:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This time has passed; the key could never be used.")
        return moment


class NewRotation(StrictSerializer):
    """How a key is rotated."""

    overlap_seconds = StrictIntegerField(
        min_value=0, max_value=limits.KEY_OVERLAP_SECONDS, default=86_400, help_text="How long the old key still works."
    )


class KeyMaker(serializers.Serializer[Any]):
    """Who made a key: another key, or a person."""

    kind = serializers.ChoiceField(choices=["key", "user"])
    key_id = serializers.IntegerField(allow_null=True)
    name = serializers.CharField(allow_null=True, help_text="The key's or the member's; null for an operator.")


class KeyOut(serializers.Serializer[Any]):
    """One API key, without its secret."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    spell_keys = serializers.ListField(child=serializers.CharField(), allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    replaced_by = serializers.IntegerField(
        source="replaced_by_id", allow_null=True, help_text="The key that took its place when it was rotated."
    )

    @extend_schema_field(KeyMaker(allow_null=True))
    def get_created_by(self, key: ApiKey) -> dict[str, Any] | None:
        """Return who made it; None: somebody on the command line, or nobody knows."""
        if (maker := key.created_by_key) is not None:
            return {"kind": "key", "key_id": maker.pk, "name": maker.name}
        if (user := key.created_by_user) is not None:
            return {"kind": "user", "key_id": None, "name": None if user.is_staff else user.get_username()}
        return None


class KeyList(serializers.Serializer[Any]):
    """An account's keys."""

    results = KeyOut(many=True)


class KeyMade(KeyOut):
    """A new API key with its secret, which is shown this once."""

    secret = serializers.CharField()


class KeysRevoked(serializers.Serializer[Any]):
    """What was revoked, and what was made with the key and is still valid."""

    revoked = serializers.IntegerField(help_text="How many keys were revoked now.")
    descendants_left = serializers.IntegerField(
        help_text="How many keys that it made, or that these made, are still valid. Revoke them with descendants=true."
    )


class Keys(APIView):
    scopes = {"GET": "keys", "POST": "keys"}

    @extend_schema(operation_id="list_keys", responses={200: KeyList})
    def get(self, request: ApiRequest) -> Response:
        """The account's keys. Secrets are never returned."""
        newest = request.auth.account.api_keys.order_by("-pk").values("pk")[: limits.KEYS_SHOWN]
        rows = ApiKey.objects.filter(pk__in=newest).select_related("created_by_key", "created_by_user")
        return Response({"results": KeyOut(rows, many=True).data})

    @extend_schema(operation_id="create_key", request=NewKey, responses={201: KeyMade})
    def post(self, request: ApiRequest) -> Response:
        """Make a key. It can do no more than the key that makes it."""
        body = NewKey(data=request.data)
        body.is_valid(raise_exception=True)
        key, secret = key_acts.make_below(request.user, request.auth, **body.validated_data)
        return Response({**KeyOut(key).data, "secret": secret}, status=201)


class OneKey(APIView):
    scopes = {"DELETE": "keys"}

    @extend_schema(
        operation_id="revoke_key",
        parameters=[
            OpenApiParameter("descendants", bool, description="Revoke all keys that were made with it as well.")
        ],
        responses={200: KeysRevoked, 204: None},
    )
    def delete(self, request: ApiRequest, key_id: int) -> Response:
        """Revoke a key, at once and for good. 204, or 200 where there are keys that were made with it."""
        descendants = wants_descendants(request)
        key = key_of(request, key_id)
        revoked = len(key_acts.revoke(request.user, key, descendants=descendants))
        left = 0 if descendants else len(keys.usable_below([key]))
        if descendants or left:
            return Response({"revoked": revoked, "descendants_left": left})
        return Response(status=204)


class Rotation(APIView):
    scopes = {"POST": "keys"}

    @extend_schema(operation_id="rotate_key", request=NewRotation, responses={201: KeyMade})
    def post(self, request: ApiRequest, key_id: int) -> Response:
        """Replace a key by a new one with the same rights. The old one works on for a while, and then expires."""
        body = NewRotation(data=request.data)
        body.is_valid(raise_exception=True)
        overlap = dt.timedelta(seconds=body.validated_data["overlap_seconds"])
        key, secret = key_acts.rotate(request.user, key_of(request, key_id), overlap=overlap)
        return Response({**KeyOut(key).data, "secret": secret}, status=201)


def key_of(request: ApiRequest, key_id: int) -> ApiKey:
    """Raise KeyNotFound."""
    key = request.auth.account.api_keys.filter(pk=key_id).first()
    if key is None:
        raise KeyNotFound(f"There is no API key {key_id} in this account.")
    return key


def wants_descendants(request: ApiRequest) -> bool:
    """Return what a query says; raise BadQuery for anything else, which would revoke less than was meant."""
    asked = once_each(request)
    if unknown := set(asked) - {"descendants"}:
        raise BadQuery(f"There is no parameter {', '.join(sorted(unknown))[:100]}; use descendants.")
    if (value := asked.get("descendants", "false")) not in ("true", "false"):
        raise BadQuery(f"descendants is true or false; not {value[:20]!r}.")
    return value == "true"
