"""ETags: fingerprints that tell whether a client's copy is still current."""

import hashlib

from django.utils.http import parse_etags


def etag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_current(if_none_match: str, etag: str) -> bool:
    """Whether the client's If-None-Match names this ETag, perhaps as a weak one, which proxies make of it."""
    named = [tag.removeprefix("W/") for tag in parse_etags(if_none_match)]
    return etag in named or "*" in named
