"""System checks: configurations that must not serve, and ones that should be looked at."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from core import safe_http
from github_integration.auth import private_key
from github_integration.errors import NotConfigured
from spellplatform.env import host_of, problem_of_public_url
from webhooks.inbox import LEAST_DAYS


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
    return []


@register()
def webhook_secret(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # Without a secret anybody could sign.
    if settings.GITHUB_WEBHOOK_SECRETS or settings.DEBUG:
        return []
    return [
        Error(
            "GITHUB_WEBHOOK_SECRET is not set.",
            hint="Set it to the secret in the GitHub App's webhook settings. See docs/how-to/github-actions-setup.md.",
            id="spell.E001",
        )
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
    return [Error(problem, id="spell.E003")] if problem else []


@register()
def github_api_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.GITHUB_API_URL.startswith(("http://", "https://")) and host_of(settings.GITHUB_API_URL):
        return []
    hint = "Leave it out for github.com; an Enterprise Server has it at https://HOST/api/v3."
    return [Error("GITHUB_API_URL must begin with https:// (or http://).", hint=hint, id="spell.E004")]


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
