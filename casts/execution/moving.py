"""Copying the files of artifacts from a folder into the storage that is in use now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.core.files import File
from django.core.files.storage import default_storage

from casts.models import Artifact

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Moved:
    artifact: Artifact
    how: Literal["copied", "there", "missing", "damaged"]


def copy_all(folder: Path) -> Iterator[Moved]:
    """Copy what stored artifacts have in a folder under the same names, and yield what came of each. Raise OSError.

    It may be stopped and begun again: what is there already, with its size, is left as it is.
    """
    stored = Artifact.objects.filter(state=Artifact.State.STORED).order_by("pk")
    for artifact in stored.only("cast", "name", "file", "size_bytes", "sha256").iterator(chunk_size=500):
        name = artifact.file.name
        assert name is not None
        if is_there(name, artifact.size_bytes):
            yield Moved(artifact, "there")
            continue
        try:
            with (folder / name).open("rb") as file:
                if digest_of(File(file)) != artifact.sha256:
                    yield Moved(artifact, "damaged")
                    continue
                file.seek(0)
                default_storage.save(name, File(file))
        except FileNotFoundError:
            yield Moved(artifact, "missing")
            continue
        yield Moved(artifact, "copied")


def is_there(name: str, size: int | None) -> bool:
    try:
        return default_storage.size(name) == size
    except FileNotFoundError:
        return False


def digest_of(file: File[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
