"""Callbacks on the wire: what requests must look like, and what answers look like."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from casts.models import Callback, CallbackAttempt, CallbackEndpoint, CallbackType
from core.api.fields import StrictBooleanField, StrictCharField, StrictSerializer, valid_callback_url
from core.times import stamp


class EndpointFields(StrictSerializer):
    """What a caller sets of an endpoint."""

    url = StrictCharField(
        max_length=2000, validators=[valid_callback_url], help_text="https://, on the public internet."
    )
    description = StrictCharField(max_length=200, required=False, allow_blank=True)
    types = serializers.ListField(
        child=serializers.ChoiceField(choices=CallbackType.choices),
        required=False,
        min_length=1,
        help_text="Which messages it gets; all if left out.",
    )


class NewEndpoint(EndpointFields):
    """A request for an endpoint."""


class EndpointChange(EndpointFields):
    """A change of an endpoint; what is left out stays."""

    active = StrictBooleanField(required=False, help_text="false stops it; true starts it again, also after a 410.")


class Rotation(StrictSerializer):
    """A change of a signing secret."""

    drop_old = StrictBooleanField(
        default=False, help_text="true: make no new secret, only stop signing with the one before the newest."
    )


# --- Answers ---------------------------------------------------------------------------------------------------


class EndpointOut(serializers.Serializer[Any]):
    """One endpoint, without its secret."""

    id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()
    types = serializers.ListField(child=serializers.ChoiceField(choices=CallbackType.choices))
    active = serializers.BooleanField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_reason = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


class EndpointList(serializers.Serializer[Any]):
    """An account's endpoints."""

    results = EndpointOut(many=True)


class Secrets(serializers.Serializer[Any]):
    """What messages are signed with."""

    secret = serializers.CharField(help_text="The newest: the one to verify with.")
    old_secret = serializers.CharField(allow_null=True, help_text="During a rotation: it signs as well.")


class EndpointMade(EndpointOut):
    """A new endpoint with its secret."""

    secret = serializers.CharField()


class CallbackOut(serializers.Serializer[Any]):
    """One message to one receiver."""

    id = serializers.CharField(help_text="The webhook-id that the receiver sees.")
    type = serializers.ChoiceField(choices=CallbackType.choices)
    cast_id = serializers.UUIDField()
    endpoint_id = serializers.CharField(allow_null=True, help_text="null: the cast's own callback_url.")
    url = serializers.CharField()
    state = serializers.ChoiceField(choices=Callback.State.choices)
    tries = serializers.IntegerField(help_text="Since it was made, or last sent again.")
    next_try_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)


class CallbackPage(serializers.Serializer[Any]):
    """Messages, newest first; `next` is the address of the following page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CallbackOut(many=True)


class CallbackTry(serializers.Serializer[Any]):
    """One try to deliver a message."""

    at = serializers.DateTimeField()
    url = serializers.CharField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    duration_ms = serializers.IntegerField()
    response_excerpt = serializers.CharField(help_text="The beginning of the answer's body.")


class CallbackDetail(CallbackOut):
    """One message with all its tries, oldest first."""

    attempts = CallbackTry(many=True)


def endpoint_out(endpoint: CallbackEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "types": endpoint.types,
        "active": endpoint.active,
        "disabled_at": stamp(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason or None,
        "created_at": stamp(endpoint.created_at),
    }


def secrets_out(secrets: list[str]) -> dict[str, Any]:
    return {"secret": secrets[0], "old_secret": secrets[1] if len(secrets) > 1 else None}


def callback_out(callback: Callback) -> dict[str, Any]:
    pending = callback.state == Callback.State.PENDING
    return {
        "id": callback.id,
        "type": callback.type,
        "cast_id": str(callback.cast_id),
        "endpoint_id": callback.endpoint_id,
        "url": callback.url,
        "state": callback.state,
        "tries": callback.attempts,
        "next_try_at": stamp(callback.due_at) if pending else None,
        "last_status": callback.last_status,
        "last_error": callback.last_error or None,
        "created_at": stamp(callback.created_at),
        "delivered_at": stamp(callback.delivered_at),
    }


def try_out(attempt: CallbackAttempt) -> dict[str, Any]:
    return {
        "at": stamp(attempt.at),
        "url": attempt.url,
        "status_code": attempt.status_code,
        "error": attempt.error or None,
        "duration_ms": attempt.duration_ms,
        "response_excerpt": attempt.response_excerpt,
    }


def detail_out(callback: Callback) -> dict[str, Any]:
    return {**callback_out(callback), "attempts": [try_out(attempt) for attempt in callback.tries.all()]}
