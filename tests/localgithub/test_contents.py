"""Files of a repository, as they are and as JSON."""

import base64
import hashlib
import subprocess

import pytest

from .conftest import REPOSITORY, Api

QUICK = ".github/workflows/quick.yml"
RAW = {"Accept": "application/vnd.github.raw+json"}


def contents(api: Api, path: str, ref: str = "", **headers: str):
    return api.get(api.repo(f"contents/{path}"), params={"ref": ref} if ref else None, headers=headers)


def test_file_is_given_as_it_is(api: Api, tree):
    answer = contents(api, QUICK, **RAW)
    assert answer.content == (tree / QUICK).read_bytes()
    assert answer.headers["Content-Type"] == "application/vnd.github.raw+json; charset=utf-8"


def test_file_is_given_as_json(api: Api, tree):
    found, data = contents(api, QUICK, "main").json(), (tree / QUICK).read_bytes()
    assert base64.b64decode(found["content"]) == data
    assert max(len(line) for line in found["content"].splitlines()) <= 76
    assert found["sha"] == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    assert (found["type"], found["encoding"], found["size"]) == ("file", "base64", len(data))
    assert (found["name"], found["path"]) == ("quick.yml", QUICK)
    assert found["url"] == f"{api.base}/repos/{REPOSITORY}/contents/{QUICK}?ref=main"
    assert found["_links"] == {"self": found["url"], "git": found["git_url"], "html": found["html_url"]}


def test_branch_that_is_checked_out_shows_the_tree_and_others_what_was_committed(api: Api, tree):
    committed = subprocess.run(["git", "-C", str(tree), "show", f"v1:{QUICK}"], capture_output=True, check=True).stdout
    now = committed + b"# not committed\n"
    (tree / QUICK).write_bytes(now)
    try:
        assert contents(api, QUICK, **RAW).content == now
        assert contents(api, QUICK, "refs/heads/main", **RAW).content == now
        assert contents(api, QUICK, "v1", **RAW).content == committed
    finally:
        (tree / QUICK).write_bytes(committed)


@pytest.mark.parametrize("path", ["none.yml", "../outside", ".git/config", ".git", "%2e%2e/outside", ".env"])
def test_what_is_no_file_of_the_repository_is_not_found(api: Api, tree, path):
    (tree.parent / "outside").write_text("secret")
    for ref in ("", "v1"):
        assert contents(api, path, ref).status_code == 404


def test_unknown_ref_is_named(api: Api):
    answer = contents(api, QUICK, "nowhere")
    assert (answer.status_code, answer.json()["message"]) == (404, "No commit found for the ref nowhere")


def test_contents_need_their_permission(server, as_app: Api):
    def minted(**permissions: str) -> Api:
        made = as_app.post("/app/installations/77/access_tokens", {"permissions": permissions}).json()
        return Api(server.config.base_url, made["token"])

    refused = contents(minted(actions="write"), QUICK)
    assert refused.status_code == 403
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "contents=read"
    assert contents(minted(contents="read"), QUICK).status_code == 200


def test_app_may_ask_for_more_than_the_installation_grants(server, as_app: Api, monkeypatch):
    monkeypatch.setattr(server.config, "wanted_permissions", {"actions": "write", "checks": "read"})
    monkeypatch.setattr(server.config, "events", ["push"])
    shown, installation = as_app.get("/app").json(), as_app.get("/app/installations/77").json()
    assert (shown["permissions"], shown["events"]) == ({"actions": "write", "checks": "read"}, ["push"])
    assert installation["permissions"] == server.config.permissions


def test_unknown_token_has_no_rate_limit(server):
    assert Api(server.config.base_url, "ghs_x").get("/rate_limit").json()["message"] == "Bad credentials"
    assert Api(server.config.base_url).get("/rate_limit").status_code == 200
