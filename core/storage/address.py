"""STORAGE_URL: which bucket, and how it is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

BACKEND = "core.storage.bucket.BucketStorage"
HOW = (
    "Write s3://BUCKET/PREFIX?region=REGION for Amazon, s3://BUCKET/PREFIX?endpoint=https://HOST for another service; "
    "see docs/how-to/storage.md."
)
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[a-z0-9-]{1,40}")
PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
PARAMETERS = ("endpoint", "public", "region", "style", "downloads")


class BadAddress(ValueError):
    """It can't be used; str() is a sentence that says why, without any value: it may hold a secret."""


@dataclass(frozen=True)
class Bucket:
    name: str
    prefix: str = ""
    endpoint: str = ""  # blank: Amazon's
    public: str = ""  # where callers reach it, if that is elsewhere
    region: str = "us-east-1"
    style: Literal["path", "virtual"] = "virtual"  # how the bucket is named: in the path, or in the host
    proxied: bool = False  # whether downloads go through web, instead of to a signed address

    @property
    def origin(self) -> str:
        """Where callers of signed addresses are sent."""
        own = f"https://s3.{self.region}.amazonaws.com"
        return self.public or self.endpoint or own


def bucket_of(url: str) -> Bucket:
    """Return what STORAGE_URL says. Raise BadAddress."""
    try:
        parts = urlsplit(url.strip())
        port, netloc = parts.port, parts.netloc
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise BadAddress(f"It can't be read. {HOW}") from None
    if parts.scheme != "s3":
        raise BadAddress(f"It must begin with s3://. {HOW}")
    if "@" in netloc:
        raise BadAddress("It must hold no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a role.")
    if port is not None or ":" in netloc:
        raise BadAddress(f"What follows s3:// must be the bucket; a host and port belong in endpoint. {HOW}")
    if not NAME.fullmatch(netloc):
        raise BadAddress("The bucket's name must be 3 to 63 lower-case letters, digits, dots and hyphens.")
    if parts.fragment or url.rstrip().endswith("#"):
        raise BadAddress("It must hold no #.")
    prefix = unquote(parts.path).strip("/")
    if prefix and (not PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")) or len(prefix) > 200):
        raise BadAddress("The prefix must be names of letters, digits, dots, hyphens and _, separated by single /.")
    return Bucket(netloc, prefix, **parameters(given))


def parameters(given: list[tuple[str, str]]) -> dict[str, Any]:
    found = dict(given)
    if unknown := sorted(set(found) - set(PARAMETERS)):
        named = f"{unknown[0]!r}" if re.fullmatch(r"[a-z_]{1,20}", unknown[0]) else "one of them"
        raise BadAddress(f"It knows the parameters {', '.join(PARAMETERS)}; {named} is none of these.")
    if len(found) < len(given):
        raise BadAddress("It has a parameter twice.")
    if blank := [name for name, value in given if not value.strip()]:
        raise BadAddress(f"Its parameter {blank[0]} is blank: leave it out.")
    for name in ("endpoint", "public"):
        if name in found:
            found[name] = origin_of(name, found[name])
    if "region" in found and not REGION.fullmatch(found["region"]):
        raise BadAddress("Its region must be a name such as eu-central-1.")
    if "region" not in found and "endpoint" not in found:
        raise BadAddress(f"It names neither a region nor an endpoint. {HOW}")
    if found.setdefault("style", "path" if "endpoint" in found else "virtual") not in ("path", "virtual"):
        raise BadAddress("Its style must be path or virtual.")
    how = found.pop("downloads", "redirect")
    if how not in ("redirect", "proxy"):
        raise BadAddress("Its downloads must be redirect or proxy.")
    return {**found, "proxied": how == "proxy"}


def origin_of(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadAddress(f"Its {name} must be scheme, host and port alone, such as https://s3.example.com.")
    return url.rstrip("/")
