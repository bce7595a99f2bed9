"""An S3 bucket as Django's file storage. Only who uses it loads the client, which takes its time and memory."""

from __future__ import annotations

import errno
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Self

from boto3.s3.transfer import TransferConfig
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage
from storages.utils import clean_name
from urllib3.exceptions import HTTPError

from core.storage import away
from core.storage.address import Bucket
from core.storage.ranges import opened

PART = 8 * 1024 * 1024  # bytes of a large file that are in memory, and sent, at a time
PAUSE = 5.0  # seconds in which a bucket that is away is asked nothing, so that it holds up nobody else's work
LINK_SECONDS = 300  # life of a signed address; a download that has begun goes on. Clocks may be a minute or two apart
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 20, 2
BROKEN = (BotoCoreError, HTTPError)

for _name in ("boto3", "botocore", "s3transfer"):  # at DEBUG they write signatures and session tokens
    logging.getLogger(_name).setLevel(logging.INFO)


@functools.cache
def session_of(key: str | None, secret: str | None, token: str | None) -> Session:
    """Return what reads the client's description of S3, which takes half a second. Without keys it looks for a role."""
    return Session(aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)


class Patience:
    """Asks a bucket that is away nothing for a while; then one asks, and the others wait for what it finds."""

    def __init__(self) -> None:
        self.until = 0.0
        self.lock = threading.Lock()

    def check(self) -> None:
        with self.lock:
            now = time.monotonic()
            if now < self.until:
                raise away("the bucket was away a moment ago")
            if self.until:
                self.until = now + CONNECT_SECONDS * ATTEMPTS + PAUSE

    def went(self, *, well: bool) -> None:
        self.until = 0.0 if well else time.monotonic() + PAUSE


class BucketFile(File):  # type: ignore[type-arg]
    """A file that is read; it can be opened again after it was closed, as Django's can."""

    def __init__(self, how: Callable[[], IO[bytes]], name: str) -> None:
        self.how = how
        super().__init__(how(), name)

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Self:
        if self.closed:
            self.file = self.how()
        else:
            self.seek(0)
        return self


class BucketStorage(S3Storage):  # type: ignore[misc]
    """django-storages' S3Storage with a client for all threads, ranges, timeouts, and OSError for what goes wrong."""

    def __init__(self, *, bucket: Bucket, **credentials: str) -> None:
        self.of = bucket
        self.patience = Patience()
        self.making = threading.Lock()
        self.made: dict[str, Any] = {}
        super().__init__(
            bucket_name=bucket.name,
            location=bucket.prefix,
            endpoint_url=bucket.endpoint or None,
            region_name=bucket.region,
            client_config=Config(
                signature_version="s3v4",
                # Signed bodies: what arrives damaged is refused, by every service, without newer kinds of checksums.
                s3={"addressing_style": bucket.style, "payload_signing_enabled": True},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=32,
            ),
            transfer_config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False),
            # Whoever reaches an object by another way than ours is not to be shown it as a page either.
            object_parameters={"ContentType": "application/octet-stream", "ContentDisposition": "attachment"},
            **credentials,
        )

    # --- the client ------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Any:
        return self.reached_at(self.of.endpoint)

    def reached_at(self, endpoint: str) -> Any:
        with self.making:
            if endpoint not in self.made:
                session = session_of(self.access_key, self.secret_key, self.security_token)
                self.made[endpoint] = session.resource(
                    "s3", region_name=self.of.region, endpoint_url=endpoint or None, config=self.client_config
                )
            return self.made[endpoint]

    @property
    def client(self) -> Any:
        return self.connection.meta.client  # unlike what it belongs to, it may be used by several threads

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Raise FileNotFoundError, PermissionError or StorageAway for what the client raises; no text names a key."""
        self.patience.check()
        try:
            yield
        except ClientError as exc:
            raise self.answered(exc) from exc
        except BROKEN as exc:
            self.patience.went(well=False)
            raise away(f"the bucket can't be reached: {type(exc).__name__}") from exc
        else:
            self.patience.went(well=True)

    def answered(self, exc: ClientError) -> OSError:
        status, code = exc.response["ResponseMetadata"].get("HTTPStatusCode", 0), exc.response["Error"].get("Code", "")
        self.patience.went(well=status < 500)
        if code == "NoSuchBucket":
            return PermissionError(errno.EACCES, "there is no such bucket")
        if status == 404:
            return FileNotFoundError(errno.ENOENT, "the bucket has no such file")
        if status in (401, 403):
            return PermissionError(errno.EACCES, f"the bucket refuses it: {code}")
        return away(f"the bucket answered {status} {code}")

    # --- files -----------------------------------------------------------------------------------------------------

    def key(self, name: str) -> str:
        key: str = self._normalize_name(clean_name(name))
        return key

    def _open(self, name: str, mode: str = "rb") -> BucketFile:
        if mode != "rb":
            raise ValueError("A file in a bucket is read, or saved as a whole.")
        key = self.key(name)

        def ask(first: int, last: int) -> tuple[Any, int]:
            with self.asking():
                return self.part_of(key, first, last)

        return BucketFile(lambda: opened(ask, BROKEN), name)

    def part_of(self, key: str, first: int, last: int) -> tuple[Any, int]:
        try:
            found = self.client.get_object(Bucket=self.of.name, Key=key, Range=f"bytes={first}-{last}")
        except ClientError as exc:
            if exc.response["ResponseMetadata"].get("HTTPStatusCode") != 416 or first:
                raise
            found = self.client.get_object(Bucket=self.of.name, Key=key)  # an empty file has no range
        told = found.get("ContentRange", "")
        return found["Body"], int(told.rpartition("/")[2]) if told else int(found["ContentLength"])

    def _save(self, name: str, content: File[bytes]) -> str:
        with self.asking():
            saved: str = super()._save(name, content)
            return saved

    def exists(self, name: str) -> bool:
        with self.asking():
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with self.asking():
            return int(self.client.head_object(Bucket=self.of.name, Key=self.key(name))["ContentLength"])

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        with self.asking():
            folders, files = super().listdir(name)
            return folders, files

    def delete(self, name: str) -> None:
        with self.asking():
            super().delete(name)

    def abandon(self, name: str) -> None:
        """Delete a file, and what a process that was killed has sent of it."""
        key = self.key(name)
        with self.asking():
            try:
                begun = self.client.list_multipart_uploads(Bucket=self.of.name, Prefix=key).get("Uploads", [])
                for one in begun:
                    if one["Key"] == key:
                        self.client.abort_multipart_upload(Bucket=self.of.name, Key=key, UploadId=one["UploadId"])
            except ClientError as exc:  # the right to list them was not given; a rule of the bucket may end them
                if exc.response["ResponseMetadata"].get("HTTPStatusCode") not in (403, 404, 501):
                    raise
            super().delete(name)

    # --- callers ---------------------------------------------------------------------------------------------------

    def signed_url(self, name: str, *, save_as: str) -> str | None:
        """Return where a caller gets this file for a few minutes, as a download; None if it is to go through us."""
        if self.of.proxied:
            return None
        parameters = {
            "Bucket": self.of.name,
            "Key": self.key(name),
            "ResponseContentDisposition": content_disposition_header(True, save_as) or "attachment",
            "ResponseContentType": "application/octet-stream",
            "ResponseCacheControl": "private, no-store",
        }
        try:
            client = self.reached_at(self.of.public or self.of.endpoint).meta.client
            url: str = client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=LINK_SECONDS)
        except BROKEN as exc:  # there are no credentials, or whoever hands them out is away
            raise away(f"no address can be signed: {type(exc).__name__}") from exc
        return url

    # --- whether it is there ---------------------------------------------------------------------------------------

    def trouble(self) -> str:
        try:
            self.probe()
        except OSError as exc:
            return exc.strerror or type(exc).__name__
        return ""

    def expect(self) -> None:
        if self.patience.until:
            self.probe()

    def probe(self) -> None:
        with self.asking():
            self.client.list_objects_v2(Bucket=self.of.name, Prefix=self.location, MaxKeys=1)
