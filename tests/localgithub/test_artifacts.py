import hashlib
import io
import zipfile
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from localgithub.clock import later
from localgithub.stand_ins.upload_artifact import upload

from .conftest import Api


@pytest.fixture(scope="module")
def run_id(server, token) -> int:
    api = Api(server.config.base_url, token)
    run_id = api.start("keep.yml")
    assert api.wait(run_id)["conclusion"] == "success", [api.log(j["id"]) for j in api.jobs(run_id)]
    return run_id


def listed(api: Api, run_id: int, query: str = "") -> dict[str, dict[str, Any]]:
    return {a["name"]: a for a in api.get(api.repo(f"actions/runs/{run_id}/artifacts{query}")).json()["artifacts"]}


def test_matrix_jobs_are_named_as_github_names_them(api: Api, run_id):
    assert {j["name"] for j in api.jobs(run_id)} == {"keep (a)", "keep (b)"}


def test_artifact_is_a_zip_with_digest_size_and_retention(api: Api, run_id):
    artifacts = listed(api, run_id)
    assert set(artifacts) == {"part-a", "part-b", "a.txt", "b.txt"}
    part = artifacts["part-a"]
    link = api.get(api.repo(f"actions/artifacts/{part['id']}/zip"))
    assert (link.status_code, link.content) == (302, b"")
    stored = requests.get(link.headers["Location"], timeout=5)
    assert stored.headers["Content-Type"] == "application/zip"
    assert part["digest"] == "sha256:" + hashlib.sha256(stored.content).hexdigest()
    assert part["size_in_bytes"] == len(stored.content)
    with zipfile.ZipFile(io.BytesIO(stored.content)) as archive:
        assert sorted(archive.namelist()) == ["README.md", "deep/a.txt"]
    lives = datetime.fromisoformat(part["expires_at"]) - datetime.fromisoformat(part["created_at"])
    assert lives == timedelta(days=3)
    assert api.get(api.repo(f"actions/artifacts/{part['id']}")).json() == part
    assert set(listed(api, run_id, "?name=part-b")) == {"part-b"}


def test_unarchived_artifact_is_the_file_itself(api: Api, run_id):
    raw = listed(api, run_id)["b.txt"]
    stored = requests.get(api.get(api.repo(f"actions/artifacts/{raw['id']}/zip")).headers["Location"], timeout=5)
    assert stored.content == b"b\n"
    assert stored.headers["Content-Type"] == "application/octet-stream"


def test_blob_host_refuses_our_token_a_false_signature_and_an_old_link(api: Api, run_id, server, monkeypatch):
    part = listed(api, run_id)["part-a"]
    link = api.get(api.repo(f"actions/artifacts/{part['id']}/zip")).headers["Location"]
    with_token = requests.get(link, headers={"Authorization": "Bearer ghs_x"}, timeout=5)
    assert with_token.status_code == 400
    assert "InvalidAuthenticationInfo" in with_token.text
    assert requests.get(link[:-4] + "0000", timeout=5).status_code == 403
    monkeypatch.setattr("localgithub.blobs.LIFE", -1)
    old = api.get(api.repo(f"actions/artifacts/{part['id']}/zip")).headers["Location"]
    assert "AuthenticationFailed" in requests.get(old, timeout=5).text


def test_expired_artifact_is_gone(api: Api, run_id, server):
    part = listed(api, run_id)["part-b"]
    run = next(r for r in server.world.runs.all() if r.id == run_id)
    stored = run.artifacts[part["id"]]
    kept, stored.expires_at = stored.expires_at, later(seconds=-1)
    assert api.get(api.repo(f"actions/artifacts/{part['id']}/zip")).status_code == 410
    assert listed(api, run_id)["part-b"]["expired"] is True
    stored.expires_at = kept


def test_unknown_artifact_is_404(api: Api):
    assert api.get(api.repo("actions/artifacts/1/zip")).status_code == 404


def test_upload_takes_names_relative_to_what_the_lines_have_in_common(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/b/one.txt", "a/c/two.txt", "a/.hidden/three.txt", "lone.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(patterns: str, *, hidden: bool = False) -> list[str]:
        files, base = upload.find(patterns, hidden=hidden)
        return [f.relative_to(base).as_posix() for f in files]

    assert names("a/") == ["b/one.txt", "c/two.txt"]
    assert names("a/", hidden=True) == [".hidden/three.txt", "b/one.txt", "c/two.txt"]
    assert names("a/b/one.txt") == ["one.txt"]
    assert names("a/**/*.txt") == ["b/one.txt", "c/two.txt"]
    assert names("a/b\nlone.txt") == ["a/b/one.txt", "lone.txt"]
    assert names("a/\n!a/c/two.txt") == ["b/one.txt"]
    assert names("none/") == []


def test_same_content_gives_the_same_bytes(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "f").write_text("same")
    for target in ("1.zip", "2.zip"):
        upload.pack([tmp_path / "x" / "f"], tmp_path / "x", tmp_path / target, 6)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
