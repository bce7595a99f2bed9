import hashlib
import shutil
import subprocess
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from . import workflow
from .clock import now

SKIPPED = {".git", ".venv", "node_modules", "__pycache__"}


@dataclass
class Repository:
    """One working tree that is served as a GitHub repository."""

    full_name: str
    tree: Path
    disabled: set[str] = field(default_factory=set)  # paths of workflows that somebody switched off

    def __post_init__(self) -> None:
        self.created_at = now()
        self._known: tuple[str, dict[str, str]] = ("main", {})
        self._looked = -10.0  # long enough ago that the first look asks git

    @property
    def id(self) -> int:
        """A number derived from the name, so that it survives a restart."""
        return 500_000_000 + zlib.crc32(self.full_name.encode()) % 400_000_000

    @property
    def owner(self) -> str:
        return self.full_name.split("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.split("/")[1]

    @property
    def default_branch(self) -> str:
        """The branch that is checked out, or main."""
        return self._look()[0]

    @property
    def refs(self) -> dict[str, str]:
        """The commits, by full ref name."""
        return self._look()[1]

    def file(self, path: str, full_ref: str) -> bytes | None:
        """Return a file's bytes at a ref, None if it isn't there.

        On the branch that is checked out it is the file as it is now, committed or not, which is what a run sees.
        """
        if full_ref != f"refs/heads/{self.default_branch}":
            return self._git_bytes("cat-file", "blob", f"{full_ref}:{path}")
        found = (self.tree / path).resolve()
        # Nothing outside the tree, whatever the path or a symbolic link says.
        inside = found.is_relative_to(self.tree.resolve()) and not SKIPPED & {*Path(path).parts}
        if not inside or not found.is_file() or self._git("check-ignore", "--", path):
            return None
        return found.read_bytes()

    def resolve(self, ref: str) -> tuple[str, str] | None:
        """Return (full ref, commit) of a branch or tag, by its short or full name; None for anything else."""
        for full in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}"):
            if full in self.refs:
                return full, self.refs[full]
        return None

    def workflows(self) -> list[workflow.Workflow]:
        """Return the workflow files as they are in the tree now, committed or not."""
        return workflow.load_all(self.full_name, self.tree)

    def workflow(self, key: str) -> workflow.Workflow | None:
        return next((w for w in self.workflows() if key in (str(w.id), w.file, w.path)), None)

    def copy_tree(self, target: Path) -> None:
        """Copy what a checkout would see, with uncommitted changes and without ignored files."""
        listed = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        # Not a git repository: take all but what no checkout would have.
        if not listed:
            shutil.copytree(
                self.tree, target, dirs_exist_ok=True, symlinks=True, ignore=lambda _, names: SKIPPED & {*names}
            )
        for name in filter(None, listed.split("\0")):
            source, copy = self.tree / name, target / name
            if source.is_file() or source.is_symlink():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy, follow_symlinks=False)

    def _look(self) -> tuple[str, dict[str, str]]:
        """Return the branch and the refs; git is asked every two seconds at most."""
        if time.monotonic() - self._looked > 2:
            branch = self._git("symbolic-ref", "--short", "HEAD") or "main"
            listed = self._git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
            refs = dict(line.split(" ", 1) for line in listed.splitlines())
            # A tree without a commit, or without git, still has a branch to run.
            nothing = hashlib.sha1(self.full_name.encode(), usedforsecurity=False).hexdigest()
            refs.setdefault(f"refs/heads/{branch}", nothing)
            self._known, self._looked = (branch, refs), time.monotonic()
        return self._known

    def _git(self, *arguments: str) -> str:
        """Return git's answer as text, empty when the tree is no git repository."""
        return (self._git_bytes(*arguments) or b"").decode().strip()

    def _git_bytes(self, *arguments: str) -> bytes | None:
        """Return git's answer, None if it has none."""
        command = ["git", "-C", str(self.tree), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None
