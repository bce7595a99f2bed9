"""System checks of where artifacts are kept."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from core.storage.address import Bucket
from spellplatform.checks import is_elsewhere


@register()
def storage_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    bucket = settings.STORAGES["default"].get("OPTIONS", {}).get("bucket")
    if not isinstance(bucket, Bucket):
        return []
    found: list[CheckMessage] = []
    if find_spec("storages") is None or find_spec("boto3") is None:
        hint = "Install it (pip install 'django-storages[s3]'), or leave STORAGE_URL out: then a folder does."
        found.append(Error("STORAGE_URL needs the package django-storages[s3].", hint=hint, id="spell.E060"))
    if not bucket.proxied and same_origin(bucket.origin, settings.PUBLIC_URL):
        # What strangers made would be served where our cookies are.
        told = "STORAGE_URL sends callers to the origin of PUBLIC_URL for artifacts."
        hint = "Serve the bucket at a name of its own (public=…), or add downloads=proxy."
        found.append(Error(told, hint=hint, id="spell.E061"))
    for name, url in (("endpoint", bucket.endpoint), ("public", bucket.public)):
        if not settings.DEBUG and url.startswith("http://") and is_elsewhere(urlsplit(url).hostname or ""):
            told = f"STORAGE_URL: its {name} names another machine, without TLS: artifacts are readable on the way."
            found.append(Warning(told, hint="Write https://.", id="spell.W060"))
    return found


def same_origin(one: str, other: str) -> bool:
    def origin(url: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    return origin(one) == origin(other)
