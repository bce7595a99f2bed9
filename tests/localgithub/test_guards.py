"""The local GitHub and web pages: they get nothing, and neither does who does not know its token."""

from __future__ import annotations

import os
import stat

import pytest
import requests

from localgithub.guards import control_token, ours
from localgithub.peers import is_trusted

JSON = "application/json"
PATHS = ("/versions", "/repos/octo-org/octo-repo/actions/runs", "/_local/record", "/api/v3/_local/record")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8081"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "127.0.0.1.nip.io"}, 421),
        ({"Host": "127.0.0.1@evil.example"}, 421),
    ],
)
def test_pages_and_foreign_names_are_refused_everywhere(server, headers, status):
    known = {"Authorization": f"Bearer {server.world.control_token}"}
    for base in (server.config.base_url, server.config.blob_url):
        for path in PATHS:
            assert requests.get(base + path, headers=known | headers, timeout=5).status_code == status, path
    assert requests.options(server.config.base_url + "/versions", headers=headers, timeout=5).status_code == status


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]:8081", "[::1]", "192.0.2.7", "github"]
)
def test_our_own_names_and_addresses_are_answered(name):
    assert ours(name, "github")


@pytest.mark.parametrize(
    "name", ["", ":8081", "evil.example", "github.evil.example", "[evil]", "127.0.0.1.evil.example"]
)
def test_other_names_are_not_ours(name):
    assert not ours(name, "github")


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_body_that_is_not_json_is_refused_and_changes_nothing(server, control, kind):
    headers = {"Authorization": f"Bearer {server.world.control_token}"} | ({"Content-Type": kind} if kind else {})
    for path in ("/_local/faults", "/repos/octo-org/octo-repo/dispatches"):
        answer = requests.post(server.config.base_url + path, data=b'{"suspended": true}', headers=headers, timeout=5)
        assert answer.status_code == 415
    assert control("faults")["suspended"] is False


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "application/vnd.github+json"])
def test_json_by_any_of_its_names_is_read(server, kind):
    headers = {"Authorization": f"Bearer {server.world.control_token}", "Content-Type": kind}
    answer = requests.post(
        server.config.base_url + "/_local/faults", data=b'{"reset": true}', headers=headers, timeout=5
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer ü", "Basic {}", "{}", "Bearer {}x"]
)
def test_control_paths_need_the_token(server, given):
    headers = {"Authorization": given.format(server.world.control_token).encode()} if given is not None else {}
    for method, path in (
        ("GET", "record"),
        ("GET", "faults"),
        ("POST", "faults"),
        ("POST", "noise"),
        ("POST", "revoke"),
    ):
        answer = requests.request(method, f"{server.config.base_url}/_local/{path}", headers=headers, timeout=5)
        assert answer.status_code == 401, path


def test_the_token_is_in_a_file_that_nobody_else_can_read_and_stays_the_same(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    token = control_token(tmp_path / "state")
    file = tmp_path / "state" / "control-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert control_token(tmp_path / "state") == token == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(token) >= 40


V4, V6 = "0100007F:1F90 0100007F:1F91", "0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:1F91"


@pytest.mark.parametrize(
    ("address", "row", "trusted"),
    [
        ("127.0.0.1", f"{V4} 01 0:0 0:0 0 me", True),
        ("127.0.0.1", f"{V4} 01 0:0 0:0 0 root", True),
        ("127.0.0.1", f"{V6} 01 0:0 0:0 0 me", True),
        ("::ffff:127.0.0.1", f"{V4} 01 0:0 0:0 0 me", True),
        ("127.0.0.1", f"{V4} 01 0:0 0:0 0 other", False),
        ("127.0.0.1", "0100007F:1F90 0100007F:1F92 06 0:0 0:0 0 root", False),  # the port's connection to elsewhere
        ("127.0.0.1", "0100007F:1F91 0100007F:1F90 01 0:0 0:0 0 me", False),  # our own end
        ("192.0.2.7", "070200C0:1F90 0100007F:1F91 01 0:0 0:0 0 me", False),
        ("", f"{V4} 01 0:0 0:0 0 me", False),
    ],
)
def test_whose_connection_it_is_is_read_from_the_kernels_table(tmp_path, address, row, trusted):
    table, mine = tmp_path / "tcp", os.getuid()
    for word, number in {"me": mine, "root": 0, "other": mine + 1}.items():
        row = row.replace(word, str(number))
    table.write_text(f"  sl  local_address rem_address   st\n   0: {row}\n")
    assert is_trusted((address, 0x1F90), ("127.0.0.1", 0x1F91), (table,)) is trusted
    assert is_trusted(("127.0.0.1", 1), ("127.0.0.1", 2), (tmp_path / "none",))


def test_forms_of_another_user_are_refused(server, monkeypatch):
    monkeypatch.setattr("localgithub.guards.is_trusted", lambda theirs, ours: False)
    base = server.config.base_url
    for path in ("/settings/apps", "/settings/installations/77", "/apps/local-spells/installations/new"):
        answer = requests.post(base + path, data={"do": "uninstall"}, headers={"Origin": base}, timeout=5)
        assert (answer.status_code, "whoever started" in answer.text) == (403, True)
