"""What deploy/Dockerfile says, done without an engine: the same lines, on a root of our own.

It refuses what it doesn't know.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.sandbox import BARE, Mount, Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass
class Stage:
    """One stage's outcome: its folders, the highest first, and how its programs are started."""

    layers: list[Path]
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    cwd: str = "/"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    mounts: Sequence[Mount] = ()  # besides the layers


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield a Dockerfile's instructions, each with all that follows its word."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


@functools.cache
def rules() -> list[str]:
    """Return the lines of .dockerignore: leave all out, but let these through, and of these not those."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return lines[1:]


def in_context(path: Path) -> bool:
    """Whether .dockerignore lets a file of the project through; the last line that fits decides."""
    allowed = False
    ways = {Path(*path.parts[: n + 1]).as_posix() for n in range(len(path.parts))}
    for line in rules():
        pattern = line.removeprefix("!")
        anywhere = pattern.startswith("**/")
        if any(fnmatch(part, pattern[3:]) for part in path.parts) if anywhere else pattern in ways:
            allowed = line.startswith("!")
    return allowed


def context() -> list[Path]:
    """Return the files of the build's context, from the project's root."""
    # Only these are looked through: among the others are caches of many thousand files.
    tops = [ROOT / line[1:].partition("/")[0] for line in rules() if line.startswith("!")]
    assert ROOT / "**" not in tops
    files = {file for top in tops for file in (top.rglob("*") if top.is_dir() else [top]) if file.is_file()}
    return sorted(path for file in files if in_context(path := file.relative_to(ROOT)))


@dataclass
class Build:
    """A build under way. `skipped`: RUN lines that fit are left out, because the root has what they would fetch."""

    where: Sandbox
    base: list[Path]
    arguments: dict[str, str] = field(default_factory=dict)
    skipped: str = ""
    mounts: Sequence[Mount] = ()
    online: Mapping[str, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)

    def image(self) -> Stage:
        """Carry out the whole file; return its last stage."""
        given: dict[str, str] = {}
        stage: Stage | None = None
        for word, rest in instructions(DOCKERFILE.read_text()):
            if word == "FROM":
                source, _, name = rest.partition(" AS ")
                assert re.fullmatch(r"[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?", filled(source, given)), source
                name = name or f"stage-{len(self.stages)}"
                stage = self.stages[name] = Stage([self.where.layer(f"image-{name}"), *self.base], mounts=self.mounts)
            elif word == "ARG":
                key, _, default = rest.partition("=")
                (given if stage is None else stage.arguments)[key] = self.arguments.get(key, default)
            else:
                assert stage is not None, f"{word} before FROM"
                step = getattr(self, f"do_{word.lower()}", None)
                assert step is not None, f"The runner doesn't know {word}."
                step(stage, rest)
        assert stage is not None
        return stage

    def do_run(self, stage: Stage, rest: str) -> None:
        if self.skipped and re.search(self.skipped, rest):
            return
        self.where.run(
            ["sh", "-c", rest],
            layers=stage.layers,
            environment={
                **BARE,
                **self.online,
                **stage.environment,
                **stage.arguments,
            },
            user=stage.user,
            cwd=stage.cwd,
            mounts=stage.mounts,
            network=None,
            seconds=580,
        )

    def do_copy(self, stage: Stage, rest: str) -> None:
        source, target = rest.split()[-2:]
        origin = re.match(r"--from=(\w+) ", rest)
        assert origin or not rest.startswith("--"), rest
        top = self.where.seen(stage.layers[0])
        into = top / (Path(stage.cwd) / target).relative_to("/")
        if origin:
            whole = self.where.seen(self.stages[origin[1]].layers[0]) / source.lstrip("/")
            shutil.copytree(whole, into, symlinks=True, dirs_exist_ok=True)
            return
        under = "" if source == "." else f"{source}/"
        for path in context():
            if path.as_posix().startswith(under):
                to = into / path.as_posix().removeprefix(under)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, to)
                to.chmod(0o755 if (ROOT / path).stat().st_mode & 0o100 else 0o644)

    def do_workdir(self, stage: Stage, rest: str) -> None:
        stage.cwd = rest
        (self.where.seen(stage.layers[0]) / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def do_env(self, stage: Stage, rest: str) -> None:
        stage.environment |= dict(part.split("=", 1) for part in shlex.split(rest))

    def do_user(self, stage: Stage, rest: str) -> None:
        stage.user = rest

    def do_healthcheck(self, stage: Stage, rest: str) -> None:
        stage.health = json.loads(rest.partition(" CMD ")[2])

    def do_cmd(self, stage: Stage, rest: str) -> None:
        stage.command = json.loads(rest)

    def do_label(self, stage: Stage, rest: str) -> None:
        assert all("=" in part for part in shlex.split(rest))

    def do_expose(self, stage: Stage, rest: str) -> None:
        assert rest.isdigit()
