"""GET /casts/{id}/artifacts/{name}/preview, and all artifacts as one zip."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from casts.api import bundle, previews
from casts.execution import contents, unzip
from casts.models import Artifact
from core import zip_stream
from core.limits import PREVIEW_BYTES
from core.names import Names
from core.zip_stream import Packed
from tests.casts.client import asked, run
from tests.e2e.platform import until

pytestmark = pytest.mark.django_db(transaction=True)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">LL", 640, 320) + b"\x08\2\0\0\0" + b"x" * 100_000
JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xc2\0\x0b\x08" + struct.pack(">HH", 30, 40) + b"\1\1\x11\0"
KINDS = {
    PNG: ("image/png", 640, 320),
    JPEG: ("image/jpeg", 40, 30),
    b"GIF89a" + struct.pack("<HH", 7, 8): ("image/gif", 7, 8),
    b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + b"\x0f\0\0\x1f\0\0": ("image/webp", 16, 32),
    b"RIFF\0\0\0\0WEBPVP8L\n\0\0\0\x2f" + (15 | 31 << 14).to_bytes(4, "little"): ("image/webp", 16, 32),
    b"RIFF\0\0\0\0WEBPVP8 \n\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16, 32): ("image/webp", 16, 32),
    b"\0\0\0\x1cftypavif" + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">LL", 16, 32): ("image/avif", 16, 32),
    b"%PDF-1.7\n": ("application/pdf", 0, 0),
}
NO_KIND = (b"<svg onload=alert(1)>", b"<script>", b"", b"\x89PNG", b"BM", b"RIFF\0\0\0\0WAVE", b"MZ", b"#!/bin/sh")


def packed(members, method=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.fixture
def keep(cast):
    saved = []

    def make(name, content=b"", **fields):
        stored = default_storage.save(f"{cast.pk}/{hashlib.md5(name.encode()).hexdigest()}", ContentFile(content))
        saved.append(stored)
        known = {"state": "stored", "file": stored, "file_name": name, "size_bytes": len(content), "remote_id": 1}
        known |= {"sha256": hashlib.sha256(content).hexdigest(), "expires_at": timezone.now()}
        known["stored_at"] = timezone.now()
        return Artifact.objects.create(**{"cast": cast, "name": name} | known | fields)

    yield make
    for stored in saved:
        default_storage.delete(stored)


async def got(cast, secret, rest, method="GET", **headers):
    path = f"/api/v1/casts/{cast.pk}/{rest}"
    async with asked(path, method=method, Authorization=f"Bearer {secret}", **headers) as answer:
        return answer.status, dict(answer.headers), await answer.body()


@pytest.mark.parametrize("content", KINDS, ids=[kind[0] for kind in KINDS.values()])
def test_what_something_is_its_first_bytes_say(content):
    assert contents.kind_of(content) == KINDS[content]
    for end in range(len(content[:200])):  # whatever is missing
        contents.kind_of(content[:end])


@pytest.mark.parametrize("content", NO_KIND)
def test_nothing_else_is_shown(content):
    assert contents.kind_of(content) is None


def test_a_picture_comes_where_nothing_in_it_may_do_anything(cast, keep, secret):
    keep("chart", PNG)
    keep("charts", packed({"by day/ü.png": PNG, "fake.png": "<script>", "report.pdf": b"%PDF-1.4"}))

    async def scene():
        for rest in ("artifacts/chart/preview", "artifacts/charts/preview?member=by%20day%2F%C3%BC.png"):
            status, headers, body = await got(cast, secret, rest)
            assert (status, body, headers["Content-Type"]) == (200, PNG, "image/png")
            assert "sandbox" in headers["Content-Security-Policy"]
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Content-Disposition"].startswith("inline")
            etag = headers["Etag"]
            status, _, body = await got(cast, secret, rest, If_None_Match=etag)
            assert (status, body) == (304, b"")
            status, headers, body = await got(cast, secret, rest, method="HEAD")
            assert (status, headers["Content-Type"], body) == (200, "image/png", b"")
        status, headers, _ = await got(cast, secret, "artifacts/charts/preview?member=report.pdf")
        assert (status, headers["Content-Type"]) == (200, "application/pdf")
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]

    run(scene())


def test_what_is_not_shown_is_a_problem_that_says_why(cast, keep, secret):
    wide = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">LL", 60_000, 60_000)
    members = {"fake.png": "<script>", "wide.png": wide, "big.png": PNG + bytes(PREVIEW_BYTES)}
    keep("charts", packed(members))
    keep("page", b"<html>")
    keep("broken", b"PK\3\4" + b"x" * 100)
    keep("coming", state="pending", file="", sha256="")
    expected = {
        "page/preview": (404, "it is no PNG"),
        "page/preview?member=x": (404, "it is no zip"),
        "charts/preview": (404, "it is no PNG"),
        "charts/preview?member=fake.png": (404, "it is no PNG"),
        "charts/preview?member=../../etc/passwd": (404, "no such file"),
        "charts/preview?member=wide.png": (404, "pixels"),
        "charts/preview?member=big.png": (404, "larger than"),
        "broken/preview?member=x": (404, "unpacked"),
        "coming/preview": (409, "still being"),
        "nothing/preview": (404, "no artifact"),
    }

    async def scene():
        for rest, (expected_status, said) in expected.items():
            status, headers, body = await got(cast, secret, f"artifacts/{rest}")
            assert (status, headers["Content-Type"]) == (expected_status, "application/problem+json"), rest
            assert said in body.decode(), rest

    run(scene())


def test_a_preview_that_is_broken_off_lets_go_of_its_file(cast, keep, secret, monkeypatch):
    keep("charts", packed({"a.png": PNG[:50] + os.urandom(4_000_000)}, zipfile.ZIP_STORED))
    opened = []
    real = previews.opened
    monkeypatch.setattr(previews, "opened", lambda *a: opened.append(real(*a)) or opened[-1])

    async def scene():
        path = f"/api/v1/casts/{cast.pk}/artifacts/charts/preview?member=a.png"
        async with asked(path, Authorization=f"Bearer {secret}") as answer:
            assert await answer.next()
        assert answer.gone.is_set()

    run(scene())
    assert opened[0][1].closed


def test_what_is_in_a_zip_is_looked_at_within_bounds():
    members = {f"{n:03}.txt": "x" for n in range(300)} | {"z.png": PNG, "a/b.pdf": b"%PDF-1", "fake.jpg": "<svg>"}
    found = contents.look(io.BytesIO(packed(members)))
    assert found["files"] == 303
    assert len(found["members"]) == 50
    first = [(one["name"], one.get("type")) for one in found["members"][:4]]
    assert first == [("a/b.pdf", "application/pdf"), ("fake.jpg", None), ("z.png", "image/png"), ("000.txt", None)]
    assert found["members"][2] == {"name": "z.png", "size": len(PNG), "type": "image/png", "width": 640, "height": 320}
    assert contents.look(io.BytesIO(PNG))["members"][0]["name"] == ""
    for odd in (b"", b"text", b"PK\3\4", packed({})[:-3], b"PK\5\6" + bytes(18)):
        assert contents.look(io.BytesIO(odd))["members"] == []


# --- All as one zip ----------------------------------------------------------------------------------------------


def test_all_artifacts_come_as_one_zip_zips_as_folders(cast, keep, secret):
    keep(
        "logs", packed({"a/b.txt": "hello " * 1000, "../../up.txt": "x", "CON.txt": "y", "A/B.txt": "z", "empty/": ""})
    )
    keep("raw", b"\0" * 700_000, file_name="raw.bin")
    keep("Logs", b"plain", file_name="logs")
    keep("odd", b"PK\3\4 no zip", file_name="odd.zip")
    keep("lost", state="failed", file="", sha256="", size_bytes=None)
    keep("old", state="expired", file="", sha256="", size_bytes=None)

    async def scene():
        status, headers, body = await got(cast, secret, "artifacts.zip")
        assert (status, headers["Content-Type"]) == (200, "application/zip")
        assert int(headers["Content-Length"]) == len(body)
        assert headers["Content-Disposition"] == f'attachment; filename="artifacts-{cast.pk}.zip"'
        status, again, nothing = await got(cast, secret, "artifacts.zip", method="HEAD")
        assert (status, again["Content-Length"], nothing) == (200, str(len(body)), b"")
        status, _, nothing = await got(cast, secret, "artifacts.zip", If_None_Match=headers["Etag"])
        assert (status, nothing) == (304, b"")
        return body

    with zipfile.ZipFile(io.BytesIO(run(scene()))) as archive:
        assert archive.testzip() is None
        read = {name: archive.read(name) for name in archive.namelist()}
    assert read.pop("logs (2)/a/b.txt") == b"hello " * 1000
    assert read.pop("not in this zip.txt") == b"lost: could not be copied\nold: is no longer kept\n"
    assert read == {
        "logs": b"plain",
        "logs (2)/up.txt": b"x",
        "logs (2)/_CON.txt": b"y",
        "logs (2)/A/B (2).txt": b"z",
        "odd.zip": b"PK\3\4 no zip",
        "raw.bin": b"\0" * 700_000,
    }


def test_when_not_all_are_there_the_zip_has_its_answer(cast, keep, secret):
    async def answers(expected):
        status, headers, _ = await got(cast, secret, "artifacts.zip")
        assert status == expected
        assert ("Retry-After" in headers) == (expected == 409)

    run(answers(404))
    lost = keep("lost", state="failed", file="", sha256="", size_bytes=None)
    run(answers(410))
    keep("there", b"x")
    run(answers(200))
    Artifact.objects.filter(pk=lost.pk).update(state="pending")
    run(answers(409))


def test_a_hundred_artifacts_are_sent_as_they_are_read(cast, keep, secret, monkeypatch):
    for number in range(100):
        keep(f"part {number}", packed({"data.bin": bytes(200_000)}, zipfile.ZIP_STORED))
    monkeypatch.setattr(bundle, "AT_ONCE", 64 * 1024)
    opened = []
    real = bundle.copied
    monkeypatch.setattr(bundle, "copied", lambda file, *a: opened.append(file) or real(file, *a))

    async def scene():
        path = f"/api/v1/casts/{cast.pk}/artifacts.zip"
        async with asked(path, Authorization=f"Bearer {secret}") as answer:
            for _ in range(3):
                assert await answer.next()
        assert answer.gone.is_set()

    run(scene())
    assert 1 <= len(opened) < 20  # it was read as far as it was sent
    until(lambda: all(file.closed for file in opened))  # a thread may still be reading


def overlapping():
    """Return a zip in which many files are the same bytes, as bombs are made."""
    one = packed({"a": bytes(1000)})
    directory = unzip.directory_of(io.BytesIO(one))
    entry = one[directory.offset : directory.offset + directory.size]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(entry) * 500, directory.offset, 0)
    return one[: directory.offset] + entry * 500 + end


def test_a_hostile_zip_is_in_it_as_it_is(cast, keep, secret):
    bomb = overlapping()
    keep("bomb", bomb, file_name="bomb.zip")
    _, _, body = run(got(cast, secret, "artifacts.zip"))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == ["bomb.zip"]
        assert archive.read("bomb.zip") == bomb


def test_no_more_files_are_listed_than_may_be(cast, keep, secret, monkeypatch):
    monkeypatch.setattr(bundle, "BUNDLE_FILES", 3)
    for name in ("a", "b"):
        keep(name, packed({"1": "x", "2": "y"}), file_name=f"{name}.zip")
    _, _, body = run(got(cast, secret, "artifacts.zip"))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == ["a/1", "a/2", "b.zip"]


def test_names_are_different_on_every_system():
    names = Names()
    written = [
        "a.txt",
        "A.TXT",
        "a.txt",
        "x/y",
        "x",
        "./x/y",
        "/etc/passwd",
        "C:\\x\\y.txt",
        "aux",
        "lpt1.log",
        "..",
        "",
    ]
    found = [names.unique(name) for name in [*written, "e\u0301", "\u00e9", ".hidden", "end. ", "d" * 300]]
    assert found[:12] == [
        *("a.txt", "A (2).TXT", "a (3).txt", "x/y", "x (2)", "x/y (2)", "etc/passwd", "C_/x/y.txt"),
        *("_aux", "_lpt1.log", "file", "file (2)"),
    ]
    assert found[12:] == ["e\u0301", "\u00e9 (2)", ".hidden", "end", "d" * 100]


def test_a_file_where_another_name_needs_a_folder():
    names = Names()
    written = ["a", "a/b", "a/b", "A/b/c.txt", "a_b", "x/y", "x/y/z", "x"]
    assert [names.unique(name) for name in written] == [
        *("a", "a_b", "a_b (2)", "A_b_c.txt", "a_b (3)", "x/y", "x/y_z", "x (2)")
    ]


def test_thousands_of_the_same_name_are_numbered_without_counting_each_time(monkeypatch):
    folds = 0

    def counted(name: str) -> str:
        nonlocal folds
        folds += 1
        return name

    monkeypatch.setattr("core.names.folded", counted)
    names = Names()
    found = {names.unique("a/b.txt") for _ in range(1000)}
    assert len(found) == 1000
    assert folds < 5000


def test_a_zip_beyond_four_gibibytes_is_a_zip64(monkeypatch):
    monkeypatch.setattr(zip_stream, "ELSEWHERE_4", 1000)
    parts = [(Packed("a", 2000, 2000), b"a" * 2000), (Packed("b", 3, 3, crc=0x352441C2), b"abc")]
    whole = b"".join(zip_stream.written((one, iter([data])) for one, data in parts))
    assert len(whole) == zip_stream.length_of(one for one, _ in parts)
    assert b"PK\6\6" in whole
    # A reader looks for the real mark; here the bound is lower, so its places are compared.
    assert whole.count(b"PK\1\2") == 2
    with pytest.raises(zip_stream.Damaged):
        list(zip_stream.written([(Packed("a", 5, 5), iter([b"abc"]))]))
