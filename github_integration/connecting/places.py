"""Where an App's credentials are written: a `.env` file, or a folder with a file for each secret."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from django.conf import settings

from core import dotenv
from core.files import write_whole

APP_ID, KEY, INSTALLATION = "GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_INSTALLATION_ID"
MOST_BYTES = 1024 * 1024  # of a `.env` file


class CantWrite(Exception):
    """Credentials can't be kept there; str() says why and what to do. Never a value."""


class Place(Protocol):
    """Knows one place. `read` tells what is set there, `write` sets more of it; both raise CantWrite."""

    path: Path

    @property
    def folder(self) -> Path: ...

    def check(self) -> None:
        """Raise CantWrite if `write` would fail. To be asked before an App is made: its key is told once."""

    def read(self) -> dict[str, str]: ...

    def write(self, values: Mapping[str, str]) -> list[str]:
        """Set values by their settings' names, all or none; a blank one is not set any more. Return what to tell."""


def place_of(path: str) -> Place:
    """Return a place by its path: a folder, or what is to be one (with a slash at its end), or a file."""
    found = Path(path).expanduser().absolute()
    return SecretsFolder(found) if path.endswith("/") or found.is_dir() else EnvFile(found)


class EnvFile:
    """A `.env` file. The private key is a file of its own beside it, which the setting names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def folder(self) -> Path:
        return self.path.parent

    def check(self) -> None:
        found = self._stat()
        if found is not None and found.st_uid != os.geteuid() and os.geteuid() != 0:
            raise CantWrite(f"{self.path} belongs to another user. Run this as that user, or name another file.")
        check_folder(self.folder)
        self._text()

    def read(self) -> dict[str, str]:
        found, _ = dotenv.parse(self._text())
        pem = found.get(KEY, "")
        if pem and "-----BEGIN" not in pem:
            found[KEY] = read_text(Path(pem).expanduser()) or pem
        return with_files(found)

    def write(self, values: Mapping[str, str]) -> list[str]:
        text, found, told = self._text(), self._stat(), []
        plain = dict(values)
        if (pem := plain.get(KEY)) is not None:
            plain[KEY] = str(self._write_key(pem, values.get(APP_ID) or "app", found))
        note = f"Replaced by connectgithub, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        gone = [name for name, value in plain.items() if not value] + [f"{name}_FILE" for name in plain]
        plain = {name: value for name, value in plain.items() if value}
        new = dotenv.changed(text, plain, gone=gone, note=note)
        if new == text:
            return []
        try:
            write_whole(self.path, new, like=found)
        except OSError as exc:
            raise CantWrite(f"{self.path} can't be written: {exc.strerror}.") from exc
        told.append(f"Written to {self.path}: {', '.join(plain)}.")
        if found is not None and stat.S_IMODE(found.st_mode) & 0o077:
            told.append(f"{self.path} could be read by others ({stat.S_IMODE(found.st_mode):04o}); it is 0600 now.")
        return told

    def _write_key(self, pem: str, number: str, like: os.stat_result | None) -> Path:
        """Write the private key to a file of its own; one that is there with another key stays as it is."""
        for attempt in range(1, 100):
            path = self.folder / f"github-app-{number}{f'-{attempt}' if attempt > 1 else ''}.pem"
            if read_text(path) == pem:
                return path
            if not os.path.lexists(path):
                break
        try:
            write_whole(path, pem, like=like)
        except OSError as exc:
            raise CantWrite(f"{path} can't be written: {exc.strerror}.") from exc
        return path

    def _stat(self) -> os.stat_result | None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise CantWrite(f"{self.path} can't be looked at: {exc.strerror}.") from exc
        if stat.S_ISLNK(found.st_mode):
            raise CantWrite(f"{self.path} is a symbolic link. Name the file that it stands for with --env-file.")
        if not stat.S_ISREG(found.st_mode):
            raise CantWrite(f"{self.path} is no file. Name another with --env-file.")
        return found

    def _text(self) -> str:
        if self._stat() is None:
            return ""
        try:
            raw = self.path.read_bytes()
            text = raw.decode("utf-8")
        except OSError as exc:
            raise CantWrite(f"{self.path} can't be read: {exc.strerror}.") from exc
        except UnicodeDecodeError:
            raise CantWrite(f"{self.path} is not UTF-8. Save it as UTF-8 first.") from None
        if len(raw) > MOST_BYTES:
            raise CantWrite(f"{self.path} is too long to be a file of settings.")
        _, problems = dotenv.parse(text.removeprefix("\ufeff"))
        if problems:
            raise CantWrite(f"{self.path} can't be read. {' '.join(problems[:3])} Correct it first.")
        return text.removeprefix("\ufeff")


class SecretsFolder:
    """A folder with a file for each value, as Docker and Kubernetes mount them: `NAME_FILE` names each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def folder(self) -> Path:
        return self.path

    def check(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise CantWrite(f"{self.path} can't be made a folder: {exc.strerror}.") from exc
        check_folder(self.path)
        for name in (APP_ID, KEY):
            if self._file(name).is_symlink() or self._file(name).is_dir():
                raise CantWrite(f"{self._file(name)} is a link or a folder. Move it away first.")

    def read(self) -> dict[str, str]:
        if not self.path.is_dir():
            return {}
        named = {file.name.upper(): read_text(file) for file in self.path.iterdir() if not file.name.startswith(".")}
        return {name: text.rstrip("\r\n") for name, text in named.items() if text}

    def write(self, values: Mapping[str, str]) -> list[str]:
        now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        # The App's number last: with it the others count.
        for name in sorted(values, key=lambda name: (name == APP_ID, name)):
            file = self._file(name)
            old = read_text(file)
            if old is not None and old.rstrip("\r\n") == values[name].rstrip("\r\n"):
                continue
            try:
                if old is not None:
                    write_whole(file.with_name(f".{file.name}.replaced-{now}"), old)
                if values[name]:
                    write_whole(file, values[name])
                else:
                    file.unlink(missing_ok=True)
            except OSError as exc:
                raise CantWrite(f"{file} can't be written: {exc.strerror}.") from exc
        lines = [f"{name}_FILE={self._file(name)}" for name, value in values.items() if value]
        return [f"Written to {self.path}. Give web, workers and commands these settings:", *lines]

    def _file(self, name: str) -> Path:
        return self.path / name.lower()


def refuse_overridden(place: Place) -> None:
    """Raise CantWrite if what is to be written would have no effect: the environment wins over `.env`."""
    if place.path != Path(settings.BASE_DIR) / ".env":
        return
    if os.environ.get("IGNORE_ENV_FILE"):
        raise CantWrite("IGNORE_ENV_FILE is set, so .env is not read. Take it out, or name a place of your own.")
    values = place.read()
    given = {name: os.environ.get(name, "") or os.environ.get(f"{name}_FILE", "") for name in (APP_ID, INSTALLATION)}
    if set_elsewhere := [name for name, value in given.items() if value and name not in values]:
        raise CantWrite(
            f"The environment sets {' and '.join(set_elsewhere)}, and wins over {place.path}. Take that out of there "
            "first, or name another place with --env-file or --secrets."
        )


def check_folder(folder: Path) -> None:
    """Raise CantWrite unless files can be made in a folder, by making one. Nobody else may swap them there."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".connect-"):
            mode = folder.stat().st_mode
    except OSError as exc:
        raise CantWrite(f"No file can be made in {folder}: {exc.strerror}.") from exc
    if mode & 0o002 and not mode & stat.S_ISVTX:
        raise CantWrite(f"Every user of this machine may change what is in {folder}. Take that right away: chmod o-w.")


def with_files(found: dict[str, str]) -> dict[str, str]:
    """Return settings with those that `NAME_FILE` gives by a file's path."""
    for name, path in list(found.items()):
        if name.endswith("_FILE") and (text := read_text(Path(path))) is not None:
            found.setdefault(name.removesuffix("_FILE"), text.rstrip("\r\n"))
    return found


def read_text(path: Path) -> str | None:
    """Return a small text file, None if there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
