"""Whose request it is, by address: only a trusted proxy is believed, and nothing that is written there does harm."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from core.api.address import UNKNOWN, client_address, counted_as

PROXY, OTHER, CLIENT, STRANGER = "127.0.0.1", "10.1.2.3", "203.0.113.7", "198.51.100.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (CLIENT, "", CLIENT),
        (CLIENT, STRANGER, CLIENT),  # who is no proxy of ours may write what it likes
        (PROXY, "", PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"{STRANGER}, {CLIENT}", CLIENT),  # the left one was sent by the client
        (PROXY, f"{STRANGER}, {CLIENT}, {OTHER}", CLIENT),  # two proxies
        (PROXY, f"{OTHER}, {PROXY}", OTHER),  # nobody but proxies: the first of them
        (PROXY, f"{CLIENT}, nonsense", PROXY),
        (PROXY, f"{CLIENT}, , {OTHER}", OTHER),
        (PROXY, ",,,", PROXY),
        (PROXY, "unknown", PROXY),
        (PROXY, "\x00\xff, 1.2.3.4.5, 999.1.1.1", PROXY),
        (PROXY, "a," * 5000 + CLIENT, CLIENT),
        (PROXY, f"{OTHER}," * 5000, PROXY),
        (PROXY, f"{CLIENT}, " + f"{OTHER}, " * 40 + OTHER, OTHER),  # read no further
        (PROXY, f" {CLIENT}:4711 ", CLIENT),
        (PROXY, '"[2001:db8::5]:4711"', "2001:db8::5"),
        (PROXY, "2001:db8::5", "2001:db8::5"),
        (PROXY, "fe80::1%eth0", "fe80::1"),
        (PROXY, f"::ffff:{CLIENT}", CLIENT),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
        ("::1", CLIENT, CLIENT),
        ("", CLIENT, CLIENT),  # a Unix socket
        ("", "", UNKNOWN),
    ],
)
def test_a_client_is_the_right_most_address_that_no_trusted_proxy_has(settings, peer, forwarded, client):
    settings.TRUSTED_PROXIES = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]
    headers = [(b"host", b"x"), *([(b"x-forwarded-for", forwarded.encode("latin-1"))] if forwarded else [])]
    scope = {"client": (peer, 1) if peer else None, "headers": headers}
    meta = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    assert client_address(scope) == client
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **meta)) == client


def test_several_lines_are_one_list(settings):
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
    lines = [(b"x-forwarded-for", STRANGER.encode()), (b"x-forwarded-for", CLIENT.encode())]
    assert client_address({"client": (PROXY, 1), "headers": lines}) == CLIENT


def test_without_trusted_proxies_the_header_is_not_read(settings):
    settings.TRUSTED_PROXIES = []
    assert client_address({"client": (PROXY, 1), "headers": [(b"x-forwarded-for", b"1.2.3.4")]}) == PROXY


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        (UNKNOWN, UNKNOWN),
    ],
)
def test_ipv6_is_counted_by_the_network_that_one_holder_has(address, counted):
    assert counted_as(address) == counted
