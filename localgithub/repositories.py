import hashlib
import os
import re
import shutil
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from . import contents, workflow
from .clock import now
from .git import Commit, Git, Person

_ID = re.compile(r"[0-9a-f]{4,40}$")


@dataclass
class Repository:
    """One working tree that is served as a GitHub repository."""

    full_name: str
    tree: Path
    disabled: set[str] = field(default_factory=set)  # paths of workflows that somebody switched off
    environments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.git = Git(self.tree)
        self.created_at = self.pushed_at = now()
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

    def find(self, path: str, ref: str) -> contents.Entry | contents.Folder | None:
        """Return the file or folder at a ref, which is a branch, a tag or a commit.

        On the branch that is checked out it is as it is now, committed or not, which is what a run sees.
        """
        resolved, commit = self.resolve(ref), self.commit(ref)
        checked_out = resolved is not None and resolved[0] == f"refs/heads/{self.default_branch}"
        return contents.find(self, path, None if checked_out or commit == self._no_commit else commit)

    def commit(self, ref: str) -> str | None:
        """Return the commit of a branch or tag, or that which has this id or the only one that begins so."""
        if resolved := self.resolve(ref):
            return resolved[1]
        if ref == "HEAD":
            return self.refs[f"refs/heads/{self.default_branch}"]
        if ref == self._no_commit:
            return ref
        return (self.git.text("rev-parse", "--verify", "-q", f"{ref}^{{commit}}") if _ID.match(ref) else "") or None

    def read_commit(self, sha: str) -> Commit:
        """Return a commit, one made up for a tree that has none."""
        nobody = Person(self.owner, f"{self.owner}@localhost", self.created_at)
        return self.git.commit(sha) or Commit(sha, sha, [], nobody, nobody, "Working tree")

    def look_again(self) -> None:
        """Ask git anew at the next question, for whoever must not be told what was true two seconds ago."""
        self._looked = -10.0

    def resolve(self, ref: str) -> tuple[str, str] | None:
        """Return (full ref, commit) of a branch or tag, by its short or full name; None for anything else."""
        for full in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"):
            if full in self.refs:
                return full, self.refs[full]
        return None

    def workflows(self) -> list[workflow.Workflow]:
        """Return the workflow files as they are in the tree now, committed or not."""
        return workflow.load_all(self.full_name, self.tree)

    def workflow(self, key: str) -> workflow.Workflow | None:
        return next((w for w in self.workflows() if key in (str(w.id), w.file, w.path)), None)

    def copy_tree(self, target: Path, folders: list[str] | None = None) -> None:
        """Copy what a checkout would see, with uncommitted changes and without ignored files.

        Of `folders` it would see all that is below them, and the files that are beside them on the way there.
        """

        def seen(folder: str) -> bool:
            return folders is None or any(
                not folder or f"{one}/".startswith(f"{folder}/") or folder.startswith(f"{one}/") for one in folders
            )

        def left_out(at: str, names: list[str]) -> set[str]:
            unseen = {name for name in names if not seen(os.path.relpath(f"{at}/{name}", self.tree))}
            return contents.SKIPPED & {*names} | {name for name in unseen if Path(at, name).is_dir()}

        listed = os.fsdecode(self.git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard") or b"")
        # Not a git repository: take all but what no checkout would have.
        if not listed:
            shutil.copytree(self.tree, target, dirs_exist_ok=True, symlinks=True, ignore=left_out)
        for name in filter(None, listed.split("\0")):
            source, copy = self.tree / name, target / name
            if seen(os.path.dirname(name)) and (source.is_file() or source.is_symlink()):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy, follow_symlinks=False)

    @property
    def _no_commit(self) -> str:
        """What stands for the commit of a tree without one, or without git."""
        return hashlib.sha1(self.full_name.encode(), usedforsecurity=False).hexdigest()

    def _look(self) -> tuple[str, dict[str, str]]:
        """Return the branch and the refs; git is asked every two seconds at most."""
        if time.monotonic() - self._looked > 2:
            branch = self.git.text("symbolic-ref", "--short", "HEAD") or "main"
            # Of a tag that has a message, the second id is the commit's.
            listed = self.git.text(
                "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags"
            )
            refs = {name: ids[-1] for name, *ids in (line.split() for line in listed.splitlines())}
            refs.setdefault(f"refs/heads/{branch}", self._no_commit)
            if self._known[1] and refs != self._known[1]:
                self.pushed_at = now()
            self._known, self._looked = (branch, refs), time.monotonic()
        return self._known
