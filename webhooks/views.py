"""GitHub's webhook endpoint. Our own ASGI application serves most of it with `webhooks.asgi`."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from core import access
from core.api.problems import problem
from core.rationing.visits import prove, visit
from webhooks.inbox import Altered, receive_delivery
from webhooks.reading import GUID, Arrived, Malformed
from webhooks.signature import signature_matches

logger = logging.getLogger(__name__)
Header = Callable[[str], str]  # returns a request's header, "" if it has none


@csrf_exempt
def github(request: HttpRequest) -> HttpResponse:
    """Store one delivery: 202 new, 200 seen before, 401 wrong signature, 409 altered, 400, 413 or 415 no delivery."""
    if request.method != "POST":
        return problem(405, "METHOD_NOT_ALLOWED", "GitHub delivers webhooks with POST.", headers={"Allow": "POST"})
    try:
        body = request.body
    except RequestDataTooBig:
        return problem(413, "INPUT_TOO_LARGE", "GitHub's webhooks have 25 MB at most.")
    arrived = verified(lambda name: request.headers.get(name, ""), request.content_type or "", body)
    if isinstance(arrived, HttpResponse):
        return arrived
    try:
        return answer_to(arrived, receive_delivery(guid=arrived.guid, event=arrived.event, body=body))
    except (Malformed, Altered) as exc:
        return answer_to(arrived, exc)


def verified(header: Header, content_type: str, body: bytes) -> Arrived | HttpResponse:
    """Return the delivery that a request with this body brings, or what refuses it."""
    if not signature_matches(body, header("X-Hub-Signature-256"), settings.GITHUB_WEBHOOK_SECRETS):
        logger.warning("delivery refused", extra={"reason": "bad signature"})
        return problem(
            401,
            "UNAUTHORIZED",
            "X-Hub-Signature-256 is missing or was not made with our secret. Is the App's webhook secret the one in "
            "GITHUB_WEBHOOK_SECRET?",
        )
    prove(visit.get())
    guid, event = header("X-GitHub-Delivery"), header("X-GitHub-Event")
    if not event or not GUID.fullmatch(guid):
        return problem(400, "MALFORMED_REQUEST", "X-GitHub-Event is needed, and X-GitHub-Delivery, which is a UUID.")
    access.know(guid=guid.lower())
    if not sent_to_us(header):
        return problem(400, "MALFORMED_REQUEST", "X-GitHub-Hook-Installation-Target-ID names another App than ours.")
    if content_type != "application/json":
        return problem(
            415, "UNSUPPORTED_MEDIA_TYPE", "Set the webhook's content type to application/json in the App's settings."
        )
    return Arrived(guid, event, body)


def answer_to(arrived: Arrived, verdict: bool | Malformed | Altered) -> HttpResponse:
    facts = {"guid": arrived.guid, "event_name": arrived.event}
    if isinstance(verdict, Malformed):
        logger.warning("delivery refused", extra={**facts, "reason": str(verdict)})
        return problem(400, "MALFORMED_REQUEST", str(verdict))
    if isinstance(verdict, Altered):
        logger.warning("delivery refused", extra={**facts, "reason": "another body"})
        return problem(409, "CONFLICT", "A delivery with this GUID was received before, and its body was another one.")
    return HttpResponse(status=202 if verdict else 200)


def sent_to_us(header: Header) -> bool:
    """Return whether a webhook of an App is ours: another one may have the same secret."""
    kind = header("X-GitHub-Hook-Installation-Target-Type")
    # The setting may also be a client id, which these headers don't name.
    if kind != "integration" or not settings.GITHUB_APP_ID.isdecimal():
        return True
    return header("X-GitHub-Hook-Installation-Target-ID") == settings.GITHUB_APP_ID
