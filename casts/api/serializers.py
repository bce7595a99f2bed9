"""What requests must look like, and, for the OpenAPI description, what answers look like."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers

from accounts.models import SCOPES
from casts.models import CastStatus, Spell
from core import json_schema, safe_http
from core.api.parsers import InputTooLarge
from core.api.problems import InvalidInput

METADATA_KEYS, METADATA_KEY_CHARS, METADATA_CHARS = 50, 100, 500
# GitHub takes 65,535 characters for all inputs of a run, as compact JSON; the others and the names take up to 150.
PACKED_MAX_CHARS = 65_300


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names that it does not know: a misspelt option must not be ignored.

    null for a field that may be left out is as good as leaving it out: many clients write all fields that they know.
    Not in a change of something (`partial`), where it might as well mean to take away what is there.
    """

    null_counts: tuple[str, ...] = ()  # fields that may be left out and for which null is a value

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, of which the optional ones take null."""
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.allow_null = field.allow_null or not (field.required or self.partial)
        return fields

    def to_internal_value(self, data: Any) -> Any:
        """Check for unknown names, leave out nulls, then as usual."""
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            known = ", ".join(self.fields)
            raise serializers.ValidationError({name: [f"Not known here. Known: {known}."] for name in sorted(unknown)})
        if isinstance(data, dict) and not self.partial:
            optional = {name for name, field in self.fields.items() if not field.required} - set(self.null_counts)
            data = {name: value for name, value in data.items() if value is not None or name not in optional}
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """An integer; not text that looks like one, and not true."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse what is not a JSON integer."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictCharField(serializers.CharField):
    """Text; not a number or a boolean that could be read as one."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is not a JSON string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


def valid_callback_url(url: str) -> None:
    """Refuse, at once and with the reason, an address that would never be called."""
    try:
        safe_http.target_of(url)
    except safe_http.BadAddress as exc:
        raise serializers.ValidationError(str(exc)) from exc


class MetadataField(serializers.DictField):
    """Texts under names, of which number and length are bounded."""

    def run_child_validation(self, data: Any) -> Any:
        """Check names and values together, so that every mistake is told."""
        errors: dict[str, list[str]] = {}
        try:
            checked = super().run_child_validation(data)
        except serializers.ValidationError as exc:
            errors = dict(exc.detail)  # type: ignore[arg-type]  # by name, as this field's are
        whole = [f"At most {METADATA_KEYS} entries."] if len(data) > METADATA_KEYS else []
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

    null_counts = ("input",)  # what it is worth, the spell's schema says

    spell_key = StrictCharField(max_length=64, help_text="Which spell.")
    input = serializers.JSONField(default=dict, help_text="What the spell takes; see its input_schema.")
    ttl_seconds = StrictIntegerField(
        min_value=1,
        max_value=30 * 24 * 3600,
        required=False,
        help_text="A step of its run must have begun within this time, or it expires.",
    )
    callback_url = StrictCharField(
        max_length=2000,
        required=False,
        validators=[valid_callback_url],
        help_text="Called once the cast has ended, in Standard Webhooks form; https://, on the public internet.",
    )
    metadata = MetadataField(
        child=StrictCharField(max_length=METADATA_CHARS, allow_blank=True, trim_whitespace=False),
        required=False,
        help_text=f"Up to {METADATA_KEYS} strings of your own, under names of up to {METADATA_KEY_CHARS} characters.",
    )


def checked_input(spell: Spell, given: Any) -> Any:
    """Return the input with the schema's defaults; raise ValidationError listing every violation, or InputTooLarge."""
    filled = json_schema.with_defaults(spell.input_schema, given)
    check_size(json.dumps(filled, ensure_ascii=False, separators=(",", ":")))
    if problems := json_schema.violations(spell.input_schema, filled, at="/input"):
        raise InvalidInput(
            f"The input does not fit the spell's input_schema in {len(problems)} place(s).", errors=problems
        )
    return filled


def check_size(text: str) -> None:
    """Raise InputTooLarge unless an input's JSON can be handed to a workflow: by characters, packed, and by bytes."""
    most: dict[str, Any]
    chars, packed, size = len(text), len(json.dumps(text, ensure_ascii=False)), len(text.encode())
    if chars > settings.CAST_INPUT_MAX_CHARS:
        most = {"max_chars": settings.CAST_INPUT_MAX_CHARS}
        measured = f"{chars} characters of JSON; at most {settings.CAST_INPUT_MAX_CHARS}"
    elif packed > PACKED_MAX_CHARS:
        most = {"max_chars": PACKED_MAX_CHARS}
        measured = (
            f"{packed} characters once its JSON is packed as text, in which a quotation mark takes two; "
            f"at most {PACKED_MAX_CHARS}"
        )
    elif size > settings.CAST_INPUT_MAX_BYTES:
        most = {"max_bytes": settings.CAST_INPUT_MAX_BYTES}
        measured = f"{size} bytes of JSON; at most {settings.CAST_INPUT_MAX_BYTES}"
    else:
        return
    raise InputTooLarge(
        f"The input is {measured} can be handed to a workflow. Pass a link to bulky data instead.", **most
    )


class NewKey(StrictSerializer):
    """A request for an API key."""

    name = StrictCharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(SCOPES)), min_length=1, required=False)
    spell_keys = serializers.ListField(child=StrictCharField(max_length=64), required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, moment: dt.datetime | None) -> dt.datetime | None:
        """Refuse a key that could never be used."""
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This time has passed; the key could never be used.")
        return moment


# --- For the OpenAPI description -------------------------------------------------------------------------------


class ArtifactLine(serializers.Serializer[Any]):
    name = serializers.CharField()
    file_name = serializers.CharField()
    state = serializers.ChoiceField(choices=["pending", "stored", "failed", "expired"])
    size_bytes = serializers.IntegerField(allow_null=True)
    digest = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    url = serializers.URLField()


class AnnotationLine(serializers.Serializer[Any]):
    """What the failed step, or GitHub, said was wrong."""

    level = serializers.ChoiceField(choices=["error", "warning", "notice"])
    title = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    file = serializers.CharField(allow_null=True, help_text="In the spell's repository.")
    line = serializers.IntegerField(allow_null=True)


class ErrorLine(serializers.Serializer[Any]):
    """Why a cast failed. What is known depends on the reason."""

    reason = serializers.CharField()
    message = serializers.CharField()
    annotations = AnnotationLine(many=True, required=False)
    failed_job = serializers.CharField(allow_null=True, required=False)
    failed_step = serializers.CharField(allow_null=True, required=False)
    log_tail = serializers.ListField(child=serializers.CharField(), required=False)
    run_url = serializers.CharField(required=False, allow_null=True)


# Declared here because a serializer class has a property of this name.
ErrorLine._declared_fields["errors"] = serializers.ListField(child=serializers.DictField(), required=False)


class StepLine(serializers.Serializer[Any]):
    """One step of a cast's run."""

    job = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField(help_text="queued, in_progress or completed")
    conclusion = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class CastLine(serializers.Serializer[Any]):
    """One cast."""

    cast_id = serializers.UUIDField()
    spell_key = serializers.CharField()
    spell_name = serializers.CharField()
    cost_cents = serializers.IntegerField()
    charged_cents = serializers.IntegerField(allow_null=True, help_text="What it cost in the end; null before.")
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
    steps = StepLine(many=True)
    artifacts = ArtifactLine(many=True)
    artifact_url = serializers.URLField(allow_null=True)
    output = serializers.JSONField()
    error = ErrorLine(allow_null=True)
    final = serializers.BooleanField()
    queue_position = serializers.IntegerField(allow_null=True, help_text="In the line for a slot; 1 is next.")
    retry_of = serializers.UUIDField(allow_null=True)
    input = serializers.JSONField()
    metadata = serializers.DictField(child=serializers.CharField())
    callback_url = serializers.CharField(allow_null=True, help_text="As it was given.")
    progress_url = serializers.URLField()
    events_url = serializers.URLField()


class CastPage(serializers.Serializer[Any]):
    """Casts, newest first; `next` is the address of the following page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CastLine(many=True)


class SpellLine(serializers.Serializer[Any]):
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

    results = SpellLine(many=True)


class NewCap(StrictSerializer):
    """A change of a cap."""

    cap_cents = StrictIntegerField(min_value=0, max_value=2**62, allow_null=True, help_text="null: no cap; 0: nothing.")
    scope = serializers.ChoiceField(choices=["account", "key", "spell"], default="account")
    key_id = StrictIntegerField(required=False, help_text="With scope key.")
    spell_key = StrictCharField(max_length=64, required=False, help_text="With scope spell.")

    @property
    def partial(self) -> bool:
        """False: one cap is replaced as a whole, though by PATCH, for which drf-spectacular would say otherwise."""
        return False

    @partial.setter
    def partial(self, value: bool) -> None:
        """Leave it so."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take exactly what the scope needs."""
        needed = {"key": "key_id", "spell": "spell_key"}.get(attrs["scope"])
        for name in ("key_id", "spell_key"):
            if (name in attrs) != (name == needed):
                wrong = f"Scope {attrs['scope']} " + ("needs it." if name == needed else "does not take it.")
                raise serializers.ValidationError({name: [wrong]})
        return attrs


class PeriodLine(serializers.Serializer[Any]):
    """One month's money, in cents."""

    month = serializers.DateField()
    cap_cents = serializers.IntegerField(allow_null=True)
    held_cents = serializers.IntegerField()
    captured_cents = serializers.IntegerField()
    remaining_cents = serializers.IntegerField(allow_null=True)
    resets_at = serializers.DateTimeField()


class InnerPeriodLine(PeriodLine):
    """A cap within the account."""

    scope = serializers.CharField()
    ref = serializers.CharField()


class BudgetLine(PeriodLine):
    """This month's money of the account, and the caps within it."""

    caps = InnerPeriodLine(many=True)


class UsageDay(serializers.Serializer[Any]):
    """What one spell cost on one day."""

    day = serializers.DateField()
    spell_key = serializers.CharField()
    casts = serializers.IntegerField()
    captured_cents = serializers.IntegerField()


class UsageLine(serializers.Serializer[Any]):
    """What was spent between two days."""

    to = serializers.DateField()
    total_cents = serializers.IntegerField()
    days = UsageDay(many=True)


# `from` is a word of Python's.
UsageLine._declared_fields["from"] = serializers.DateField()


class KeyLine(serializers.Serializer[Any]):
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

    results = KeyLine(many=True)


class KeyMade(KeyLine):
    """A new API key with its secret, which is shown this once."""

    secret = serializers.CharField()


class ProblemPlace(serializers.Serializer[Any]):
    """What is wrong at one place of a request's body."""

    pointer = serializers.CharField(help_text="JSON Pointer (RFC 6901); blank for the whole body.")
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """What went wrong (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()


# Declared here because a serializer class has a property of this name.
Problem._declared_fields["errors"] = ProblemPlace(many=True, required=False)
