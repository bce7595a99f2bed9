"""API keys over the API."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.api.authentication import ApiRequest
from accounts.errors import KeyNotFound
from accounts.models import SCOPES
from core.api.fields import StrictCharField, StrictSerializer
from core.api.openapi import PROBLEMS


class NewKey(StrictSerializer):
    """A request for an API key."""

    name = StrictCharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(SCOPES)), min_length=1, required=False)
    spell_keys = serializers.ListField(child=StrictCharField(max_length=64), required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, moment: dt.datetime | None) -> dt.datetime | None:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This time has passed; the key could never be used.")
        return moment


class KeyOut(serializers.Serializer[Any]):
    """One API key, without its secret."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    spell_keys = serializers.ListField(child=serializers.CharField(), allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class KeyList(serializers.Serializer[Any]):
    """An account's keys."""

    results = KeyOut(many=True)


class KeyMade(KeyOut):
    """A new API key with its secret, which is shown this once."""

    secret = serializers.CharField()


class Keys(APIView):
    scopes = {"GET": "keys", "POST": "keys"}

    @extend_schema(operation_id="list_keys", responses={200: KeyList, **PROBLEMS})
    def get(self, request: ApiRequest) -> Response:
        """The account's keys. Secrets are never returned."""
        return Response({"results": KeyOut(request.auth.account.api_keys.all(), many=True).data})

    @extend_schema(operation_id="create_key", request=NewKey, responses={201: KeyMade, **PROBLEMS})
    def post(self, request: ApiRequest) -> Response:
        """Make a key. It can do no more than the key that makes it."""
        body = NewKey(data=request.data)
        body.is_valid(raise_exception=True)
        key, secret = keys.create_below(request.auth, **body.validated_data)
        return Response({**KeyOut(key).data, "secret": secret}, status=201)


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
