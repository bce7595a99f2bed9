"""Addresses of ours, as clients reach them."""

from django.conf import settings
from django.utils.http import urlencode


def absolute(path: str, **query: str) -> str:
    """Return a path of ours as clients reach it."""
    return settings.PUBLIC_URL + path + (f"?{urlencode(query)}" if query else "")
