"""What a request to cast must look like, and, for the OpenAPI description, what a cast looks like."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from casts.models import CastStatus, PriceKind
from core.api.fields import StrictCharField, StrictIntegerField, StrictSerializer, valid_callback_url
from core.limits import METADATA_CHARS, METADATA_ENTRIES, METADATA_KEY_CHARS, SPELL_KEY_CHARS, URL_CHARS


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": METADATA_CHARS},
        "propertyNames": {"maxLength": METADATA_KEY_CHARS},
        "maxProperties": METADATA_ENTRIES,
    }
)
class MetadataField(serializers.DictField):
    """Texts under names, of which number and length are bounded."""

    def run_child_validation(self, data: Any) -> Any:
        if len(data) > 2 * METADATA_ENTRIES:  # so many that nobody reads what is wrong with each
            raise serializers.ValidationError({"non_field_errors": [f"At most {METADATA_ENTRIES} entries."]})
        # Names and values are checked together, so that one answer has every mistake.
        errors: dict[str, list[str]] = {}
        try:
            checked = super().run_child_validation(data)
        except serializers.ValidationError as exc:
            errors = dict(exc.detail)  # type: ignore[arg-type]  # by name, as this field's are
        whole = [f"At most {METADATA_ENTRIES} entries."] if len(data) > METADATA_ENTRIES else []
        whole += [
            f"A name has at most {METADATA_KEY_CHARS} characters; not {name[:20]!r}… with {len(name)}."
            for name in data
            if len(name) > METADATA_KEY_CHARS
        ]
        if whole:
            errors["non_field_errors"] = [*whole, *errors.get("non_field_errors", ())]
        if errors:
            raise serializers.ValidationError(errors)
        return checked


class CastRequest(StrictSerializer):
    """A request to run a spell."""

    null_counts = ("input",)  # whether null is allowed, the spell's schema says

    spell_key = StrictCharField(max_length=SPELL_KEY_CHARS, help_text="Which spell.")
    input = serializers.JSONField(default=dict, help_text="What the spell takes; see its input_schema.")
    ttl_seconds = StrictIntegerField(
        min_value=1,
        max_value=30 * 24 * 3600,
        required=False,
        help_text="A step of its run must have begun within this time, or it expires.",
    )
    callback_url = StrictCharField(
        max_length=URL_CHARS,
        required=False,
        validators=[valid_callback_url],
        help_text="Called once the cast has ended, in Standard Webhooks form; https://, on the public internet.",
    )
    metadata = MetadataField(
        child=StrictCharField(max_length=METADATA_CHARS, allow_blank=True, trim_whitespace=False),
        required=False,
        help_text=f"Up to {METADATA_ENTRIES} strings of your own, named with up to {METADATA_KEY_CHARS} characters.",
    )


# --- For the OpenAPI description -------------------------------------------------------------------------------


class ArtifactOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    file_name = serializers.CharField()
    state = serializers.ChoiceField(choices=["pending", "stored", "failed", "expired"])
    size_bytes = serializers.IntegerField(allow_null=True)
    digest = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    url = serializers.URLField()


class AnnotationOut(serializers.Serializer[Any]):
    """What the failed step, or what ran it, said was wrong."""

    level = serializers.ChoiceField(choices=["error", "warning", "notice"])
    title = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    file = serializers.CharField(allow_null=True, help_text="In the spell's repository.")
    line = serializers.IntegerField(allow_null=True)


class JobAnnotationOut(AnnotationOut):
    """What a job of the run remarked, or who runs it remarked on the job."""

    job = serializers.CharField(allow_null=True)


class ErrorOut(serializers.Serializer[Any]):
    """Why a cast failed. What is known depends on the reason."""

    reason = serializers.CharField()
    message = serializers.CharField()
    annotations = AnnotationOut(many=True, required=False)
    failed_job = serializers.CharField(allow_null=True, required=False)
    failed_step = serializers.CharField(allow_null=True, required=False)
    log_tail = serializers.ListField(child=serializers.CharField(), required=False)
    run_url = serializers.CharField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        # Not declared as the others are: a serializer has a property of this name.
        errors = serializers.ListField(child=serializers.DictField(), required=False)
        return {**super().get_fields(), "errors": errors}


class StepOut(serializers.Serializer[Any]):
    """One step of a cast's run."""

    job = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField(help_text="queued, in_progress or completed")
    conclusion = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class PriceOut(serializers.Serializer[Any]):
    """How a price is put together."""

    kind = serializers.ChoiceField(choices=PriceKind.choices)
    per_minute_cents = serializers.IntegerField(
        allow_null=True, help_text="For each started minute of run time; with kind per_minute."
    )
    max_cents = serializers.IntegerField(help_text="What is held when a cast is accepted: it costs no more.")
    for_account = serializers.BooleanField(help_text="Whether it was set for this account alone.")


class ChargeOut(serializers.Serializer[Any]):
    """How what a cast cost was computed."""

    kind = serializers.ChoiceField(choices=PriceKind.choices)
    run_seconds = serializers.IntegerField(
        allow_null=True, help_text="For how long the run worked, without its waits; with kind per_minute."
    )
    minutes = serializers.IntegerField(allow_null=True, help_text="Started ones, which were counted.")
    per_minute_cents = serializers.IntegerField(allow_null=True)
    max_cents = serializers.IntegerField()
    reported_cents = serializers.IntegerField(allow_null=True, help_text="By the run itself; with kind reported.")
    note = serializers.CharField(allow_null=True, help_text="Why it is not what the price alone would make it.")


class RemovedOut(serializers.Serializer[Any]):
    """That something was deleted."""

    at = serializers.DateTimeField()
    days = serializers.IntegerField(help_text="For how many days after the cast's end it was kept.")


class CastOut(serializers.Serializer[Any]):
    """One cast."""

    cast_id = serializers.UUIDField()
    spell_key = serializers.CharField()
    spell_name = serializers.CharField()
    spell_version = serializers.IntegerField(
        allow_null=True, help_text="Of the spell, which it was accepted under; null for casts from before versions."
    )
    cost_cents = serializers.IntegerField(help_text="What is held for it: it costs no more.")
    price = PriceOut(help_text="Which it was accepted at.")
    charged_cents = serializers.IntegerField(allow_null=True, help_text="What it cost in the end; null before.")
    charge = ChargeOut(allow_null=True, help_text="How that was computed; null before the end.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=CastStatus.choices)
    status_reason = serializers.CharField()
    progress = serializers.IntegerField(min_value=0, max_value=100)
    message = serializers.CharField()
    step = serializers.CharField(allow_null=True)
    run_url = serializers.URLField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    steps = StepOut(many=True)
    artifacts = ArtifactOut(many=True)
    artifact_url = serializers.URLField(allow_null=True)
    output = serializers.JSONField()
    summary = serializers.CharField(
        allow_null=True, help_text="What the run says for people, as Markdown: untrusted text, escape it."
    )
    annotations = JobAnnotationOut(
        many=True, allow_null=True, help_text="Errors first; null before the end, and if nobody could tell."
    )
    error = ErrorOut(allow_null=True)
    final = serializers.BooleanField()
    queue_position = serializers.IntegerField(allow_null=True, help_text="In the line for a slot; 1 is next.")
    retry_of = serializers.UUIDField(allow_null=True)
    input = serializers.JSONField()
    metadata = serializers.DictField(child=serializers.CharField())
    callback_url = serializers.CharField(allow_null=True, help_text="As it was given.")
    removed = serializers.DictField(
        child=RemovedOut(), help_text="What was deleted as it was kept long enough, by kind: input, output, log, event…"
    )
    progress_url = serializers.URLField()
    events_url = serializers.URLField()


class CastReceipt(serializers.Serializer[Any]):
    """What a key gets of a cast that it may place, cancel and retry, and not read."""

    cast_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=CastStatus.choices)
    final = serializers.BooleanField()


# The whole cast for a key with the scope `casts:read`, the receipt for one without.
CastPlaced = PolymorphicProxySerializer("CastPlaced", [CastOut, CastReceipt], resource_type_field_name=None)


class CastPage(serializers.Serializer[Any]):
    """Casts, newest first; `next` is the address of the following page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CastOut(many=True)
