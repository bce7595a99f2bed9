"""What really happens on the wire: refused, reset, silent and half-closed connections, on a real socket."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import os
import resource
import socket
import ssl
import zlib
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from casts.runtime import Run
from core.limits import GITHUB_ANSWER_BYTES
from github_integration import errors
from github_integration.api import GitHub

from .doubles import DATA, LATER, REPO, RUN_7, Loopback, Reply, answer, free_port, hang, loopback, reset, then_close

YES = answer(200, {"workflow_run_id": 7, "run_url": "u", "html_url": "h"})
RUN = answer(200, {"id": 7})
SHORT = 0.25  # seconds; our timeout here


def dispatch(github: GitHub) -> Run | None:
    return github.repository(0, REPO).dispatch_workflow("cast.yml", ref="main", inputs={"cast_id": "1"}, before=LATER)


def dispatch_event(github: GitHub) -> None:
    github.repository(0, REPO).dispatch_event("spell", {"cast_id": "1"}, before=LATER)


def read(github: GitHub) -> Any:
    return github.repository(0, REPO).run(7)


@pytest.fixture
def to(make_github: Callable[..., GitHub]) -> Callable[[str], GitHub]:
    """Make a client of a loopback server."""
    return lambda url: make_github(api_url=url, personal_token="ghp_x", timeout=SHORT)


def half(connection: socket.socket) -> bool:
    """Break off in the middle of the body."""
    connection.sendall(answer(200, b'{"workflow_run_id": 7', Content_Length="200"))
    return False


def dribble(connection: socket.socket) -> bool:
    """Send headers, and then nothing."""
    connection.sendall(answer(200, b"", Content_Length="200"))
    return hang(connection)


def nonsense(connection: socket.socket) -> bool:
    """Speak something that is not HTTP."""
    connection.sendall(b"220 mail.example.com ESMTP\r\n\r\n")
    return False


AMBIGUOUS: dict[str, Reply] = {
    "reset after reading": reset,
    "closed after reading": then_close(b""),
    "silence": hang,
    "broken off": half,
    "headers, then silence": dribble,
    "nonsense": nonsense,
    "500": answer(500, {"message": "Server Error"}),
    "502": answer(502, b"<html>"),
    "503": answer(503, {"message": "No server is currently available to service your request..."}),
    "504": answer(504, b""),
}


@pytest.mark.parametrize("reply", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("call", [dispatch, dispatch_event])
def test_dispatch_whose_answer_is_lost_is_sent_once_and_may_have_had_its_effect(
    to: Callable[[str], GitHub], naps: list[float], reply: Reply, call: Any
) -> None:
    with loopback(reply, YES) as server:
        with pytest.raises(errors.Unavailable):
            call(to(server.url))
        assert len(server.asked) == 1
    assert naps == []


@pytest.mark.parametrize("reply", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_reading_is_tried_again_after_a_lost_answer(
    to: Callable[[str], GitHub], naps: list[float], reply: Reply
) -> None:
    with loopback(reply, RUN) as server:
        assert read(to(server.url)) == RUN_7
        assert len(server.asked) == 2


@pytest.mark.parametrize("call", [dispatch, dispatch_event, read])
def test_refused_connection_was_certainly_not_sent(to: Callable[[str], GitHub], naps: list[float], call: Any) -> None:
    with pytest.raises(errors.NotSent):
        call(to(f"http://127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("call", [dispatch, read])
def test_unknown_name_was_certainly_not_sent(to: Callable[[str], GitHub], naps: list[float], call: Any) -> None:
    with pytest.raises(errors.NotSent):
        call(to("http://no-such-host.invalid"))


def test_connection_that_is_not_taken_in_time_was_certainly_not_sent(
    to: Callable[[str], GitHub], naps: list[float]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = []
        for _ in range(3):  # fill the queue of connections that nobody takes
            waiting.append(filler := socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(errors.NotSent):
            dispatch(to(f"http://127.0.0.1:{port}"))
        [filler.close() for filler in waiting]


def test_proxy_that_is_not_there_was_certainly_not_sent(
    to: Callable[[str], GitHub], naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(errors.NotSent):
        dispatch(to("http://github.example"))


# --- kept connections ------------------------------------------------------------------------------------


def test_reading_uses_one_connection_again(to: Callable[[str], GitHub]) -> None:
    with loopback(RUN) as server:
        github = to(server.url)
        read(github)
        read(github)
        assert [asked.connection for asked in server.asked] == [1, 1]


@pytest.mark.parametrize("call", [dispatch, dispatch_event])
def test_dispatch_has_a_connection_of_its_own(to: Callable[[str], GitHub], call: Any) -> None:
    with loopback(RUN, YES, YES, RUN) as server:
        github = to(server.url)
        read(github)
        call(github)
        call(github)
        read(github)
        assert [asked.connection for asked in server.asked] == [1, 2, 3, 1]


def test_dispatch_is_not_hurt_by_a_kept_connection_that_the_server_closed(to: Callable[[str], GitHub]) -> None:
    with loopback(then_close(RUN), YES) as server:
        github = to(server.url)
        read(github)
        assert dispatch(github) == Run(key="7", url="h")
        assert len(server.asked) == 2


def test_reading_gets_over_a_kept_connection_that_is_reset(to: Callable[[str], GitHub], naps: list[float]) -> None:
    with loopback(RUN, reset, RUN) as server:
        github = to(server.url)
        read(github)
        assert read(github) == RUN_7
        assert [asked.connection for asked in server.asked] == [1, 1, 2]


def test_cancel_gets_over_a_lost_answer(to: Callable[[str], GitHub], naps: list[float]) -> None:
    with loopback(reset, answer(202, {})) as server:
        to(server.url).repository(0, REPO).cancel(7, force=False)
        assert len(server.asked) == 2


def test_dispatch_whose_token_must_be_minted_first_is_still_sent_once(
    make_github: Callable[..., GitHub], naps: list[float]
) -> None:
    token = answer(201, {"token": "ghs_1", "expires_at": "2100-01-01T00:00:00Z"})
    with loopback(reset, token, reset, YES) as server:
        repository = make_github(api_url=server.url, timeout=SHORT).repository(1, REPO)
        with pytest.raises(errors.Unavailable):
            repository.dispatch_workflow("cast.yml", ref="main", inputs={}, before=LATER)
        kinds = [asked.path.rsplit("/", 1)[-1] for asked in server.asked]
    assert kinds == ["access_tokens", "access_tokens", "dispatches"]


# --- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1 that nobody trusts by itself."""
    key = serialization.load_pem_private_key((DATA / "app.pem").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())  # type: ignore[arg-type]
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    file = tmp_path / "server.pem"
    file.write_bytes((DATA / "app.pem").read_bytes() + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def over_tls(certificate: Path) -> Callable[[socket.socket], socket.socket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return lambda connection: context.wrap_socket(connection, server_side=True)


def break_tls(connection: socket.socket) -> bool:
    """Answer the request with bytes that are no TLS record."""
    os.write(connection.fileno(), b"HTTP/1.1 500 the proxy lost its mind\r\n\r\n" * 4)
    return hang(connection)


def test_untrusted_certificate_was_certainly_not_sent(
    to: Callable[[str], GitHub], naps: list[float], over_tls: Any
) -> None:
    with loopback(YES, wrap=over_tls) as server:
        with pytest.raises(errors.NotSent):
            dispatch(to(server.url))
        assert server.asked == []


def test_tls_that_breaks_after_the_request_leaves_a_dispatch_unknown(
    to: Callable[[str], GitHub], naps: list[float], over_tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with loopback(break_tls, YES, wrap=over_tls) as server:
        with pytest.raises(errors.Unavailable):
            dispatch(to(server.url))
        assert len(server.asked) == 1


def test_trusted_certificate_serves(
    to: Callable[[str], GitHub], over_tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with loopback(YES, wrap=over_tls) as server:
        assert isinstance(server, Loopback)
        assert dispatch(to(server.url)) == Run(key="7", url="h")


# --- answers that unpack to too much --------------------------------------------------------------------------------


@functools.cache
def bomb(megabytes: int, *, twice: bool = False) -> bytes:
    """So many megabytes of blanks, packed, and the packed bytes again. Its end is missing: nobody may get that far."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    # After a full flush the same input is packed to the same bytes, so the rest need not be packed as well.
    first, other = (packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed = first + other * (megabytes - 1)
    return gzip.compress(packed) if twice else packed


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content_Encoding": "gzip"}),
        (404, {"Content_Encoding": "gzip"}),
        (302, {"Content_Encoding": "gzip", "Location": "/elsewhere"}),
        (200, {"Content_Encoding": "gzip, gzip"}),
    ],
)
def test_an_answer_that_unpacks_to_too_much_is_none(
    to: Callable[[str], GitHub], naps: list[float], status: int, headers: dict[str, str]
) -> None:
    packed = bomb(512, twice="," in headers["Content_Encoding"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        loopback(answer(status, packed, **headers)) as there,
        pytest.raises(errors.Unavailable, match="AnswerTooLarge"),
    ):
        read(to(there.url))
    # The limit, its pieces and their sum, with 8 MB of buffers, not the half gigabyte.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * GITHUB_ANSWER_BYTES / 1024 + 8 * 1024
