"""Artifacts and logs: a 302 to a second host, which must not see who we are, and bytes exactly as stored."""

from __future__ import annotations

import gzip
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from core.redaction import redact
from github_integration import errors
from github_integration.api import GitHub

from .doubles import API, REPO, Loopback, answer, free_port, loopback, reset

ZIP = b"PK\x03\x04" + bytes(range(256)) * 1000


@pytest.fixture
def near(make_github: Callable[..., GitHub]) -> Callable[[Loopback], GitHub]:
    """Make a client whose API is a loopback server."""
    return lambda api: make_github(api_url=api.url, personal_token="ghp_secret", timeout=1.0)


def to(blobs: Loopback, number: int = 1) -> bytes:
    return answer(302, Location=f"{blobs.url}/blob/{number}?sig=signed%2Bonce")


def fetch(github: GitHub) -> bytes:
    return b"".join(github.repository(0, REPO).download(5).chunks)


def log(github: GitHub, last_bytes: int = 1000) -> str:
    return github.repository(0, REPO).job_log(9, last_bytes=last_bytes)


FETCHES = [fetch, log]


@pytest.mark.parametrize("call", FETCHES)
def test_second_host_sees_no_authorization_and_the_whole_signed_address(near: Any, call: Any) -> None:
    with loopback(answer(200, ZIP)) as blobs, loopback(to(blobs)) as api:
        assert call(near(api))
        (asked,) = blobs.asked
    assert api.asked[0].headers["authorization"] == "Bearer ghp_secret"
    assert "authorization" not in asked.headers
    assert asked.path == "/blob/1?sig=signed%2Bonce"
    assert asked.headers["user-agent"] == "spell-platform"
    assert asked.headers["accept-encoding"] == "identity"


def test_second_host_sees_no_credentials_of_the_machine_either(
    near: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with loopback(answer(200, ZIP)) as blobs, loopback(to(blobs)) as api:
        assert fetch(near(api)) == ZIP
        assert "authorization" not in blobs.asked[0].headers


def test_paths_are_githubs(near: Any) -> None:
    with loopback(answer(200, ZIP)) as blobs, loopback(to(blobs)) as api:
        fetch(near(api))
        log(near(api))
        paths = [asked.path for asked in api.asked]
    assert paths == [f"/repos/{REPO}/actions/artifacts/5/zip", f"/repos/{REPO}/actions/jobs/9/logs"]


def test_type_of_the_content_is_passed_on(near: Any) -> None:
    with loopback(answer(200, b"x", Content_Type="text/csv")) as blobs, loopback(to(blobs)) as api:
        found = near(api).repository(0, REPO).download(5)
        assert (list(found.chunks), found.content_type) == ([b"x"], "text/csv")


def test_content_is_kept_as_stored_even_if_it_says_that_it_is_encoded(near: Any) -> None:
    packed = gzip.compress(b"rows " * 1000)
    with loopback(answer(200, packed, Content_Encoding="gzip")) as blobs, loopback(to(blobs)) as api:
        assert fetch(near(api)) == packed


def test_big_artifact_comes_in_pieces(near: Any) -> None:
    with loopback(answer(200, ZIP * 4)) as blobs, loopback(to(blobs)) as api:
        chunks = list(near(api).repository(0, REPO).download(5).chunks)
    assert len(chunks) > 10
    assert b"".join(chunks) == ZIP * 4


@pytest.mark.parametrize("location", ["http://blobs.example/x", "ftp://blobs.example/x", "//blobs.example/x", "", None])
def test_api_on_https_may_only_send_us_to_https(
    by_hand: GitHub, http: responses.RequestsMock, location: str | None
) -> None:
    head = {} if location is None else {"Location": location}
    http.get(f"{API}/repos/{REPO}/actions/artifacts/5/zip", status=302, headers=head)
    with pytest.raises(errors.GitHubError, match="no usable download address"):
        by_hand.repository(0, REPO).download(5)
    assert len(http.calls) == 1


def test_answer_without_a_redirect_is_no_download(near: Any) -> None:
    with loopback(answer(200, ZIP)) as api, pytest.raises(errors.GitHubError, match="no usable download address"):
        fetch(near(api))


# --- addresses live a minute -----------------------------------------------------------------------------


def test_refused_address_is_asked_for_once_more(near: Any) -> None:
    with loopback(answer(403), answer(200, ZIP)) as blobs, loopback(to(blobs, 1), to(blobs, 2)) as api:
        assert fetch(near(api)) == ZIP
        assert [asked.path.partition("?")[0] for asked in blobs.asked] == ["/blob/1", "/blob/2"]


def test_address_that_is_refused_twice_is_trouble(near: Any) -> None:
    with loopback(answer(403)) as blobs, loopback(to(blobs)) as api:
        with pytest.raises(errors.Unavailable, match="403"):
            fetch(near(api))
        assert (len(api.asked), len(blobs.asked)) == (2, 2)


@pytest.mark.parametrize("status", [404, 410])
def test_what_the_storage_no_longer_has_is_gone(near: Any, status: int) -> None:
    with loopback(answer(status)) as blobs, loopback(to(blobs)) as api:
        with pytest.raises(errors.Gone):
            fetch(near(api))
        assert len(blobs.asked) == 1


@pytest.mark.parametrize("status", [400, 500, 503])
def test_other_trouble_of_the_storage_may_pass(near: Any, status: int) -> None:
    with loopback(answer(status)) as blobs, loopback(to(blobs)) as api, pytest.raises(errors.Unavailable):
        fetch(near(api))


@pytest.mark.parametrize("call", FETCHES)
@pytest.mark.parametrize(("status", "kind"), [(410, errors.Gone), (404, errors.NotFound)])
def test_github_says_that_it_is_gone_or_not_there(near: Any, status: int, kind: type[Exception], call: Any) -> None:
    with loopback(answer(status, {"message": "Artifact has expired"})) as api:
        with pytest.raises(kind, match="Artifact has expired"):
            call(near(api))
        assert len(api.asked) == 1


def test_first_request_is_repeated_after_a_bad_gateway(near: Any, naps: list[float]) -> None:
    with loopback(answer(200, ZIP)) as blobs, loopback(answer(502), to(blobs)) as api:
        assert fetch(near(api)) == ZIP


def test_moved_repository_is_asked_under_its_new_path_with_our_authorization(near: Any) -> None:
    with loopback(answer(200, ZIP)) as blobs, loopback(b"") as api:
        api.replies.clear()
        api.replies.extend([answer(301, Location=f"{api.url}/repositories/99/actions/artifacts/5/zip"), to(blobs)])
        assert fetch(near(api)) == ZIP
        assert api.asked[1].path == "/repositories/99/actions/artifacts/5/zip"
        assert api.asked[1].headers["authorization"] == "Bearer ghp_secret"


def test_moves_are_not_followed_for_ever(near: Any) -> None:
    with loopback(b"") as api:
        api.replies.clear()
        api.replies.append(answer(301, Location=f"{api.url}/round/and/round"))
        with pytest.raises(errors.GitHubError):
            fetch(near(api))
        assert len(api.asked) <= 5


# --- broken off ------------------------------------------------------------------------------------------


def cut(connection: socket.socket) -> bool:
    connection.sendall(answer(200, ZIP[:1000], Content_Length=str(len(ZIP))))
    return False


def cut_hard(connection: socket.socket) -> bool:
    connection.sendall(answer(200, ZIP[:1000], Content_Length=str(len(ZIP))))
    return reset(connection)


def stall(connection: socket.socket) -> bool:
    connection.sendall(answer(200, ZIP[:1000], Content_Length=str(len(ZIP))))
    connection.settimeout(5)
    connection.recv(1)
    return False


@pytest.mark.parametrize("how", [cut, cut_hard, stall])
@pytest.mark.parametrize("call", FETCHES)
def test_download_that_breaks_off_is_an_error_not_a_short_file(
    make_github: Callable[..., GitHub], how: Any, call: Any
) -> None:
    with loopback(how) as blobs, loopback(to(blobs)) as api, pytest.raises(errors.Unavailable, match="broke off"):
        call(make_github(api_url=api.url, personal_token="ghp_secret", timeout=0.2))


def test_storage_that_is_not_there_is_trouble(near: Any) -> None:
    with loopback(answer(302, Location=f"http://127.0.0.1:{free_port()}/x")) as api, pytest.raises(errors.NotSent):
        fetch(near(api))


SIGNED = "/c/f.zip?se=2026&sig=aSecret%2F&X-Amz-Signature=aSecret"


@pytest.mark.parametrize("how", [answer(500), answer(403), cut, cut_hard, stall, reset, None])
def test_a_signed_address_stands_in_no_error_of_a_download(make_github: Callable[..., GitHub], how: Any) -> None:
    with loopback(how or b"") as blobs, loopback(b"") as api:
        where = blobs.url if how else f"http://127.0.0.1:{free_port()}"
        api.replies.clear()
        api.replies.append(answer(302, Location=where + SIGNED))
        with pytest.raises(errors.GitHubError) as raised:
            fetch(make_github(api_url=api.url, personal_token="ghp_secret", timeout=0.2))
    assert "Secret" not in str(raised.value)
    # What is wrapped may quote the address; our logs redact it.
    assert "Secret" not in redact("".join(traceback.format_exception(raised.value)))


def test_download_that_is_given_up_closes_its_connection(near: Any) -> None:
    with loopback(answer(200, ZIP * 10)) as blobs, loopback(to(blobs)) as api:
        chunks: Iterator[bytes] = near(api).repository(0, REPO).download(5).chunks
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]


# --- logs ------------------------------------------------------------------------------------------------


def test_only_the_end_of_a_log_is_kept(near: Any) -> None:
    lines = b"".join(b"line %d\n" % n for n in range(50_000))
    with loopback(answer(200, lines)) as blobs, loopback(to(blobs)) as api:
        assert log(near(api), last_bytes=11) == "line 49999\n"


def test_bytes_of_a_log_that_are_no_text_do_no_harm(near: Any) -> None:
    with loopback(answer(200, b"caf\xe9 \xff ok")) as blobs, loopback(to(blobs)) as api:
        assert log(near(api)) == "caf\ufffd \ufffd ok"


def test_log_cut_within_a_letter_does_no_harm(near: Any) -> None:
    with loopback(answer(200, "äöü".encode())) as blobs, loopback(to(blobs)) as api:
        assert log(near(api), last_bytes=5) == "\ufffdöü"
