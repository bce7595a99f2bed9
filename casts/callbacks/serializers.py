"""Callbacks on the wire: what requests must look like, and what answers look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from accounts.models import ApiKey
from casts.models import TO_BE_NAMED, Callback, CallbackAttempt, CallbackEndpoint, CallbackType
from core import limits
from core.api.fields import FewList, StrictBooleanField, StrictCharField, StrictSerializer, valid_callback_url
from core.times import stamp

NAMED = [(kind.value, kind.label) for kind in TO_BE_NAMED]


class EndpointFields(StrictSerializer):
    """What a caller sets of an endpoint."""

    url = StrictCharField(
        max_length=limits.URL_CHARS, validators=[valid_callback_url], help_text="https://, on the public internet."
    )
    description = StrictCharField(max_length=limits.ENDPOINT_CHARS, required=False, allow_blank=True)
    types = FewList(
        child=serializers.ChoiceField(choices=NAMED),
        required=False,
        min_length=1,
        max_length=len(TO_BE_NAMED),
        help_text="Which messages it gets; those about casts if left out. What begins otherwise is about the account.",
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
    types = serializers.ListField(child=serializers.ChoiceField(choices=NAMED))
    contents = serializers.BooleanField(help_text="false: messages hold the cast's id and status alone.")
    spell_keys = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="The only spells whose casts it is told of; null: all.",
    )
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


class CallbackState(serializers.Serializer[Any]):
    """One message to one receiver, for a key without `casts:read`."""

    id = serializers.CharField(help_text="The webhook-id that the receiver sees.")
    type = serializers.ChoiceField(choices=CallbackType.choices)
    cast_id = serializers.UUIDField(allow_null=True, help_text="null: it is about the account, or a test.")
    endpoint_id = serializers.CharField(allow_null=True, help_text="null: the cast's own callback_url.")
    state = serializers.ChoiceField(choices=Callback.State.choices)
    tries = serializers.IntegerField(help_text="Since it was made, or last sent again.")
    next_try_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)


class CallbackOut(CallbackState):
    """One message to one receiver."""

    url = serializers.CharField()
    last_error = serializers.CharField(allow_null=True)


class CallbackPage(serializers.Serializer[Any]):
    """Messages, newest first; `next` is the address of the following page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CallbackOut(many=True)


class CallbackStatePage(serializers.Serializer[Any]):
    """The same for a key without `casts:read`."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CallbackState(many=True)


class CallbackTryState(serializers.Serializer[Any]):
    """One try to deliver a message, for a key without `casts:read`."""

    at = serializers.DateTimeField()
    status_code = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField()


class CallbackTry(CallbackTryState):
    """One try to deliver a message."""

    url = serializers.CharField()
    error = serializers.CharField(allow_null=True)
    response_excerpt = serializers.CharField(help_text="The beginning of the answer's body.")


class CallbackDetail(CallbackOut):
    """One message with all its tries, oldest first."""

    attempts = CallbackTry(many=True)


class CallbackStateDetail(CallbackState):
    """The same for a key without `casts:read`."""

    attempts = CallbackTryState(many=True)


def by_scope(name: str, whole: type[Any], state: type[Any]) -> Any:
    """Describe an answer that is `whole` for a key with `casts:read`, and `state` for one without."""
    return PolymorphicProxySerializer(name, [whole, state], resource_type_field_name=None)


LoggedPage = by_scope("LoggedCallbackPage", CallbackPage, CallbackStatePage)
Logged = by_scope("LoggedCallback", CallbackDetail, CallbackStateDetail)


def endpoint_out(endpoint: CallbackEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "types": endpoint.types,
        "contents": endpoint.contents,
        "spell_keys": endpoint.spell_keys,
        "active": endpoint.active,
        "disabled_at": stamp(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason or None,
        "created_at": stamp(endpoint.created_at),
    }


def secrets_out(secrets: list[str]) -> dict[str, Any]:
    return {"secret": secrets[0], "old_secret": secrets[1] if len(secrets) > 1 else None}


def without_contents(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the log without what may tell of a cast's contents: addresses, answers and errors."""
    return {name: value for name, value in shown.items() if name not in TELLING}


# A cast's callback_url is the caller's secret, and receivers may answer with what they were sent.
TELLING = ("url", "error", "last_error", "response_excerpt")


def callback_out(callback: Callback) -> dict[str, Any]:
    pending = callback.state == Callback.State.PENDING
    return {
        "id": callback.id,
        "type": callback.type,
        "cast_id": str(callback.cast_id) if callback.cast_id else None,
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


def log_out(key: ApiKey, callbacks: Iterable[Callback]) -> list[dict[str, Any]]:
    """Return lines of the log as a key may read them."""
    shown = map(callback_out, callbacks)
    return list(shown if "casts:read" in key.scopes else map(without_contents, shown))


def detail_out(key: ApiKey, callback: Callback) -> dict[str, Any]:
    [line] = log_out(key, [callback])
    newest = list(callback.tries.order_by("-pk")[: limits.TRIES_SHOWN])
    tries = map(try_out, reversed(newest))
    return {**line, "attempts": list(tries if "casts:read" in key.scopes else map(without_contents, tries))}
