"""GitHub's webhook endpoint."""

import logging

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from core import access
from core.api.problems import problem
from core.rationing.visits import prove, visit
from webhooks.inbox import GUID, Altered, Malformed, receive_delivery
from webhooks.signature import signature_matches

logger = logging.getLogger(__name__)


@csrf_exempt
def github(request: HttpRequest) -> HttpResponse:
    """Store one delivery: 202 new, 200 seen before, 401 wrong signature, 409 altered, 400, 413 or 415 no delivery."""
    if request.method != "POST":
        return problem(405, "METHOD_NOT_ALLOWED", "GitHub delivers webhooks with POST.", headers={"Allow": "POST"})
    try:
        body = request.body
    except RequestDataTooBig:
        return problem(413, "INPUT_TOO_LARGE", "GitHub's webhooks have 25 MB at most.")
    if not signature_matches(body, request.headers.get("X-Hub-Signature-256", ""), settings.GITHUB_WEBHOOK_SECRETS):
        logger.warning("delivery refused", extra={"reason": "bad signature"})
        return problem(
            401,
            "UNAUTHORIZED",
            "X-Hub-Signature-256 is missing or was not made with our secret. Is the App's webhook secret the one in "
            "GITHUB_WEBHOOK_SECRET?",
        )
    prove(visit.get())
    guid, event = request.headers.get("X-GitHub-Delivery", ""), request.headers.get("X-GitHub-Event", "")
    if not event or not GUID.fullmatch(guid):
        return problem(400, "MALFORMED_REQUEST", "X-GitHub-Event is needed, and X-GitHub-Delivery, which is a UUID.")
    access.know(guid=guid.lower())
    if not sent_to_us(request):
        return problem(400, "MALFORMED_REQUEST", "X-GitHub-Hook-Installation-Target-ID names another App than ours.")
    if request.content_type != "application/json":
        return problem(
            415, "UNSUPPORTED_MEDIA_TYPE", "Set the webhook's content type to application/json in the App's settings."
        )
    try:
        new = receive_delivery(guid=guid, event=event, body=body)
    except Malformed as exc:
        logger.warning("delivery refused", extra={"guid": guid, "event_name": event, "reason": str(exc)})
        return problem(400, "MALFORMED_REQUEST", str(exc))
    except Altered:
        logger.warning("delivery refused", extra={"guid": guid, "event_name": event, "reason": "another body"})
        return problem(409, "CONFLICT", "A delivery with this GUID was received before, and its body was another one.")
    return HttpResponse(status=202 if new else 200)


def sent_to_us(request: HttpRequest) -> bool:
    """Return whether a webhook of an App is ours: another one may have the same secret."""
    kind = request.headers.get("X-GitHub-Hook-Installation-Target-Type", "")
    # The setting may also be a client id, which these headers don't name.
    if kind != "integration" or not settings.GITHUB_APP_ID.isdecimal():
        return True
    return request.headers.get("X-GitHub-Hook-Installation-Target-ID", "") == settings.GITHUB_APP_ID
