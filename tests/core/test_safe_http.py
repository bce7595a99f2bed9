"""What may be called, and that the connection goes where the check looked."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import safe_http
from core.safe_http import BadAddress, Unreached
from tests.casts.receivers import Receiver, receiver

PUBLIC = "93.184.215.14"


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer look-ups from a list, one answer after the other, the last one for ever; return what was asked."""

    def answering(*answers: list[str]) -> list[tuple[str, int]]:
        asked: list[tuple[str, int]] = []

        def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
            found = answers[min(len(asked), len(answers) - 1)]
            asked.append((host, port))
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
                if ":" in address
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in found
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return answering


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Refuse every connection; return where they would have gone."""
    tried: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def post(url: str, seconds: float = 5.0) -> safe_http.Answer:
    return safe_http.post(url, b"{}", [("Content-Type", "application/json")], seconds=seconds)


REFUSED_TEXT = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.1.2.3 169.254.0.1
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::93.184.215.14 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1
64:ff9b::a00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:5ef5:79fb::1 2001:10::1 2001:db8::1
2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 febf::1
fec0::1 ff02::1 ff0e::1
"""
TAKEN_TEXT = """
1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.254
2606:2800:21f:cb07:6820:80da:af6b:8b2c 2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808
2002:808:808::1
"""
REFUSED, TAKEN = REFUSED_TEXT.split(), TAKEN_TEXT.split()


@pytest.mark.parametrize("address", REFUSED)
def test_not_public(address):
    assert safe_http.is_refused(ipaddress.ip_address(address))
    bracketed = f"[{address}]" if ":" in address else address
    with pytest.raises(BadAddress, match="not an address on the public internet"):
        safe_http.target_of(f"https://{bracketed}/hook")


@pytest.mark.parametrize("address", TAKEN)
def test_public(address):
    assert not safe_http.is_refused(ipaddress.ip_address(address))
    bracketed = f"[{address}]" if ":" in address else address
    assert safe_http.target_of(f"https://{bracketed}/hook").host == address


@pytest.mark.parametrize("address", REFUSED)
def test_a_name_that_leads_there_is_not_called(address, look_ups, connects):
    look_ups([address])
    with pytest.raises(BadAddress, match=r"hooks.example leads to .*, which is not on the public internet"):
        post("https://hooks.example/")
    assert connects == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example/",
        "//hooks.example/",
        "http://hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@hooks.example/",
        "https://user:secret@hooks.example/",
        "https://@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example/#",
        "https://hooks.example:0/",
        "https://hooks.example:65536/",
        "https://hooks.example:https/",
        "https://hooks.example:-1/",
        "https://hooks example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX-Header: 1",
        "https://hooks.example/\x00",
        "https://hooks.example\\@127.0.0.1/",
        "https://höoks.example/",
        "https://hooks.example/ü",
        "https://[::1/",
        "https://[hooks]/",
        "https://[fe80::1%25eth0]/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://a.localhost:8443/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://-hooks.example/",
        "https://hooks%2eexample/",
        "https://%31%32%37.0.0.1/",
    ],
)
def test_addresses_that_are_never_called(url):
    with pytest.raises(BadAddress):
        safe_http.target_of(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example", ("https", "hooks.example", 443, "/")),
        ("HTTPS://Hooks.Example/A?b=c%20d", ("https", "hooks.example", 443, "/A?b=c%20d")),
        ("https://hooks.example:8443/a;b", ("https", "hooks.example", 8443, "/a;b")),
        ("https://xn--hoks-5qa.example./x", ("https", "xn--hoks-5qa.example.", 443, "/x")),
        ("https://hooks.example?x", ("https", "hooks.example", 443, "/?x")),
    ],
)
def test_addresses_that_are(url, target):
    found = safe_http.target_of(url)
    assert (found.scheme, found.host, found.port, found.path) == target


def test_one_refused_address_among_good_ones_is_enough(look_ups, connects):
    look_ups([PUBLIC, "10.0.0.1"])
    with pytest.raises(BadAddress, match=r"leads to 10\.0\.0\.1"):
        post("https://hooks.example/")
    assert connects == []


def test_a_name_that_changes_between_looks_is_called_where_it_was_checked(look_ups, connects, inbox):
    asked = look_ups([PUBLIC], ["127.0.0.1"])
    with pytest.raises(Unreached, match="nobody there"):
        post(f"https://rebinding.example:{inbox.port}/")
    assert connects == [(PUBLIC, inbox.port)]
    assert asked == [("rebinding.example", inbox.port)]
    assert inbox.got == []


def test_every_checked_address_is_tried_in_turn(look_ups, connects):
    look_ups(["2606:2800:21f:cb07:6820:80da:af6b:8b2c", PUBLIC])
    with pytest.raises(Unreached):
        post("https://hooks.example/")
    assert connects == [("2606:2800:21f:cb07:6820:80da:af6b:8b2c", 443), (PUBLIC, 443)]


def test_a_name_that_is_not_found_may_be_found_later(monkeypatch):
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(Unreached, match="could not be looked up"):
        post("https://hooks.example/")


def test_proxies_of_the_environment_are_not_used(monkeypatch, settings, inbox, look_ups):
    settings.CALLBACK_ALLOWED_HOSTS = ["hooks.example"]
    look_ups(["127.0.0.1"])
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(f"http://hooks.example:{inbox.port}/").status == 204
    assert inbox.got[0].path == "/"
    assert inbox.got[0].headers["Host"] == f"hooks.example:{inbox.port}"


# --- the allow-list --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "url", "allowed"),
    [
        (["127.0.0.1"], "http://127.0.0.1:9000/", True),
        (["127.0.0.1"], "http://127.0.0.2:9000/", False),
        (["127.0.0.1:9000"], "http://127.0.0.1:9000/", True),
        (["127.0.0.1:9000"], "http://127.0.0.1:9001/", False),
        (["localhost"], "http://localhost:1234/", True),
        (["LocalHost:80"], "http://localhost/", True),
        (["localhost:80"], "https://localhost/", False),
        (["10.0.0.0/8"], "http://10.1.2.3/", True),
        (["10.0.0.0/8"], "http://11.1.2.3/", False),
        (["::1"], "http://[::1]:8000/", True),
        (["[::1]"], "http://[::1]:8000/", True),
        (["[::1]:8000"], "http://[::1]:8000/", True),
        (["[::1]:8000"], "http://[::1]:8001/", False),
        (["fd00::/8"], "https://[fd00:ec2::254]/", True),
        (["hooks.internal"], "http://hooks.internal/", True),
        (["hooks.internal"], "http://a.hooks.internal/", False),
        (["hooks.internal"], "http://user@hooks.internal/", False),
        ([], "http://127.0.0.1/", False),
    ],
)
def test_the_allow_list_opens_what_it_names(settings, entries, url, allowed):
    settings.CALLBACK_ALLOWED_HOSTS = entries
    if allowed:
        assert safe_http.target_of(url)
    else:
        with pytest.raises(BadAddress):
            safe_http.target_of(url)


@pytest.mark.parametrize("entry", ["http://localhost", "10.0.0.0/33", "a@b", "host/path", "host:port", ":80", ""])
def test_an_entry_that_can_t_be_read_stops_the_service(settings, entry):
    settings.CALLBACK_ALLOWED_HOSTS = [entry]
    from spellplatform.checks import callback_allow_list

    [error] = callback_allow_list(None)
    assert error.id == "spell.E010"
    settings.CALLBACK_ALLOWED_HOSTS = ["localhost", "10.0.0.0/8"]
    assert callback_allow_list(None) == []


def test_an_allowed_network_is_reached_by_name_over_tls_only(settings, look_ups, connects):
    settings.CALLBACK_ALLOWED_HOSTS = ["10.0.0.0/8"]
    look_ups(["10.1.2.3"])
    with pytest.raises(BadAddress, match="https"):
        post("http://hooks.example/")
    with pytest.raises(Unreached):
        post("https://hooks.example/")
    assert connects == [("10.1.2.3", 443)]


# --- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's TLS for hooks.example, whose authority is trusted the way operators do it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    context.sni_callback = lambda sock, server_name, ctx: seen.append(server_name)
    seen: list[str] = []
    context.seen = seen  # type: ignore[attr-defined]
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    safe_http.tls.cache_clear()
    yield context
    safe_http.tls.cache_clear()


def test_tls_verifies_the_name_while_the_connection_goes_to_the_checked_address(settings, look_ups, certificate):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver(certificate) as inbox:
        asked = look_ups(["127.0.0.1"], ["127.0.0.9"])
        assert post(f"https://hooks.example:{inbox.port}/x").status == 204
        assert asked == [("hooks.example", inbox.port)]
        assert inbox.got[0].headers["Host"] == f"hooks.example:{inbox.port}"
        assert certificate.seen == ["hooks.example"]


def test_a_certificate_for_another_name_is_refused(settings, look_ups, certificate):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver(certificate) as inbox:
        look_ups(["127.0.0.1"])
        with pytest.raises(Unreached, match="certificate"):
            post(f"https://other.example:{inbox.port}/x")
        assert inbox.got == []


def test_a_server_that_never_finishes_the_handshake_is_left(settings):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreached, match=r"within 0\.3 seconds"):
        post(f"https://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.3)


def test_what_is_not_http_is_no_answer(settings):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def babble() -> None:
            peer, _ = odd.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"\x00SSH-2.0-hello\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(Unreached, match="not HTTP"):
            post(f"http://127.0.0.1:{odd.getsockname()[1]}/")
        thread.join(5)
