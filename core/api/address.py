"""Whose request it is, by address: for counting, for the log and for the audit log.

A proxy's word counts only if the proxy is trusted (TRUSTED_PROXIES): anybody can send `X-Forwarded-For`. Each proxy
adds on the right the peer that it saw, so the right-most address that is not a trusted proxy's is the client's; what
stands further to the left was written by the client itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from django.conf import settings
from django.http import HttpRequest

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "0.0.0.0"  # noqa: S104 - not to bind to: who comes through a Unix socket without saying from where
MAX_PROXIES = 16  # that a request passes; a longer header is read no further
SUBSCRIBER_BITS = 64  # of an IPv6 address; the rest is its holder's to choose


def client_address(source: HttpRequest | Mapping[str, Any]) -> str:
    """Return the address of who sent a request (or of an ASGI scope), as text; UNKNOWN if nothing tells it."""
    if isinstance(source, HttpRequest):
        peer, forwarded = source.META.get("REMOTE_ADDR", ""), source.META.get("HTTP_X_FORWARDED_FOR", "")
    else:
        peer = (source.get("client") or ("",))[0]
        # Several lines are one list, in their order.
        lines = [value for name, value in source["headers"] if name == b"x-forwarded-for"]
        forwarded = b",".join(lines).decode("latin-1") if lines else ""
    return _client(peer or "", forwarded, tuple(settings.TRUSTED_PROXIES))


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """Return what an address is counted under: itself, or the network of 64 bits that one holder of IPv6 has."""
    found = parsed(address)
    if found is None or found.version == 4:
        return address
    return str(ipaddress.ip_network((int(found) >> SUBSCRIBER_BITS << SUBSCRIBER_BITS, SUBSCRIBER_BITS)))


def parsed(text: str) -> IPAddress | None:
    """Return the address that a proxy wrote, perhaps with a port or in brackets; None if it is none."""
    text = text.strip().strip('"')
    host, bracket, _ = text.removeprefix("[").partition("]")
    if not bracket and text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(host.partition("%")[0])  # without an interface's name
    except ValueError:
        return None
    # A socket for both families shows IPv4 so.
    return getattr(found, "ipv4_mapped", None) or found


@lru_cache(maxsize=4096)
def _client(peer: str, forwarded: str, trusted: tuple[str, ...]) -> str:
    address = parsed(peer)
    # Without a peer it came through a Unix socket, which only a proxy on this machine can open.
    if address is not None and not _is_trusted(address, trusted):
        return str(address)
    for text in reversed(forwarded.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:] if forwarded else []):
        further = parsed(text)
        if further is None:  # whatever that is, no proxy of ours wrote it
            break
        address = further
        if not _is_trusted(address, trusted):
            break
    return UNKNOWN if address is None else str(address)


def is_trusted(address: str) -> bool:
    """Whether this is the address of a trusted proxy."""
    found = parsed(address)
    return found is not None and _is_trusted(found, tuple(settings.TRUSTED_PROXIES))


def _is_trusted(address: IPAddress, trusted: tuple[str, ...]) -> bool:
    return any(address in network for network in _networks(trusted))


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(networks(texts))


def networks(texts: Iterable[str]) -> list[Network]:
    """Return networks; raise ValueError for a text that names none. An address is a network of one."""
    return [ipaddress.ip_network(text) for text in texts]
