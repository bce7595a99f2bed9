"""The spell files of a repository as they are at one commit, read over the API within bounds."""

from __future__ import annotations

import posixpath
import threading
import tomllib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from core import limits
from github_integration import errors
from github_integration.api import Repository
from github_integration.details import Entry
from github_integration.spell_files.lines import MOST_PARTS, Path, error_line, line_of, lines_of, too_many_parts
from github_integration.workflow_files.schema import cut, one_line

FOLDER, FILE, MORE, WORKFLOWS = ".github", "spells.toml", "spells", ".github/workflows"
KEPT_FILES = 1_000
MESSAGE_CHARS = 500  # of a mistake, which may quote the file


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake, for the author of the file."""

    file: str
    line: int
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", cut(one_line(self.message), MESSAGE_CHARS))

    def stored(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "message": self.message}


@dataclass(frozen=True)
class Table:
    """What one file says of one spell."""

    key: str
    file: str
    value: Any
    lines: dict[Path, int] = field(repr=False)

    def problem(self, message: str, *where: str | int) -> Problem:
        return Problem(self.file, line_of(self.lines, (self.key, *where)), f"{self.key[:80]}: {message}")


class KnownFiles:
    """Contents by their own id, which never change; those that were asked for longest ago are dropped first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, str]) -> bytes | None:
        with self._lock:
            if (found := self._known.get(key)) is not None:
                self._known.move_to_end(key)
            return found

    def put(self, key: tuple[int, str], content: bytes) -> None:
        if len(content) > limits.SPELL_FILE_BYTES // 8:
            return
        with self._lock:
            self._known[key] = content
            while len(self._known) > KEPT_FILES:
                self._known.popitem(last=False)


KNOWN_FILES = KnownFiles()  # so that a push costs as many requests as files have changed


class Snapshot:
    """A repository at one commit. Every file and folder is asked for once at most."""

    def __init__(self, repository: Repository, commit: str) -> None:
        self.repository, self.commit = repository, commit
        self._folders: dict[str, dict[str, Entry]] = {}
        self._texts: dict[str, str | ValueError] = {}
        self._size = 0  # of all that was read

    def folder(self, path: str) -> dict[str, Entry]:
        """Return what a folder holds, by name; nothing if it isn't there."""
        if path not in self._folders:
            self._folders[path] = {one.name: one for one in self.repository.folder(path, self.commit)}
        return self._folders[path]

    def text(self, path: str) -> str:
        """Return a file's text. Raise ValueError, whose text says why it can't be read."""
        if path not in self._texts:
            if len(self._texts) >= limits.SPELL_FILE_READS:
                raise ValueError(f"{limits.SPELL_FILE_READS} files are read at most")
            if self._size > limits.SPELL_FILES_BYTES:
                raise ValueError(f"together the files have more than {limits.SPELL_FILES_BYTES:,} bytes")
            try:
                content = self._bytes(path)
                self._size += len(content)
                self._texts[path] = content.decode("utf-8-sig")
            except errors.NotFound:
                self._texts[path] = ValueError("there is no such file at this commit")
            except UnicodeDecodeError:
                self._texts[path] = ValueError("it is not UTF-8")
            except ValueError as exc:
                self._texts[path] = exc
        found = self._texts[path]
        if isinstance(found, ValueError):
            raise ValueError(str(found))
        return found

    def _bytes(self, path: str) -> bytes:
        folder, _, name = path.rpartition("/")
        listed = self._folders.get(folder, {}).get(name)
        key = None if listed is None or not listed.id else (self.repository.installation, listed.id)
        if key is not None and (known := KNOWN_FILES.get(key)) is not None:
            return known
        content = self.repository.file_bytes(path, self.commit, most_bytes=limits.SPELL_FILE_BYTES)
        if key is not None:
            KNOWN_FILES.put(key, content)
        return content

    def text_beside(self, file: str, path: str) -> str:
        """Return the file at a path that begins in another file's folder. Raise ValueError."""
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        if path.startswith("/") or whole.split("/")[0] in (".", "..") or "\\" in path or "\0" in path:
            raise ValueError("the path leads out of the repository")
        return self.text(whole)

    def spell_files(self, *, sure: bool) -> list[str]:
        """Return the paths of the files that define spells.

        `sure`: that there are none is not to be taken from one 404, which a server that is behind may give as well.
        Raise Unavailable then.
        """
        top = self.folder(FOLDER)
        if sure and not top and (not (root := self.folder("")) or FOLDER in root):
            raise errors.Unavailable("GitHub does not show yet what is in this commit")
        found = [f"{FOLDER}/{FILE}"] if FILE in top and top[FILE].kind != "dir" else []
        if MORE in top and top[MORE].kind == "dir":
            inside = self.folder(f"{FOLDER}/{MORE}")
            found += [f"{FOLDER}/{MORE}/{name}" for name in sorted(inside) if name.endswith(".toml")]
        return found


def tables_of(snapshot: Snapshot, files: list[str]) -> tuple[list[Table], list[Problem]]:
    """Return what the files say of each spell, and what is wrong with the files themselves."""
    if len(files) > limits.SPELL_FILES:
        told = f"{len(files)} files define spells here; {limits.SPELL_FILES} are read at most."
        return [], [Problem(files[0], 1, told)]
    tables: dict[str, Table] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            text = snapshot.text(file)
            found = tables_in(file, text)
        except tomllib.TOMLDecodeError as exc:
            problems.append(Problem(file, error_line(text, exc), f"This is no TOML: {exc}."))
        except ValueError as exc:
            problems.append(Problem(file, 1, f"This file can't be read: {exc}."))
        else:
            for table in found:
                if (before := tables.setdefault(table.key, table)) is not table:
                    where = f"{before.file}, line {line_of(before.lines, (table.key,))}"
                    problems.append(table.problem(f"is defined twice: also in {where}."))
    if len(tables) > limits.SPELLS_IN_FILES:
        told = f"{len(tables)} spells are defined here; {limits.SPELLS_IN_FILES} are read at most."
        problems.append(Problem(files[0], 1, told))
    return list(tables.values()), problems


def tables_in(file: str, text: str) -> list[Table]:
    """Return the tables of one file. Raise TOMLDecodeError, or ValueError for what would take too long."""
    if line := too_many_parts(text):
        raise ValueError(f"a key has more than {MOST_PARTS} parts, in line {line}")
    try:
        data = tomllib.loads(text)
        lines = lines_of(text)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    return [Table(key, file, value, lines) for key, value in data.items()]
