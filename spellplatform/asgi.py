"""The ASGI application: a handler for pages and the admin, one for the API, and event streams."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import SystemCheckError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
NOT_LOADED = 4  # an exit code by which gunicorn ends, instead of starting the process again and again


@contextmanager
def refusing() -> Iterator[None]:
    """Exit with one sentence, without a traceback, if the configuration can't be read or is unsafe."""
    try:
        yield
    except (ImproperlyConfigured, SystemCheckError) as exc:
        print(exc, file=sys.stderr)
        raise SystemExit(NOT_LOADED) from None


with refusing():
    django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 - needs a set-up Django
from django.core.management import call_command  # noqa: E402 - likewise

from casts.api import openapi  # noqa: E402 - likewise
from casts.live.asgi import streams  # noqa: E402 - likewise
from core import limits  # noqa: E402 - likewise
from core.asgi import behind  # noqa: E402 - likewise
from core.asgi.access_log import access_log  # noqa: E402 - likewise
from core.asgi.bodies import bounded_bodies  # noqa: E402 - likewise
from core.asgi.gate import gate  # noqa: E402 - likewise
from core.asgi.handler import ApiHandler, PageHandler  # noqa: E402 - likewise
from core.asgi.health import watched  # noqa: E402 - likewise
from core.asgi.http_only import http_only  # noqa: E402 - likewise
from core.asgi.lifespan import lifespan  # noqa: E402 - likewise
from core.asgi.paths import under  # noqa: E402 - likewise
from core.asgi.targets import short_targets  # noqa: E402 - likewise
from core.asgi.traces import in_traces, traced  # noqa: E402 - likewise
from core.db.timeouts import bound_statements  # noqa: E402 - likewise
from core.telemetry import tracing  # noqa: E402 - likewise
from spellplatform.errors import refused, too_many  # noqa: E402 - likewise
from webhooks.asgi import deliveries  # noqa: E402 - likewise

# A server does not run the checks that every management command runs; an unsafe configuration must not serve.
with refusing():
    call_command("check", fail_level="ERROR")
openapi.document()
bound_statements(settings.WEB_STATEMENT_SECONDS)
tracing.start("web")

# Each layer is a function of the application behind it (core.asgi); a request passes them from top to bottom.
BODIES = {
    "/": limits.FORM_BYTES,
    "/admin/": limits.ADMIN_FORM_BYTES,
    "/admin/login/": limits.FORM_BYTES,
    "/spells/": limits.SPELL_FORM_BYTES,
    "/api/": limits.BODY_BYTES,
    "/api/webhooks/": limits.WEBHOOK_BYTES,
    "/api/webhooks/stripe": limits.STRIPE_BYTES,
}
SIGNED = {"/api/webhooks/github": b"x-hub-signature-256", "/api/webhooks/stripe": b"stripe-signature"}
api = ApiHandler()
application = behind(
    lifespan,
    http_only,
    in_traces,
    access_log,
    watched,
    gate(signed=SIGNED, page=too_many),
    short_targets(page=refused),
    bounded_bodies(BODIES, page=refused),
    streams,
    traced,
    deliveries("/api/webhooks/github", name="github-webhook"),
    under("/api/", api),
    app=PageHandler(),
)
