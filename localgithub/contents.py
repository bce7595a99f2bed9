"""Files and folders of a repository, as they are in its tree now or were at a commit."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .repositories import Repository

SKIPPED = {".git", ".venv", "node_modules", "__pycache__"}  # of a tree that has no git to say what belongs to it
MAX_LISTED = 1000  # entries that GitHub lists of a folder
MAX_FILE = 100_000_000  # bytes of a file that GitHub gives at all
MAX_LINKS = 8  # that lead to each other, perhaps in a circle
_KINDS = {"040000": "dir", "120000": "symlink", "160000": "submodule"}


@dataclass(frozen=True)
class Entry:
    """One file, folder, symbolic link or submodule."""

    path: str
    kind: str  # file, dir, symlink or submodule
    sha: str
    size: int = 0
    data: bytes = b""  # of a file that was asked for by itself and is not too large
    target: str = ""  # of a symbolic link that was asked for by itself and leads to no file here

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Folder:
    """What a folder holds."""

    path: str
    sha: str
    entries: list[Entry]


def find(repository: "Repository", path: str, commit: str | None) -> Entry | Folder | None:
    """Return what is at a path, None if nothing is; `commit` None: in the tree as it is now.

    A symbolic link to a file of the repository is that file, as on GitHub.
    """
    path = path.removesuffix("/")
    if "\0" in path or (path and any(part in ("", ".", "..", ".git") for part in path.split("/"))):
        return None
    return _in_commit(repository, path, commit, 0) if commit else _in_tree(repository, path)


def blob_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _in_commit(repository: "Repository", path: str, commit: str, links: int) -> Entry | Folder | None:
    if not path:
        sha = repository.git.text("rev-parse", "--verify", "-q", f"{commit}^{{tree}}")
        return Folder("", sha, _listed(repository, commit, "")[:MAX_LISTED]) if sha else None
    parent = str(PurePosixPath(path).parent)
    parent = "" if parent == "." else parent
    entry = next((one for one in _listed(repository, commit, parent) if one.path == path), None)
    if entry is None or entry.kind == "submodule":
        return entry
    if entry.kind == "dir":
        return Folder(path, entry.sha, _listed(repository, commit, path)[:MAX_LISTED])
    if entry.size > MAX_FILE:
        return entry
    data = repository.git.run("cat-file", "blob", entry.sha)
    if data is None:
        return None
    if entry.kind == "file":
        return Entry(path, "file", entry.sha, len(data), data)
    target = data.decode(errors="replace")
    inside = _joined(parent, target)
    found = _in_commit(repository, inside, commit, links + 1) if inside and links < MAX_LINKS else None
    if isinstance(found, Entry) and found.kind == "file":
        return Entry(path, "file", found.sha, found.size, found.data)
    return Entry(path, "symlink", entry.sha, len(data), target=target)


def _joined(folder: str, target: str) -> str:
    """Return where a relative link leads, empty if out of the repository."""
    if target.startswith("/"):
        return ""
    joined = os.path.normpath(f"{folder}/{target}" if folder else target)
    return "" if joined.startswith("..") or joined == "." else joined


def _listed(repository: "Repository", commit: str, folder: str) -> list[Entry]:
    listed = repository.git.run("ls-tree", "-z", "-l", f"{commit}:{folder}") or b""
    found = []
    for line in filter(None, listed.decode(errors="replace").split("\0")):
        facts, name = line.split("\t", 1)
        mode, _, sha, size = facts.split()
        path = f"{folder}/{name}" if folder else name
        found.append(Entry(path, _KINDS.get(mode, "file"), sha, int(size) if size.isdigit() else 0))
    return found


def _in_tree(repository: "Repository", path: str) -> Entry | Folder | None:
    root, place = repository.tree.resolve(), repository.tree / path
    try:
        # Nothing outside the tree, whatever a symbolic link says; of a link itself, only where it leads.
        if not place.parent.resolve().is_relative_to(root) and path:
            return None
        real, is_link = Path(os.path.realpath(place)), place.is_symlink()
        seen = real if real.is_relative_to(root) and real.is_file() else place
        if path and (SKIPPED & {*path.split("/")} or repository.git.text("check-ignore", "--", f"./{path}")):
            return None
        if is_link and seen is place:
            target = os.readlink(place)
            return Entry(path, "symlink", blob_sha(os.fsencode(target)), len(target), target=target)
        if seen.is_file() and not SKIPPED & {*seen.relative_to(root).parts}:
            size = seen.stat().st_size
            data = seen.read_bytes() if size <= MAX_FILE else b""
            return Entry(path, "file", blob_sha(data), size, data)
        if place.is_dir():
            entries = _children(repository, path)
            return Folder(path, _made_up(path), entries) if entries or not path else None  # git knows no empty folders
    except (OSError, ValueError, RuntimeError):  # unreadable, a name too long, links in a circle
        return None
    return None


def _children(repository: "Repository", folder: str) -> list[Entry]:
    base = repository.tree / folder
    listed = repository.git.run(
        *("--literal-pathspecs", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"),
        *([folder] if folder else []),
    )
    if listed is None:
        names = {one.name for one in base.iterdir() if one.name not in SKIPPED}
    else:
        start = len(folder) + 1 if folder else 0
        names = {os.fsdecode(line)[start:].split("/")[0] for line in listed.split(b"\0") if line}
    found = []
    for name in sorted(names):
        entry = _child(base / name, f"{folder}/{name}" if folder else name)
        if entry is not None:
            found.append(entry)
        if len(found) == MAX_LISTED:
            break
    return found


def _child(place: Path, path: str) -> Entry | None:
    try:
        kind = place.lstat().st_mode
        if stat.S_ISLNK(kind):
            target = os.fsencode(os.readlink(place))
            return Entry(path, "symlink", blob_sha(target), len(target))
        if stat.S_ISDIR(kind):
            return Entry(path, "dir", _made_up(path))
        if stat.S_ISREG(kind):
            # A large file is not read for a list; its id is only made up then.
            size = place.stat().st_size
            return Entry(path, "file", blob_sha(place.read_bytes()) if size <= MAX_FILE else _made_up(path), size)
    except OSError:
        return None  # deleted, but not from git's index
    return None


def _made_up(path: str) -> str:
    """Return an id for a folder of the tree, which git has given none yet."""
    return hashlib.sha1(b"tree " + path.encode(errors="replace"), usedforsecurity=False).hexdigest()
