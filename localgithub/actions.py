"""Where actions come from: stand-ins of this package for the usual ones, github.com for the others."""

import io
import logging
import os
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

from .repositories import Repository
from .workflow import WorkflowError, read

logger = logging.getLogger(__name__)
FETCH_SECONDS = 60
HERE = Path(__file__).parent / "stand_ins"
STAND_INS = {
    "actions/cache": "cache",
    "actions/checkout": "checkout",
    "actions/download-artifact": "download_artifact",
    "actions/github-script": "github_script",
    "actions/setup-node": "setup_node",
    "actions/setup-python": "setup_python",
    "actions/upload-artifact": "upload_artifact",
}
_SHA = re.compile(r"[0-9a-f]{40}$")
# All that git gets of our environment, which holds the platform's secrets.
_PASSED = (
    *("PATH", "HOME", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)


class Unavailable(Exception):
    """An action that can't be found or fetched; str() says why."""


class Actions:
    """Finds actions by name and version; what was fetched is kept."""

    def __init__(self, work: Path, kept: Path, source: str, served: dict[str, Repository] | None = None) -> None:
        self.stand_ins, self.kept, self.source = work / "stand_ins", kept, source.rstrip("/")
        self._served, self._exported = served or {}, work / "served"
        self.node: str | None = None
        self._fresh: set[str] = set()
        self._lock = threading.Lock()

    def start(self, environment: dict[str, str]) -> None:
        """Copy the stand-ins into the workplace, and look for a Node that runs."""
        self.node = _find_node(environment, self.stand_ins.parent)
        shutil.copytree(HERE, self.stand_ins, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))

    def locate(self, name: str, ref: str, place: Path) -> Path:
        """Return the folder of a repository of actions at a version. Raise Unavailable, with the reason.

        What must not change while a run uses it is copied to `place`, which lasts as long as the run.
        """
        if stand_in := STAND_INS.get(name.lower()):
            return self.stand_ins / stand_in
        # One at a time: two runs may need the same action, whose draft has one name.
        with self._lock:
            if repository := self._served.get(name.lower()):
                return self._export(repository, ref, place)
            return self._fetch(name, ref)

    def read(self, folder: Path) -> dict[str, Any] | None:
        """Return the `runs` of an action's file, None if there is no action."""
        for file in ("action.yml", "action.yaml"):
            if (folder / file).is_file():
                try:
                    data = read((folder / file).read_text(encoding="utf-8-sig", errors="replace"))[1]
                except WorkflowError:
                    return {}  # act says what is wrong with it
                return (data.get("runs") if isinstance(data, dict) else None) or {}
        return {"using": "docker"} if (folder / "Dockerfile").is_file() else None

    def _export(self, repository: Repository, ref: str, place: Path) -> Path:
        """Return a folder with a served repository's files at a ref; on the checked-out branch as they are now."""
        repository.look_again()
        sha = repository.commit(ref)
        if sha is None:
            raise Unavailable(f"{repository.full_name}, which is served here, has no such version.")
        if (repository.resolve(ref) or ("",))[0] == f"refs/heads/{repository.default_branch}":
            folder = place / repository.full_name.lower().replace("/", "+")
            if not folder.is_dir():
                repository.copy_tree(folder)
            return folder
        folder = self._exported / f"{repository.full_name.lower().replace('/', '+')}@{sha}"
        if not folder.is_dir():
            packed = repository.git.run("archive", "--format=tar", sha)
            if packed is None:
                raise Unavailable(f"{repository.full_name}, which is served here, has no such version.")
            draft = folder.with_name(folder.name + ".draft")
            shutil.rmtree(draft, ignore_errors=True)
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                # Before 3.11.4, which Debian 12 has not, all that an archive holds is taken: git has made this one.
                archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                archive.extractall(draft)  # noqa: S202 - of our own tree
            draft.rename(folder)
        return folder

    def _fetch(self, name: str, ref: str) -> Path:
        key = f"{name}@{ref}".lower()
        folder = self.kept / re.sub(r"[^\w.@-]", "+", key)
        known = folder.is_dir()
        # A commit never changes. A branch or tag may, so it is fetched again once per start.
        if known and (key in self._fresh or _SHA.match(ref)):
            return folder
        # Fetched into a draft and renamed when complete, so that a broken fetch is never taken for an action.
        draft = folder.with_name(folder.name + ".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            self._git(draft, "init", "-q")
            self._git(draft, "fetch", "-q", "--depth", "1", f"{self.source}/{name}", ref)
            self._git(draft, "checkout", "-q", "FETCH_HEAD")
        except Unavailable as error:
            shutil.rmtree(draft, ignore_errors=True)
            if known:
                logger.warning("%s is taken as it was fetched before: %s", key, error)
                return folder
            raise
        shutil.rmtree(draft / ".git", ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        self._fresh.add(key)
        return folder

    def _git(self, folder: Path, *arguments: str) -> None:
        command = ["git", "-c", "credential.helper=", "-C", str(folder), *arguments]
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # No prompt: asked for a private or misspelt repository, git would wait for a password.
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "LANG": "C"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
            )
        except FileNotFoundError:
            raise Unavailable("git, which would fetch it, is not installed on this machine.") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.source} did not answer within {FETCH_SECONDS} s.") from None
        if done.returncode:
            raise Unavailable(self._reason(done.stderr))

    def _reason(self, said: str) -> str:
        low = said.lower()
        usual = ", ".join(sorted(STAND_INS))
        if "couldn't find remote ref" in low or "not our ref" in low:
            return f"it has no such version on {self.source}."
        if "not found" in low or "could not read username" in low or "does not appear to be a git" in low:
            return f"it is not found on {self.source}."
        first = (said.strip().splitlines() or ["git failed"])[-1].removeprefix("fatal: ")
        return f"{self.source} can't be reached ({first}). Without internet these run: {usual}."


def _find_node(environment: dict[str, str], folder: Path) -> str | None:
    # Only running it tells: a shim of nodenv or asdf may be on the PATH with no Node behind it.
    for place in environment["PATH"].split(os.pathsep):
        program = shutil.which("node", path=place) if place else None
        if program is None:
            continue
        try:
            done = subprocess.run(
                [program, "--version"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return None
