"""POST to an address that a caller chose, without being turned against our own network.

A caller's address may lead to us ourselves, to our neighbours, or to a cloud's metadata service, and a name may lead
somewhere else at every look-up. So a name is looked up once, every address it has is checked, and the connection goes
to a checked address; TLS still verifies the name. No redirect is followed and no proxy of the environment is used.
CALLBACK_ALLOWED_HOSTS names what may be reached all the same.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from requests.utils import DEFAULT_CA_BUNDLE_PATH

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

EXCERPT_BYTES = 4096  # of an answer's body; the rest is not read
PORTS = {"https": 443, "http": 80}
VISIBLE = re.compile(r"[\x21-\x7e]+")
HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
# Refused beside everything that isn't globally reachable. Some of it is known as such to newer Pythons only.
# Source: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry
ALSO_REFUSED = [
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's host, reachable from its virtual machines only
        "::/96",  # IPv4-compatible, long given up
        "64:ff9b:1::/48",  # translation to private IPv4
        "2001::/23",  # Teredo, ORCHID and other protocols
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
]
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class BadAddress(ValueError):
    """Not an address that we call: str() says why, to the person who chose it."""


class Unreached(Exception):
    """No answer: str() says what happened. Another try may do better."""


@dataclass(frozen=True)
class Target:
    """Where a URL leads, in parts."""

    scheme: str
    host: str  # without brackets
    port: int
    path: str  # with the query

    @property
    def secure(self) -> bool:
        return self.scheme == "https"


@dataclass(frozen=True)
class Answer:
    """The answer, as far as we read it."""

    status: int
    retry_after: str
    excerpt: bytes


@dataclass(frozen=True)
class AllowList:
    """CALLBACK_ALLOWED_HOSTS, parsed."""

    hosts: frozenset[tuple[str, int | None]]  # None: every port
    networks: tuple[IPNetwork, ...]

    def names(self, target: Target) -> bool:
        """Whether the list has the URL's host as it is written."""
        if (target.host, None) in self.hosts or (target.host, target.port) in self.hosts:
            return True
        literal = as_literal(target.host)
        return literal is not None and self.covers(literal)

    def covers(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)


def allow_list() -> AllowList:
    """Return what CALLBACK_ALLOWED_HOSTS allows; raise ValueError for an entry that can't be read."""
    return _parsed(tuple(settings.CALLBACK_ALLOWED_HOSTS))


@lru_cache(maxsize=8)
def _parsed(entries: tuple[str, ...]) -> AllowList:
    hosts: set[tuple[str, int | None]] = set()
    networks: list[IPNetwork] = []
    for entry in (entry.strip().lower() for entry in entries):
        try:
            networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            continue
        except ValueError:
            parts = urlsplit(f"//{entry}")
        if not parts.hostname or parts.netloc != entry or "@" in entry or parts.path:
            raise ValueError(f"{entry!r} is neither host, host:port, nor a network such as 10.0.0.0/8.")
        hosts.add((parts.hostname, parts.port))
    return AllowList(frozenset(hosts), tuple(networks))


def target_of(url: str) -> Target:
    """Split a URL; raise BadAddress for what we never call. No look-up: that is done when connecting."""
    if not VISIBLE.fullmatch(url) or "\\" in url:
        raise BadAddress("An address is visible ASCII without backslashes: write other characters percent-encoded.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as exc:
        raise BadAddress(f"It is not a whole address: {exc}.") from exc
    if parts.scheme not in PORTS:
        raise BadAddress("It must begin with https://.")
    if "@" in parts.netloc:
        raise BadAddress("It must not carry a user name or password; check the signature instead.")
    if "#" in url:
        raise BadAddress("It must not have a fragment (#...).")
    if port == 0 or not host or not (HOST.fullmatch(host) or ":" in host):
        raise BadAddress("It must name a host, and a port from 1 to 65535 if any.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, host, port or PORTS[parts.scheme], path)
    allowed = allow_list()
    if allowed.names(target):
        return target
    if not target.secure:
        raise BadAddress("It must begin with https://.")
    name = host.rstrip(".")
    literal = as_literal(name)
    if name == "localhost" or name.endswith(".localhost") or (literal is not None and is_refused(literal)):
        raise BadAddress(f"{host} is not an address on the public internet.")
    return target


def as_literal(host: str) -> IPAddress | None:
    """Return the address that `host` is, None for a name. Old spellings of IPv4 (127.1, 0x7f000001) are addresses."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    with contextlib.suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def is_refused(address: IPAddress) -> bool:
    """Whether an address is not on the public internet, or leads to one that isn't."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        # Translated to IPv4 by the network; the last 32 bits are the address.
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_refused(inner)
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or any(address in block for block in ALSO_REFUSED)
    )


def checked_addresses(target: Target) -> list[tuple[int, tuple[str, int]]]:
    """Look the host up, once; return (family, socket address) pairs. Raise BadAddress if one is refused, Unreached."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise Unreached(f"{target.host} could not be looked up: {exc}") from exc
    allowed = allow_list()
    by_name = allowed.names(target)
    addresses: list[tuple[int, tuple[str, int]]] = []
    for family, _type, _protocol, _name, sockaddr in found:
        # Without the zone of a link-local address (fe80::1%eth0).
        address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
        if not by_name and is_refused(address) and not allowed.covers(address):
            raise BadAddress(f"{target.host} leads to {address}, which is not on the public internet.")
        addresses.append((family, (str(sockaddr[0]), target.port)))
    return addresses


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificate authorities (or SSL_CERT_FILE's) and certifi's."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class Connection(http.client.HTTPConnection):
    """One connection to a checked address, cut when its time is up, however slowly the other side sends."""

    def __init__(self, target: Target, *, seconds: float) -> None:
        super().__init__(target.host, target.port)
        self.default_port = PORTS[target.scheme]  # the Host header leaves it out
        self.target = target
        self.ends_at = time.monotonic() + seconds
        self.cut_short = False

    def connect(self) -> None:
        failure: OSError | None = None
        for family, sockaddr in checked_addresses(self.target):
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(self.left())
                plain.connect(sockaddr)
            except OSError as exc:
                plain.close()
                failure = exc
                continue
            self.sock = plain
            if self.target.secure:
                secure = tls().wrap_socket(plain, server_hostname=self.target.host, do_handshake_on_connect=False)
                self.sock = secure
                secure.do_handshake()
            return
        raise failure or OSError(f"{self.target.host} has no address")

    def left(self) -> float:
        """Return the seconds left; raise TimeoutError when there are none."""
        left = self.ends_at - time.monotonic()
        if left <= 0 or self.cut_short:
            raise TimeoutError("timed out")
        return left

    def cut(self) -> None:
        """End the connection now, from another thread; the reader gets an end of file."""
        self.cut_short = True
        with contextlib.suppress(OSError, AttributeError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def post(url: str, body: bytes, headers: Sequence[tuple[str, str]], *, seconds: float) -> Answer:
    """POST once and return the answer, whatever its status. Raise BadAddress (for good) or Unreached (perhaps not)."""
    target = target_of(url)
    connection = Connection(target, seconds=seconds)
    watchdog = threading.Timer(seconds, connection.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target.path, body=body, headers=dict(headers))
        with connection.getresponse() as response:
            connection.left()  # headers that were cut short read like whole ones
            excerpt = b""
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # the status is what counts
                excerpt = response.read1(EXCERPT_BYTES)
            return Answer(response.status, response.getheader("Retry-After") or "", excerpt)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        if isinstance(exc, BadAddress):
            raise
        if connection.cut_short or isinstance(exc, TimeoutError):
            raise Unreached(f"There was no answer within {seconds:g} seconds.") from exc
        if isinstance(exc, OSError):
            raise Unreached(f"There was no answer: {exc}") from exc
        raise Unreached(f"What it answered is not HTTP ({type(exc).__name__}).") from exc
    finally:
        watchdog.cancel()
        connection.close()
