"""ETags: fingerprints by which a client's copy is recognised as still current."""

import hashlib

from django.utils.http import parse_etags


def etag_of(content: bytes) -> str:
    """Return the strong ETag of some bytes, in its quotes."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_current(if_none_match: str, etag: str) -> bool:
    """Whether the client's If-None-Match names this ETag; proxies may have made it a weak one."""
    named = [tag.removeprefix("W/") for tag in parse_etags(if_none_match)]
    return etag in named or "*" in named
