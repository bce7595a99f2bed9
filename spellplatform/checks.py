"""System checks: configurations that must not serve, and ones that should be looked at."""

import ipaddress
import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from accounts.audit import retention as audit
from core import safe_http, sealing
from github_integration.auth import private_key
from github_integration.errors import NotConfigured
from spellplatform.env import host_of, problem_of_public_url
from webhooks.inbox import LEAST_DAYS

MAKE_ONE = "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
LEAST_KEY, LEAST_WEBHOOK, LEAST_DIFFERENT = 32, 16, 6  # characters
LEAST_KEY_BITS, LEAST_WEBHOOK_BITS = 80, 24  # of what a text's own characters tell, which is less than it was made of
# Written in documentation, ours and others', or usual stand-ins.
KNOWN = re.compile(
    r"only-for-debug|django-insecure.*|.*random-characters|the-output-of-.*|the-(webhook-)?secret.*|my-webhook-secret"
    r"|it's a secret to everybody|.*change.?me.*|(your|my).?(secret|key).*|(secret|password|test|example)[\W\d_]*",
    re.IGNORECASE,
)


def weakness(secret: str, *, least: int, bits: float) -> str:
    """Say what is wrong with a secret that ought to be random, blank if nothing is to be seen. Never the secret."""
    if KNOWN.fullmatch(secret.strip()):
        return "is a value from documentation"
    if len(secret) < least:
        return f"has {len(secret)} characters, of at least {least}"
    repeated = secret in (secret + secret)[1:-1]
    counts = [secret.count(character) for character in set(secret)]
    if repeated or len(counts) < LEAST_DIFFERENT or -sum(n * math.log2(n / len(secret)) for n in counts) < bits:
        return "repeats itself and is easily guessed"
    return ""


@register()
def traces(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say what keeps traces from being exported, where the settings want them."""
    if not settings.TRACES:
        return []
    found: list[CheckMessage] = []
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        hint = "pip install 'opentelemetry-sdk>=1.45.2,<2' 'opentelemetry-exporter-otlp-proto-http>=1.45.2,<2'"
        found.append(Error("OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry.", hint=hint, id="spell.E070"))
    if settings.TRACES_PROTOCOL.strip() != "http/protobuf":
        hint = "Leave OTEL_EXPORTER_OTLP_PROTOCOL out, and name the collector's port for HTTP, which is 4318 as a rule."
        found.append(Error("Traces are sent by OTLP over HTTP (http/protobuf) only.", hint=hint, id="spell.E071"))
    if not re.match(r"https?://\S+$", settings.TRACES_URL):
        hint = "Write it with its scheme: http://127.0.0.1:4318"
        found.append(
            Error("OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https:// address.", hint=hint, id="spell.E072")
        )
    return found


def on_this_machine(url: str) -> bool:
    host = host_of(url).strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain(url: str) -> bool:
    """Whether what is sent there can be read on the way."""
    return url.lower().startswith("http://") and not on_this_machine(url)


def open_to_all(path: Path) -> bool:
    """Whether every user of the machine may read a file, or look into a folder."""
    try:
        if not path.is_dir() and not path.parent.stat().st_mode & 0o001:
            return False
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False


@register()
def secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        settings.SECRET_KEY  # noqa: B018 - Django itself refuses to read an empty one
    except ImproperlyConfigured:
        hint = (
            "Set it to 50 random characters (python3 -c 'import secrets; print(secrets.token_urlsafe(50))'), or set "
            "DEBUG=1 on your own machine. See docs/reference/configuration.md."
        )
        return [Error("SECRET_KEY is not set.", hint=hint, id="spell.E004")]
    given = {"SECRET_KEY": settings.SECRET_KEY}
    given |= {f"SECRET_KEY_FALLBACKS, entry {n}": key for n, key in enumerate(settings.SECRET_KEY_FALLBACKS, 1)}
    hint = f"{MAKE_ONE}. Links and sessions that were signed with this one end; it must not be a fallback either."
    return [
        Error(f"{name} {problem}: whoever guesses it makes links and sessions that open.", hint=hint, id="spell.E005")
        for name, key in given.items()
        if not settings.DEBUG and (problem := weakness(key, least=LEAST_KEY, bits=LEAST_KEY_BITS))
    ]


@register()
def field_encryption_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    hint = (
        "Make one: python3 -c 'import base64, secrets; "
        "print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'. "
        "Keep the old ones behind it until manage.py reencrypt has run."
    )
    return [
        Error(f"FIELD_ENCRYPTION_KEYS, entry {n}, is not 32 bytes as base64.", hint=hint, id="spell.E011")
        for n, key in enumerate(settings.FIELD_ENCRYPTION_KEYS, 1)
        if not sealing.is_key(key)
    ]


@register()
def webhook_secret(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.DEBUG:
        return []
    weak = [
        weakness(secret, least=LEAST_WEBHOOK, bits=LEAST_WEBHOOK_BITS) for secret in settings.GITHUB_WEBHOOK_SECRETS
    ]
    if weak and not any(weak):
        return []
    if weak:
        hint = f"{MAKE_ONE}. Then set it on GitHub too; docs/how-to/github-actions-setup.md says how nothing is lost."
        return [
            Error(
                f"GITHUB_WEBHOOK_SECRET, entry {n}, {problem}: whoever guesses it signs as GitHub.",
                hint=hint,
                id="spell.E006",
            )
            for n, problem in enumerate(weak, 1)
            if problem
        ]
    # Without a secret anybody could sign.
    return [
        Error(
            "GITHUB_WEBHOOK_SECRET is not set.",
            hint="Set it to the secret in the GitHub App's webhook settings. See docs/how-to/github-actions-setup.md.",
            id="spell.E001",
        )
    ]


@register()
def metrics_token(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Nothing rations who tries tokens: what watches the service must get through at any time."""
    return [
        Error(
            f"METRICS_TOKEN, entry {n}, {problem}: whoever guesses it reads /metrics.", hint=MAKE_ONE, id="spell.E022"
        )
        for n, token in enumerate(settings.METRICS_TOKENS, 1)
        if not settings.DEBUG and (problem := weakness(token, least=LEAST_WEBHOOK, bits=LEAST_WEBHOOK_BITS))
    ]


@register()
def github_credentials(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.GITHUB_APP_ID:
        if settings.GITHUB_TOKEN or settings.DEBUG:
            return []
        hint = "Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, or GITHUB_TOKEN for a first try."
        return [Warning("There are no GitHub credentials: casts will wait.", hint=hint, id="spell.W001")]
    try:
        private_key(settings.GITHUB_APP_PRIVATE_KEY)
    except NotConfigured as exc:
        return [Error(str(exc), id="spell.E002")]
    return []


@register()
def public_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # Every link that we hand out begins with it.
    problem = problem_of_public_url(settings.PUBLIC_URL)
    if problem:
        return [Error(problem, id="spell.E003")]
    if is_plain(settings.PUBLIC_URL) and not settings.DEBUG:
        hint = (
            "Have a proxy end TLS in front of the service, and write https:// (docs/how-to/production.md). On your own "
            "machine leave it at http://127.0.0.1:8000, or set DEBUG=1."
        )
        told = "PUBLIC_URL is http:// and no address of this machine: API keys, links and passwords would be readable."
        return [Error(told, hint=hint, id="spell.E007")]
    return []


@register()
def debug(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.DEBUG and (settings.SECURE or not on_this_machine(settings.PUBLIC_URL)):
        told = "DEBUG is on, and PUBLIC_URL is no address of this machine: errors show settings and source to anybody."
        return [Warning(told, hint="Take DEBUG out, and set SECRET_KEY.", id="spell.W003")]
    return []


@register()
def origins(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    plain = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if is_plain(origin)]
    found: list[CheckMessage] = []
    if plain and not settings.DEBUG and not is_plain(settings.PUBLIC_URL):
        told = "CSRF_TRUSTED_ORIGINS names an origin without TLS: whoever is on its way may send the admin's forms."
        found.append(Warning(told, hint="Write https://, or leave it out.", id="spell.W004"))
    if "*" in settings.ALLOWED_HOSTS and not settings.DEBUG:
        hint = "Name the hosts by which the service is reached, or leave it out for that of PUBLIC_URL."
        found.append(Warning("ALLOWED_HOSTS allows any host.", hint=hint, id="spell.W005"))
    return found


@register()
def stores(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [] if settings.DEBUG else in_the_clear(settings.DATABASES["default"], settings.RATION_URL)


def in_the_clear(database: dict[str, Any], ration_url: str) -> list[CheckMessage]:
    """Warn if what is stored, or the passwords for it, can be read on the way to another machine."""
    found: list[CheckMessage] = []
    encrypted = str(database.get("OPTIONS", {}).get("sslmode", "")) in ("require", "verify-ca", "verify-full")
    if database["ENGINE"].endswith("postgresql") and is_elsewhere(database["HOST"]) and not encrypted:
        told = (
            "DATABASE_URL names another machine, and does not insist on TLS: what is stored may be readable on the way."
        )
        hint = "Add ?sslmode=verify-full (and &sslrootcert=FILE for an authority of your own)."
        found.append(Warning(told, hint=hint, id="spell.W007"))
    if ration_url.startswith("redis://") and is_elsewhere(urlsplit(ration_url).hostname or ""):
        told = "RATION_URL names another machine, without TLS: its password is readable on the way."
        found.append(Warning(told, hint="Write rediss://.", id="spell.W008"))
    return found


def is_elsewhere(host: str) -> bool:
    """Whether a host is another machine. A name without a dot is a neighbour's, such as another container's."""
    if host.startswith(("/", "%2F")) or not ("." in host or ":" in host):
        return False
    return not on_this_machine(f"//[{host}]" if ":" in host else f"//{host}")


@register()
def files(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Files of an earlier release may be open to all users of the machine."""
    database = settings.DATABASES["default"]
    named = [("ARTIFACT_ROOT", Path(settings.ARTIFACT_ROOT))]
    if database["ENGINE"] == "spellplatform.sqlite" and database["NAME"]:
        named.append(("DATABASE_URL", Path(database["NAME"])))
    return [
        Warning(
            f"What {name} names may be read by every user of this machine.",
            hint=f"chmod -R o= {path if path.is_dir() else f'{path}*'}",
            id="spell.W006",
        )
        for name, path in named
        if not settings.DEBUG and open_to_all(path)
    ]


@register()
def github_api_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    hint = "Leave it out for github.com; an Enterprise Server has it at https://HOST/api/v3."
    if not settings.GITHUB_API_URL.startswith(("http://", "https://")) or not host_of(settings.GITHUB_API_URL):
        return [Error("GITHUB_API_URL must begin with https:// (or http://).", hint=hint, id="spell.E008")]
    if is_plain(settings.GITHUB_API_URL) and not settings.DEBUG:
        told = "GITHUB_API_URL is http:// and no address of this machine: tokens would be readable on the way."
        return [Error(told, hint=hint, id="spell.E009")]
    return []


@register()
def callback_allow_list(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        # An entry that can't be read would allow nothing, or something else than was meant.
        safe_http.allow_list()
    except ValueError as exc:
        return [Error(f"CALLBACK_ALLOWED_HOSTS: {exc}", hint="See docs/reference/callbacks.md.", id="spell.E010")]
    return []


@register()
def delivery_retention(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A delivery deleted while GitHub's log still has it would be received again by the sweep."""
    if settings.DELIVERY_RETENTION_DAYS >= LEAST_DAYS:
        return []
    return [Error(f"DELIVERY_RETENTION_DAYS must be at least {LEAST_DAYS}.", id="spell.E020")]


@register()
def audit_retention(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.AUDIT_RETENTION_DAYS == 0 or settings.AUDIT_RETENTION_DAYS >= audit.LEAST_DAYS:
        return []
    return [Error(f"AUDIT_RETENTION_DAYS must be 0, for good, or at least {audit.LEAST_DAYS}.", id="spell.E021")]


@register()
def ration_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.RATION_URL:
        return []
    if not settings.RATION_URL.startswith(("redis://", "rediss://", "unix://")):
        return [Error("RATION_URL must begin with redis://, rediss:// or unix://.", id="spell.E030")]
    if find_spec("redis") is None:
        hint = "Install it (pip install redis), or leave RATION_URL out: then the database counts."
        return [Error("RATION_URL needs the package redis.", hint=hint, id="spell.E031")]
    return []
