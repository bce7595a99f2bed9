"""Asks git about a working tree; nothing here changes it."""

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_FORMAT = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x1e"
NOTHING = "0" * 40  # the commit of a branch that is not there, in pushes


@dataclass(frozen=True)
class Person:
    """Who wrote or made a commit, and when."""

    name: str
    email: str
    at: datetime


@dataclass(frozen=True)
class Commit:
    """One commit."""

    sha: str
    tree: str
    parents: list[str]
    author: Person
    committer: Person
    message: str


class Git:
    """One working tree's git, which may not be there."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def text(self, *arguments: str) -> str:
        """Return git's answer as text, empty when it has none or the tree is no git repository."""
        return (self.run(*arguments) or b"").decode(errors="replace").strip()

    def run(self, *arguments: str) -> bytes | None:
        """Return git's answer, None if it has none."""
        # A GIT_DIR of whoever started us would name another repository.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
        command = ["git", "-C", str(self.tree), *arguments]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None
        return done.stdout if done.returncode == 0 else None

    def commit(self, sha: str) -> Commit | None:
        return next(iter(self._commits("-1", sha)), None)

    def commits(self, before: str, after: str, most: int) -> list[Commit]:
        """Return what `after` has and `before` has not, oldest first, at most so many of the newest."""
        given = [after] if before == NOTHING else [after, f"^{before}"]
        return self._commits(f"-{most}", *given)[::-1]

    def _commits(self, *arguments: str) -> list[Commit]:
        said = self.run("-c", "log.showSignature=false", "log", f"--format={_FORMAT}", *arguments, "--")
        return [_read(part) for part in (said or b"").decode(errors="replace").split("\x1e") if part.strip()]

    def changes(self, sha: str) -> dict[str, list[str]]:
        """Return the paths that a commit added, modified and removed, against its first parent."""
        listed = self.run(
            *("diff-tree", "-r", "-z", "--root", "--no-commit-id", "--no-renames", "--name-status"),
            *("-m", "--first-parent", sha, "--"),
        )
        found: dict[str, list[str]] = {"added": [], "modified": [], "removed": []}
        words = (listed or b"").decode(errors="replace").split("\0")
        for status, path in zip(words[::2], words[1::2], strict=False):
            found[{"A": "added", "D": "removed"}.get(status, "modified")].append(path)
        return found

    def contains(self, later: str, earlier: str) -> bool:
        """Whether `earlier` is a commit on the way to `later`."""
        return self.run("merge-base", "--is-ancestor", earlier, later) is not None


def _read(text: str) -> Commit:
    sha, tree, parents, *people, message = text.lstrip("\n").split("\0")
    author, committer = (
        Person(name, email, datetime.fromisoformat(at).astimezone(UTC)) for name, email, at in (people[:3], people[3:6])
    )
    return Commit(sha, tree, parents.split(), author, committer, message.rstrip("\n"))
