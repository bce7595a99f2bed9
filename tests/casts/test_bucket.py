"""Artifacts in an S3 bucket: copied there, handed out at signed addresses, shown, packed, deleted, moved there."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from casts import links
from casts.execution.artifacts import ArtifactWork, copy
from casts.execution.files import FileWork
from casts.models import Artifact, LooseFile
from casts.runtime import NotNow
from core.storage import bucket
from core.storage.address import BACKEND, bucket_of
from spellplatform import storage_checks
from tests import s3
from tests.casts.client import asked, run
from tests.casts.conftest import LEASE
from tests.e2e.platform import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\5\0\0\0\7"


def packed(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


ZIP = packed({"charts/a.png": PNG, "b.txt": "b" * 3_000_000})
LOG = b"<script>alert(document.domain)</script>" * 10_000


def use(settings, url, *, secret=s3.SECRET):
    options = {"bucket": bucket_of(url), "access_key": s3.KEY, "secret_key": secret}
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": BACKEND, "OPTIONS": options}}


@pytest.fixture(autouse=True)
def url(settings):
    found = s3.storage_url()
    use(settings, found)
    return found


@pytest.fixture
def copied(cast, runtime):
    """Have an artifact of the cast copied from the runtime."""

    def make(name, content):
        runtime.answers["download"] = content
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        artifact = Artifact.objects.create(cast=cast, name=name, remote_id=len(name), remote_digest=digest)
        copy(artifact)
        artifact.refresh_from_db()
        return artifact

    return make


def cleaned():
    for row in LooseFile.due_rows().claim(limit=99, lease=LEASE):
        row.give_back(FileWork().step(row))
    return LooseFile.objects.count()


def kept(artifact):
    return default_storage.listdir(str(artifact.cast_id))[1]


def path_of(cast, name="log", query=""):
    return f"/api/v1/casts/{cast.pk}/artifacts/{name}{query}"


def test_a_download_is_sent_to_the_bucket_and_comes_from_there_byte_for_byte(cast, copied, secret):
    artifact = copied("log", LOG)
    digest = base64.b64encode(hashlib.sha256(LOG).digest()).decode()

    async def scene():
        async with asked(path_of(cast), Authorization=f"Bearer {secret}") as answer:
            assert (answer.status, await answer.body()) == (302, b"")
            assert answer.headers["Cache-Control"] == "no-store"  # the address is good for minutes
            assert answer.headers["Referrer-Policy"] == "same-origin"  # ours may carry a token
            addresses.append(answer.headers["Location"])
        async with asked(path_of(cast), method="HEAD", Authorization=f"Bearer {secret}") as answer:
            assert answer.status == 200
            assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
            assert answer.headers["Content-Length"] == str(len(LOG))
        etag = f'"{artifact.sha256}"'
        async with asked(path_of(cast), Authorization=f"Bearer {secret}", If_None_Match=etag) as answer:
            assert answer.status == 304
        link = f"?token={links.token_for(cast.pk)}"
        async with asked(path_of(cast, query=link)) as answer:
            assert answer.status == 302
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert links.token_for(cast.pk) not in answer.headers["Location"]
        tries: tuple[tuple[str, dict[str, Any]], ...] = (
            ("", {}),
            ("?token=nonsense", {}),
            ("", {"Authorization": "Bearer x"}),
        )
        for query, headers in tries:
            async with asked(path_of(cast, query=query), **headers) as answer:
                assert (answer.status, "Location" in answer.headers) == (401, False)

    addresses: list[str] = []
    run(scene())
    found = requests.get(addresses[0], timeout=10)
    assert (found.status_code, found.content) == (200, LOG)
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Disposition"] == 'attachment; filename="log"'
    assert found.request.url is not None
    assert not found.request.url.startswith("http://testserver")


def test_what_is_not_to_be_had_is_told_by_us_and_not_by_the_bucket(cast, copied, secret, clock):
    artifact = copied("log", LOG)
    clock.forward(days=31)
    [row] = Artifact.due_rows().claim(limit=9, lease=LEASE)
    row.give_back(ArtifactWork().step(row))
    assert (cleaned(), kept(artifact)) == (0, [])
    Artifact.objects.create(cast=cast, name="coming", remote_id=9)

    async def scene():
        for name, status in (("log", 410), ("coming", 409), ("none", 404)):
            async with asked(path_of(cast, name), Authorization=f"Bearer {secret}") as answer:
                assert (answer.status, "Location" in answer.headers) == (status, False)

    run(scene())


def test_a_bucket_that_callers_do_not_reach_is_read_for_them(cast, copied, secret, settings, url):
    copied("log", LOG)
    use(settings, f"{url}&downloads=proxy")

    async def scene():
        async with asked(path_of(cast), Authorization=f"Bearer {secret}") as answer:
            assert (answer.status, await answer.body()) == (200, LOG)
            assert answer.headers["Content-Disposition"] == 'attachment; filename="log"'
            assert answer.headers["Repr-Digest"]

    run(scene())


def test_pictures_in_a_zip_are_shown_and_all_of_it_is_one_zip(cast, copied, secret, monkeypatch):
    charts, _ = copied("charts", ZIP), copied("log", LOG)
    assert charts.contents.members[0] | {"size": 0} == {
        **{"name": "charts/a.png", "size": 0, "type": "image/png"},
        **{"width": 5, "height": 7},
    }
    parts: list[tuple[int, int]] = []
    read = bucket.BucketStorage.part_of
    monkeypatch.setattr(
        bucket.BucketStorage, "part_of", lambda self, key, *part: parts.append(part) or read(self, key, *part)
    )

    async def scene():
        where = path_of(cast, "charts", "/preview?member=charts/a.png")
        async with asked(where, Authorization=f"Bearer {secret}") as answer:
            assert (answer.status, await answer.body()) == (200, PNG)
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        async with asked(f"/api/v1/casts/{cast.pk}/artifacts.zip", Authorization=f"Bearer {secret}") as answer:
            assert answer.status == 200
            body = await answer.body()
            assert answer.headers["Content-Length"] == str(len(body))
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == ["charts/b.txt", "charts/charts/a.png", "log"]
            assert archive.read("log") == LOG

    run(scene())
    assert len(parts) <= 12


def test_what_is_larger_than_memory_should_hold_goes_in_parts(cast, copied, monkeypatch):
    sent: list[int] = []
    create = bucket.BucketStorage._save

    def watched(self, name, content):
        self.client.meta.events.register("before-call.s3.UploadPart", lambda **_: sent.append(1))
        return create(self, name, content)

    monkeypatch.setattr(bucket.BucketStorage, "_save", watched)
    artifact = copied("dump", LOG * 50)  # 19.5 million bytes
    assert len(sent) == 3
    with artifact.file.open("rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == artifact.sha256


class Killed(BaseException):
    """Its process ends at this very place."""


def test_half_an_upload_of_a_killed_worker_is_ended_in_time(cast, runtime, clock, monkeypatch):
    runtime.answers["download"] = LOG * 50
    artifact = Artifact.objects.create(cast=cast, name="dump", remote_id=1)

    def killed(self, name, content):
        key = self.key(name)
        begun = self.client.create_multipart_upload(Bucket=s3.BUCKET, Key=key)
        self.client.upload_part(
            Bucket=s3.BUCKET, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 5_300_000
        )
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bucket.BucketStorage, "_save", killed)
        patch.setattr(LooseFile, "drop", lambda names: None)
        with pytest.raises(Killed):
            copy(artifact)
    storage = s3.storage()
    prefix = default_storage.key(str(cast.pk))  # type: ignore[attr-defined]
    uploads = lambda: storage.client.list_multipart_uploads(Bucket=s3.BUCKET, Prefix=prefix).get("Uploads", [])  # noqa: E731
    assert len(uploads()) == 1
    copy(artifact)
    clock.forward(hours=7)
    assert (cleaned(), uploads(), len(kept(artifact))) == (0, [], 1)


def test_a_bucket_that_is_away_is_trouble_that_may_pass(cast, runtime, settings, secret, url):
    runtime.answers["download"] = LOG
    artifact = Artifact.objects.create(cast=cast, name="log", remote_id=1)
    use(settings, f"s3://spells?endpoint=http://127.0.0.1:{free_port()}&downloads=proxy")
    for asked_for in (1, 1):  # the second time it is known to be away, before anything is downloaded
        with pytest.raises(NotNow, match="could not be stored: the bucket"):
            copy(artifact)
        assert runtime.count("download") == asked_for
    Artifact.objects.filter(pk=artifact.pk).update(
        state="stored", file="x/y", file_name="log", size_bytes=1, sha256="0" * 64, expires_at=timezone.now()
    )

    async def scene():
        for name in ("/log", "/log/preview", ".zip"):
            path = f"/api/v1/casts/{cast.pk}/artifacts{name}"
            async with asked(path, Authorization=f"Bearer {secret}") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert (await answer.json())["code"] == "UNAVAILABLE"

    run(scene())
    Artifact.objects.filter(pk=artifact.pk).update(state="pending", file="")
    use(settings, url)
    copy(artifact)
    artifact.refresh_from_db()
    assert artifact.state == "stored"


def test_a_folder_is_copied_into_the_bucket_and_what_is_there_is_left(cast, tmp_path, capsys, settings):
    folder = FileSystemStorage(tmp_path, base_url=None)
    for name, content in (("a", b"a" * 100), ("b", b"b"), ("c", b"c"), ("d", b"d")):
        stored = folder.save(f"{cast.pk}/{name}", ContentFile(content if name != "d" else b"x"))
        known: dict[str, Any] = {"file": stored, "size_bytes": len(content), "remote_id": ord(name)}
        known["sha256"] = hashlib.sha256(content).hexdigest()
        Artifact.objects.create(cast=cast, name=name, state="stored", **known)
    Path(folder.path(f"{cast.pk}/c")).unlink()
    for line in ("2 artifacts copied, 0 there before, 1 missing, 1 damaged.", "0 artifacts copied, 2 there before"):
        with pytest.raises(CommandError, match="missing or damaged"):
            call_command("storage", "fill", str(tmp_path))
        assert line in capsys.readouterr().out
    with Artifact.objects.get(name="a").file.open("rb") as file:
        assert file.read() == b"a" * 100


def test_the_command_tries_what_artifacts_need(settings, url, capsys):
    call_command("storage", "check")
    assert capsys.readouterr().out.count("ok: ") == 6
    use(settings, url, secret="wrong")
    with pytest.raises(CommandError, match="the bucket refuses it"):
        call_command("storage", "check")


@pytest.mark.parametrize(
    ("parameters", "ids"),
    [
        ("", []),
        ("&public=http://testserver:80", ["spell.E061", "spell.W060"]),
        ("&public=http://files.example.com", ["spell.W060"]),
        ("&public=http://testserver&downloads=proxy", ["spell.W060"]),
        ("&public=https://files.example.com", []),
    ],
)
def test_what_must_not_serve_is_found_by_check(settings, url, parameters, ids):
    settings.PUBLIC_URL = "http://testserver"
    use(settings, url + parameters)
    found = [one.id for one in storage_checks.storage_url(None)]
    assert found == [one for one in ids if one != "spell.W060" or "example.com" in parameters]
