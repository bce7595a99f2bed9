"""Where artifacts are kept, as settings say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.storage.address import BACKEND, BadAddress, bucket_of
from spellplatform.env import BadSetting


def storage_of(url: str, folder: Path, *, umask: int, key: str, secret: str, token: str) -> dict[str, Any]:
    """Return Django's settings for the storage of artifacts. Raise BadSetting."""
    if not url:
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {
                "location": folder,
                "base_url": None,
                # Django sets modes of its own, which let everybody read.
                "file_permissions_mode": 0o666 & ~umask,
                "directory_permissions_mode": 0o777 & ~umask,
            },
        }
    try:
        bucket = bucket_of(url)
    except BadAddress as exc:
        raise BadSetting(f"STORAGE_URL can't be used. {exc}") from None
    if bool(key) != bool(secret):
        raise BadSetting("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together. Set both, or neither.")
    # Without these, the client looks for a role of the machine or pod.
    keys = {"access_key": key, "secret_key": secret} | ({"security_token": token} if token else {})
    return {"BACKEND": BACKEND, "OPTIONS": {"bucket": bucket, **(keys if key else {})}}
