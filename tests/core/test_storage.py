"""Artifacts in an S3 bucket: how it is named, read in parts, signed for callers, and what happens when it is away."""

from __future__ import annotations

import io
import random
import socket
import time

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from urllib3.exceptions import ProtocolError

from core import storage as storages
from core.storage import StorageAway, bucket
from core.storage.address import BadAddress, Bucket, bucket_of
from core.storage.ranges import FIRST, opened
from tests import s3
from tests.e2e.platform import free_port, until

SECRET = "Zq7-not-to-be-shown"
WRONG = {
    "spells": "begin with s3://",
    "http://spells": "begin with s3://",
    f"s3://key:{SECRET}@spells?region=eu-central-1": "no keys",
    "s3://localhost:9000/spells": "host and port belong in endpoint",
    "s3://[::1/spells": "can't be read",
    "s3:///spells?region=eu-central-1": "bucket's name",
    "s3://Spells?region=eu-central-1": "bucket's name",
    "s3://a?region=eu-central-1": "bucket's name",
    "s3://spells/../x?region=eu-central-1": "prefix",
    "s3://spells/a//b?region=eu-central-1": "prefix",
    "s3://spells/a%20b?region=eu-central-1": "prefix",
    "s3://spells?region=eu-central-1#x": "no #",
    "s3://spells": "neither a region nor an endpoint",
    "s3://spells?region": "can't be read",
    "s3://spells?region=": "region is blank",
    "s3://spells?region=Frankfurt%20am%20Main": "such as eu-central-1",
    "s3://spells?region=eu-central-1&region=eu-west-1": "twice",
    "s3://spells?regoin=eu-central-1": "'regoin' is none",
    f"s3://spells?{SECRET}=x&region=eu-central-1": "none of these",
    "s3://spells?endpoint=minio:9000": "scheme, host and port",
    "s3://spells?endpoint=https://minio:9000/spells": "scheme, host and port",
    f"s3://spells?endpoint=https://key:{SECRET}@minio": "scheme, host and port",
    "s3://spells?endpoint=https://minio&public=files.example.com": "public must be scheme",
    "s3://spells?endpoint=https://minio&style=dns": "path or virtual",
    "s3://spells?endpoint=https://minio&downloads=no": "redirect or proxy",
}


@pytest.mark.parametrize("url", WRONG)
def test_each_way_to_write_it_wrong_is_told_and_no_value_is(url):
    with pytest.raises(BadAddress) as told:
        bucket_of(url)
    assert WRONG[url] in str(told.value)
    assert SECRET not in str(told.value)


def test_what_is_left_out_has_a_meaning():
    amazon = bucket_of("s3://spells/prod/a?region=eu-central-1")
    assert amazon == Bucket("spells", "prod/a", region="eu-central-1", style="virtual")
    assert amazon.origin == "https://s3.eu-central-1.amazonaws.com"
    own = bucket_of("s3://spells?endpoint=http://minio:9000/&public=https://files.example.com&downloads=proxy")
    assert (own.endpoint, own.style, own.region, own.proxied) == ("http://minio:9000", "path", "us-east-1", True)
    assert own.origin == "https://files.example.com"


# --- reading in parts ------------------------------------------------------------------------------------------------


class Breaks(io.BytesIO):
    """A connection that ends after some bytes."""

    def __init__(self, content: bytes, after: int) -> None:
        super().__init__(content)
        self.after = after

    def read(self, amount: int | None = -1) -> bytes:
        if self.tell() >= self.after:
            raise ProtocolError("broken")
        return super().read(amount)


@pytest.mark.parametrize("after", [10**9, 50_000])
def test_parts_of_a_file_are_those_of_the_file_wherever_they_are_read(after):
    random.seed(7)
    content = random.randbytes(3_000_000)
    asked: list[int] = []

    def ask(first, last):
        asked.append(last + 1 - first)
        return Breaks(content[first : last + 1], after), len(content)

    file = opened(ask, (ProtocolError,))
    for _ in range(300):
        place, size = random.choice([0, 100, 10**6, 2_999_000, file.tell()]), random.choice([1, 30, 5_000, 400_000])
        file.seek(place)
        assert file.read(size) == content[place : place + size]
    file.seek(0)
    asked.clear()
    assert file.read() == content
    assert len(asked) < 10 or after < 10**9  # not one request for each 64 KiB
    asked.clear()
    file.seek(-20, io.SEEK_END)
    file.read()
    file.seek(10)
    file.read(10)
    assert sum(asked) < 5 * FIRST  # nor the whole file for its end


def test_what_stays_broken_is_an_error_of_the_system():
    with pytest.raises(OSError, match="broke off: ProtocolError"):
        opened(lambda *_: (Breaks(b"x" * 100, 0), 100), (ProtocolError,))


# --- against a service -----------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_bucket_keeps_files_and_reads_them_in_parts():
    storage, content = s3.storage(), random.randbytes(20 * 1024 * 1024)  # in three parts
    assert storage.save("a/large", ContentFile(content)) == "a/large"
    storage.save("a/empty", ContentFile(b""))
    with storage.open("a/large") as file:
        assert file.read() == content
        file.seek(-5, 2)
        assert file.read() == content[-5:]
    with file.open("rb"), storage.open("a/empty") as empty:
        assert (file.read(3), empty.read()) == (content[:3], b"")
    assert (storage.size("a/large"), storage.exists("a/large"), storage.exists("a/none")) == (len(content), True, False)
    assert sorted(storage.listdir("a")[1]) == ["empty", "large"]
    with pytest.raises(FileNotFoundError):
        storage.open("a/none")
    for name in ("a/large", "a/empty", "a/none"):
        storage.delete(name)
    assert storage.listdir("a")[1] == []
    assert storage.trouble() == ""


@pytest.mark.processes
def test_a_caller_gets_what_was_signed_for_a_while_and_nothing_else(monkeypatch):
    storage = s3.storage()
    for name in ("a", "b"):
        storage.save(name, ContentFile(b"<script>alert(1)</script>"))
    url = storage.signed_url("a", save_as='größe";x.html') or ""
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"<script>alert(1)</script>")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=utf-8''gr%C3%B6%C3%9Fe")
    assert "no-store" in answer.headers["Cache-Control"]
    assert requests.get(url, timeout=10, headers={"Range": "bytes=1-6"}).content == b"script"
    signature = url.rpartition("X-Amz-Signature=")[2]
    forged = (
        url.replace("/a?", "/b?"),
        url.replace("attachment", "inline"),
        url.replace("octet-stream", "html"),
        url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        url.replace(signature, signature[::-1]),
        url.partition("?")[0],
    )
    assert [requests.get(one, timeout=10).status_code for one in forged] == [403] * len(forged)
    assert requests.put(url, data=b"x", timeout=10).status_code == 403
    assert requests.delete(url, timeout=10).status_code == 403
    monkeypatch.setattr(bucket, "LINK_SECONDS", 1)
    short = storage.signed_url("a", save_as="a") or ""
    until(lambda: requests.get(short, timeout=10).status_code == 403)


@pytest.mark.processes
def test_a_refusal_says_why_and_no_secret(caplog):
    caplog.set_level("DEBUG")
    url = s3.storage_url()
    refused = s3.storage(url, secret=SECRET)
    with pytest.raises(PermissionError) as told:
        refused.save("a", ContentFile(b"x"))
    assert "SignatureDoesNotMatch" in refused.trouble()
    with pytest.raises(PermissionError, match="the bucket refuses it"):
        refused.open("a")
    nowhere = s3.storage(url.replace(f"s3://{s3.BUCKET}/", "s3://another/"))
    assert nowhere.trouble()
    s3.storage(url).save("a", ContentFile(b"x"))
    for text in (str(told.value), repr(told.value), repr(refused.of), caplog.text):
        assert SECRET not in text
        assert s3.SECRET not in text
        assert "Signature=" not in text


@pytest.mark.processes
def test_what_a_killed_process_has_sent_of_a_file_is_ended():
    storage = s3.storage()
    begun = {}
    for name in ("a/half", "a/half-2"):
        key = storage.key(name)
        begun[name] = storage.client.create_multipart_upload(Bucket=s3.BUCKET, Key=key)["UploadId"]
        storage.client.upload_part(
            Bucket=s3.BUCKET, Key=key, UploadId=begun[name], PartNumber=1, Body=b"x" * (5 * 1024 * 1024)
        )
    storage.abandon("a/half")
    left = storage.client.list_multipart_uploads(Bucket=s3.BUCKET, Prefix=storage.key("a")).get("Uploads", [])
    assert [one["UploadId"] for one in left] == [begun["a/half-2"]]
    storage.abandon("a/half")  # nothing is there any more


def test_a_service_that_is_away_is_asked_once_and_then_left_alone_for_a_while(monkeypatch):
    storage = s3.storage(f"s3://spells?endpoint=http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client's own, between its two attempts
    storage.expect()  # nothing is known against it: nothing is asked
    with pytest.raises(StorageAway, match="can't be reached"):
        storage.save("a", ContentFile(b"x"))
    for use in (storage.expect, lambda: storage.open("a"), lambda: storage.delete("a")):
        with pytest.raises(StorageAway, match="a moment ago"):
            use()
    assert storage.signed_url("a", save_as="a")  # which asks nobody
    monkeypatch.setattr(bucket, "PAUSE", 0.0)
    storage.patience.until = 1.0
    with pytest.raises(StorageAway, match="can't be reached"):
        storage.expect()


def test_a_service_that_says_nothing_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(bucket, "READ_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        storage = s3.storage(f"s3://spells?endpoint=http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StorageAway, match="ReadTimeoutError"):
            storage.open("a")


def test_a_folder_is_asked_too(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(storages, "default_storage", FileSystemStorage(tmp_path / "not" / "made", base_url=None))
    assert storages.trouble() == ""
    monkeypatch.setattr(storages, "default_storage", FileSystemStorage("/proc/1/nothing", base_url=None))
    assert storages.trouble()
    assert list(tmp_path.iterdir()) == []
