"""GET /casts/{id}/artifacts/{name}: our copy, byte for byte, for whoever may read the cast."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from django.utils.http import content_disposition_header

from accounts import keys
from accounts.models import Account
from casts import links
from casts.api import downloads
from casts.models import Artifact
from core.names import safe_name
from tests.casts.client import asked, run

pytestmark = pytest.mark.django_db(transaction=True)
CONTENT = bytes(range(256)) * 4000  # several chunks


@pytest.fixture
def keep(cast):
    """Keep an artifact of the cast."""
    saved = []

    def make(name="log", content=CONTENT, **fields):
        stored = default_storage.save(f"{cast.pk}/{hashlib.md5(name.encode()).hexdigest()}", ContentFile(content))
        saved.append(stored)
        known = {"state": "stored", "file": stored, "file_name": name, "size_bytes": len(content)}
        known |= {"sha256": hashlib.sha256(content).hexdigest(), "remote_id": 1, "expires_at": timezone.now()}
        return Artifact.objects.create(**{"cast": cast, "name": name} | known | fields)

    yield make
    for stored in saved:
        default_storage.delete(stored)


def path_of(cast, name="log", query=""):
    return f"/api/v1/casts/{cast.pk}/artifacts/{quote(name)}{query}"


def test_it_comes_byte_for_byte_with_its_digest(cast, keep, secret):
    keep()

    async def scene():
        async with asked(path_of(cast), Authorization=f"Bearer {secret}") as answer:
            assert answer.status == 200
            body = await answer.body()
            assert body == CONTENT
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
            assert answer.headers["Content-Length"] == str(len(CONTENT))
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Disposition"] == 'attachment; filename="log"'
            assert "public" not in answer.headers["Cache-Control"]

    run(scene())


def test_head_tells_the_same_and_reads_nothing(cast, keep, secret, monkeypatch):
    keep()
    monkeypatch.setattr(downloads, "file_chunks", None)

    async def scene():
        async with asked(path_of(cast), method="HEAD", Authorization=f"Bearer {secret}") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Length"] == str(len(CONTENT))
            assert answer.headers["Repr-Digest"].startswith("sha-256=:")
            assert await answer.body() == b""

    run(scene())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_copy_that_the_client_has_is_not_sent_again(cast, keep, secret, monkeypatch, method):
    keep()
    etag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    opened = []
    open_it = downloads.address_or_file
    monkeypatch.setattr(downloads, "address_or_file", lambda found: opened.append(found) or open_it(found))

    async def scene():
        for sent, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
            async with asked(
                path_of(cast), method=method, Authorization=f"Bearer {secret}", If_None_Match=sent
            ) as answer:
                assert answer.status == status, sent
                assert answer.headers["Etag"] == etag
                assert answer.headers["Cache-Control"] == "private, no-cache"
                body = await answer.body()
                assert body == (CONTENT if (status, method) == (200, "GET") else b"")
                assert bool(opened) == (status == 200), sent
            opened.clear()
        async with asked(path_of(cast), Authorization="Bearer x", If_None_Match=etag) as answer:
            assert answer.status == 401

    run(scene())


@pytest.mark.parametrize("name", ["größe 🧙.txt", 'a"b', "a;b", "100%", "a+b", "a&token=x", "..", "x" * 300])
def test_any_name_that_github_allows_is_found_by_its_link(cast, keep, name):
    keep(name)
    address = urlsplit(links.artifact_url(cast.pk, name))

    async def scene():
        async with asked(f"{address.path}?{address.query}") as answer:
            assert answer.status == 200
            assert await answer.body() == CONTENT
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert "\n" not in answer.headers["Content-Disposition"]

    run(scene())


def test_each_state_has_its_answer(cast, keep, secret):
    keep("gone", state="expired", file="")
    keep("lost", state="failed", error="It is no longer on GitHub.", file="")
    keep("coming", state="pending", file="", sha256="")

    async def scene():
        for name, status, code in (
            ("gone", 410, "ARTIFACT_EXPIRED"),
            ("lost", 410, "ARTIFACT_EXPIRED"),
            ("coming", 409, "ARTIFACT_PENDING"),
            ("other", 404, "ARTIFACT_NOT_FOUND"),
        ):
            async with asked(path_of(cast, name), Authorization=f"Bearer {secret}") as answer:
                assert answer.status == status
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert ("Retry-After" in answer.headers) == (status == 409)
                problem = await answer.json()
                assert problem["code"] == code
                assert name in problem["detail"]

    run(scene())


def missing(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def unreadable(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)  # no rights are in the way of who runs the tests as root


@pytest.mark.parametrize(
    ("become", "status", "code", "words"),
    [
        (missing, 404, "ARTIFACT_NOT_FOUND", "file of artifact 'log' is missing"),
        (a_folder, 404, "ARTIFACT_NOT_FOUND", "file of artifact 'log' is missing"),
        (unreadable, 503, "UNAVAILABLE", "Try again"),
    ],
)
def test_a_file_that_is_not_there_any_more_is_a_clear_problem(
    cast, keep, secret, settings, tmp_path, caplog, become, status, code, words
):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}},
    }
    kept = keep()
    become(tmp_path / kept.file.name)

    async def scene():
        for path in (path_of(cast), f"{path_of(cast)}/preview", f"/api/v1/casts/{cast.pk}/artifacts.zip"):
            async with asked(path, method="HEAD", Authorization=f"Bearer {secret}") as answer:
                assert answer.status == status, path
            async with asked(path, Authorization=f"Bearer {secret}") as answer:
                problem = await answer.json()
                assert (answer.status, problem["code"]) == (status, code), path
                assert words in problem["detail"], path
                assert ("Retry-After" in answer.headers) == (status == 503), path
                assert kept.file.name not in str(problem), path

    run(scene())
    told = [record for record in caplog.records if record.name == "casts.api.downloads"]
    assert {(record.file, record.levelname) for record in told} == {(kept.file.name, "ERROR")}
    assert len(told) == 6
    assert Artifact.objects.get().state == "stored"  # it may come back: storage that was not mounted


def test_only_who_may_read_the_cast_reads_its_artifacts(cast, keep, make_cast):
    keep()
    other = make_cast()
    _, stranger = keys.create(Account.objects.create(name="Other"), name="theirs")
    _, limited = keys.create(cast.account, name="limited", scopes=["casts:write"])
    own, others = links.token_for(cast.pk), links.token_for(other.pk)

    async def scene():
        tries: tuple[tuple[int, str, dict[str, Any]], ...] = (
            (200, f"?token={own}", {}),
            (401, f"?token={others}", {}),
            (401, "?token=nonsense", {}),
            (401, "", {}),
            (404, "", {"Authorization": f"Bearer {stranger}"}),
            (403, "", {"Authorization": f"Bearer {limited}"}),
        )
        for expected, query, headers in tries:
            async with asked(path_of(cast, query=query), **headers) as answer:
                assert answer.status == expected, (query, headers)
        # The name exists in `cast`, the token is good for `other`: neither opens the other's.
        async with asked(path_of(other, query=f"?token={others}")) as answer:
            assert answer.status == 404

    run(scene())


def test_a_path_in_a_name_leads_nowhere(cast, keep, secret):
    keep()

    async def scene():
        for name in ("../log", "..%2Flog", "%2Fetc%2Fpasswd", f"..%2F{cast.pk}%2Flog"):
            path = f"/api/v1/casts/{cast.pk}/artifacts/{name}"
            async with asked(path, Authorization=f"Bearer {secret}") as answer:
                assert answer.status == 404

    run(scene())


def test_a_download_that_is_broken_off_lets_go_of_its_file(cast, keep, secret, monkeypatch):
    keep(content=CONTENT * 10)
    opened = []
    open_artifact = downloads.address_or_file
    monkeypatch.setattr(downloads, "address_or_file", lambda *a: opened.append(open_artifact(*a)) or opened[-1])

    async def scene():
        async with asked(path_of(cast), Authorization=f"Bearer {secret}") as answer:
            assert await answer.next()
        assert answer.gone.is_set()

    run(scene())
    [file] = opened
    assert not isinstance(file, str)
    assert file.closed


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [
        ("../../etc/passwd", '"_.._etc_passwd"'),
        ("/etc/passwd", '"_etc_passwd"'),
        ("..\\..\\boot.ini", '"_.._boot.ini"'),
        ("C:\\x", '"C__x"'),
        (".bashrc", '"bashrc"'),
        ("a\r\nSet-Cookie: x=1", '"a__Set-Cookie_ x=1"'),
        ("\u202etxt.exe", '"_txt.exe"'),
        ("\x1b[2Jlog", '"_[2Jlog"'),
        ('a"; filename="b', '"a_; filename=_b"'),
        ("...", '"artifact"'),
        ("n" * 250 + ".zip", f'"{"n" * 100}.zip"'),
    ],
)
def test_no_name_leads_elsewhere_when_it_is_saved(name, saved_as):
    assert content_disposition_header(True, safe_name(name)) == f"attachment; filename={saved_as}"
