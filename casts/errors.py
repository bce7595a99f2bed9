"""What callers are told went wrong with spells, casts, artifacts and callbacks."""

from core.errors import SpellError


class SpellNotFound(SpellError):
    """No such spell for this key."""

    code, status, title = "SPELL_NOT_FOUND", 404, "Spell not found"


class SpellVersionNotFound(SpellError):
    """The spell never had a version of this number, or it was another account's then."""

    code, status, title = "SPELL_VERSION_NOT_FOUND", 404, "Version of the spell not found"


class CastNotFinal(SpellError):
    """The cast is still open."""

    code, status, title = "CAST_NOT_FINAL", 409, "Cast has not ended"


class CastNotFound(SpellError):
    """No such cast, or another account's, which is the same to the caller."""

    code, status, title = "CAST_NOT_FOUND", 404, "Cast not found"


class ArtifactNotFound(SpellError):
    """The cast has no such artifact, or the file of our copy is missing in our storage."""

    code, status, title = "ARTIFACT_NOT_FOUND", 404, "Artifact not found"


class NoResult(SpellError):
    """The cast has no such result: it has not ended, it left none, or none of this kind."""

    code, status, title = "NO_RESULT", 404, "No such result"


class NoPreview(SpellError):
    """It is no picture and no PDF, or none that is shown."""

    code, status, title = "NO_PREVIEW", 404, "No preview"


class InputRemoved(SpellError):
    """The input was kept for as long as it was to be, and is deleted."""

    code, status, title = "INPUT_REMOVED", 410, "The cast's input was deleted"


class ArtifactExpired(SpellError):
    """It is gone because its retention has passed, or it could not be copied."""

    code, status, title = "ARTIFACT_EXPIRED", 410, "Artifact expired"


class ArtifactNotReady(SpellError):
    """Its copy is not complete yet; try again later."""

    code, status, title = "ARTIFACT_PENDING", 409, "Artifact not copied yet"


class CallbackNotFound(SpellError):
    """No such callback in this account."""

    code, status, title = "CALLBACK_NOT_FOUND", 404, "Callback not found"


class EndpointNotFound(SpellError):
    """No such endpoint in this account."""

    code, status, title = "ENDPOINT_NOT_FOUND", 404, "Endpoint not found"


class TooManyEndpoints(SpellError):
    """The account has as many as it may: the end of every cast is sent to each of them."""

    code, status, title = "TOO_MANY_ENDPOINTS", 409, "Too many endpoints"


class EndpointDisabled(SpellError):
    """It was switched off or deleted: no callback to it would be sent."""

    code, status, title = "ENDPOINT_DISABLED", 409, "Endpoint is disabled"


class TooManyTests(SpellError):
    """An endpoint was sent as many test events as it may be in a minute."""

    code, status, title = "TOO_MANY_TESTS", 429, "Too many test events"


class CallbackInFlight(SpellError):
    """It is being sent at this moment."""

    code, status, title = "CALLBACK_IN_FLIGHT", 409, "Callback is being sent"


class MalformedKey(SpellError):
    """Not a usable Idempotency-Key."""

    code, status, title = "MALFORMED_REQUEST", 400, "Malformed request"


class KeyReused(SpellError):
    """The key has been used for another request."""

    code, status, title = "IDEMPOTENCY_KEY_REUSED", 422, "Idempotency-Key used for another request"


class TwinInFlight(SpellError):
    """A request with this key is being worked on."""

    code, status, title = "IDEMPOTENCY_CONFLICT", 409, "The same request is in progress"


class TooManyStreams(SpellError):
    """As many streams and waiting requests are open as may be."""

    code, status, title = "TOO_MANY_STREAMS", 429, "Too many open streams"


class StorageUnavailable(SpellError):
    """Artifacts can't be read just now."""

    code, status, title = "UNAVAILABLE", 503, "Service Unavailable"
