"""Where artifacts are kept: a folder, or an S3 bucket that STORAGE_URL names.

What is here loads no client: `core.storage.bucket` does, where it is the storage, and when it is first used.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import Any

from django.core.files.storage import default_storage


class StorageAway(OSError):
    """The storage does not answer, or says that it can't just now."""


def expect() -> None:
    """Raise StorageAway if the storage was away when it was last used, and still is. Else ask it nothing."""
    ask: Any = getattr(default_storage, "expect", None)
    if ask is not None:
        ask()


def signed_url(name: str, *, save_as: str) -> str | None:
    """Return where a caller may get a file from the storage itself; None if the file is to be sent by us."""
    sign: Any = getattr(default_storage, "signed_url", None)
    return None if sign is None else sign(name, save_as=save_as)


def discard(name: str) -> None:
    """Delete a file, and what was sent of it if a process that was killed had begun to. Raise OSError."""
    abandon: Any = getattr(default_storage, "abandon", default_storage.delete)
    abandon(name)


def trouble() -> str:
    """Ask the storage, once, and say in a few words why nothing can be stored now; blank if nothing is known."""
    ask: Any = getattr(default_storage, "trouble", None)
    try:
        return str(ask()) if ask is not None else trouble_of_folder(default_storage.path(""))
    except OSError as exc:
        return exc.strerror or type(exc).__name__


def trouble_of_folder(path: str) -> str:
    while not os.path.isdir(path) and path != os.path.dirname(path):  # it is made with the first artifact
        path = os.path.dirname(path)
    with tempfile.TemporaryFile(dir=path) as draft:  # a full disk says so only when something is written
        draft.write(b"\0" * 4096)
        draft.flush()
        os.fsync(draft.fileno())
    return ""


def away(why: str) -> StorageAway:
    return StorageAway(errno.EIO, why)
