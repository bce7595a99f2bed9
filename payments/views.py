"""Stripe's webhook endpoint."""

import json
import logging

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from core.api.problems import problem
from core.rationing.visits import fail, prove, visit
from payments.inbox import Malformed, receive, told
from payments.signature import signature_matches

logger = logging.getLogger(__name__)

OFF = "No billing is set up on this installation: STRIPE_SECRET_KEY is not set."


@csrf_exempt
def stripe(request: HttpRequest) -> HttpResponse:
    """Store one event: 200, also if it is known or none of ours; 400 if Stripe did not sign it, or it is no event."""
    if not settings.BILLING:
        return problem(404, "BILLING_OFF", OFF)
    if request.method != "POST":
        return problem(405, "METHOD_NOT_ALLOWED", "Stripe delivers webhooks with POST.", headers={"Allow": "POST"})
    try:
        body = request.body
    except RequestDataTooBig:
        return problem(413, "INPUT_TOO_LARGE", "Stripe's webhooks are smaller.")
    if not signature_matches(body, request.headers.get("Stripe-Signature", ""), settings.STRIPE_WEBHOOK_SECRETS):
        fail(visit.get())
        logger.warning("event refused", extra={"reason": "bad signature"})
        return problem(
            400,
            "BAD_SIGNATURE",
            "Stripe-Signature is missing, was not made with our secret, or not within the last five minutes. Is the "
            "endpoint's signing secret the one in STRIPE_WEBHOOK_SECRET, and is this machine's clock right?",
        )
    prove(visit.get())
    try:
        receive(told(json.loads(body)))
    except (ValueError, RecursionError) as exc:
        why = str(exc) if isinstance(exc, Malformed) else "The body is not JSON"
        logger.warning("event refused", extra={"reason": why})
        return problem(400, "MALFORMED_REQUEST", why)
    return HttpResponse(status=200)
