"""Roots and networks of their own for programs, with what Linux has for it: it takes root, and no engine.

A *root* is a stack of folders that overlayfs shows as one: below, this machine's own system or a bare Debian; on top,
what an image's or a machine's own steps have written.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

CLONE_NEWNET = 0x40000000
PROGRAMS = ("unshare", "nsenter", "setpriv", "chroot", "mount", "ip")
BARE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def needs(*programs: str) -> None:
    """Skip where this can't run, but never where everything must."""
    wanting = [program for program in (*PROGRAMS, *programs) if not shutil.which(program)]
    if os.geteuid() != 0:
        pytest.skip("Roots and networks of their own are root's to make.")
    if wanting:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"missing: {', '.join(wanting)}; see .ci/run")


@dataclass(frozen=True)
class Mount:
    """What a process finds at `target`: a folder or file of elsewhere, or if there is no source an empty tmpfs."""

    target: str
    source: Path | None = None
    read_only: bool = False
    options: str = ""

    def script(self, root: str) -> str:
        target = shlex.quote(root + self.target)
        if self.source is None:
            return f"mkdir -p {target}; mount -t tmpfs -o {shlex.quote(self.options or 'mode=0755')} tmpfs {target}"
        # As an engine does: the place is made if it is not there.
        made = (
            f"mkdir -p {target}"
            if self.source.is_dir()
            else f"mkdir -p $(dirname {target}); [ -e {target} ] || : > {target}"
        )
        lines = [f"{made}; mount --bind {shlex.quote(str(self.source))} {target}"]
        if self.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
        return "; ".join(lines)


@dataclass
class Sandbox:
    """A network with loopback, a place for layers, and the processes that run there."""

    folder: Path
    holders: list[subprocess.Popen[bytes]] = field(default_factory=list)
    count: int = 0
    bridged: bool = False

    def __post_init__(self) -> None:
        # Layers lie in memory: overlayfs takes no folder of a file system below which it is itself.
        self.layers = self.folder / "layers"
        self.layers.mkdir()
        layers = shlex.quote(str(self.layers))
        self.first = self._hold(f"mount -t tmpfs tmpfs {layers}; mkdir {layers}/root", "--mount")

    def _hold(self, script: str, *more: str) -> int:
        """Start what keeps namespaces alive; return its id once they are set up."""
        command = f"set -e; ip link set lo up; {script}; echo ready; exec sleep infinity"
        process = subprocess.Popen(["unshare", "--net", *more, "sh", "-c", command], stdout=subprocess.PIPE)
        self.holders.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    def seen(self, path: Path) -> Path:
        """Return where we see a path of the sandbox's own mounts."""
        return Path(f"/proc/{self.first}/root{path}")

    def layer(self, name: str) -> Path:
        """Make an empty layer, readable by all as a system's folders are."""
        self.seen(self.layers / name).mkdir(mode=0o755)
        return self.layers / name

    def scratch(self) -> Path:
        self.count += 1
        return self.layer(f"scratch-{self.count}")

    def machine_at(self, address: str, bridge: str) -> int:
        """Make a network of its own, with this address, tied to ours, which has the address `bridge`."""
        ours = ["nsenter", f"--net=/proc/{self.first}/ns/net"]
        if not self.bridged:
            self.bridged = True
            script = f"ip link add br0 type bridge; ip addr add {bridge}/24 dev br0; ip link set br0 up"
            subprocess.run([*ours, "sh", "-ec", script], check=True)
        self.count += 1
        name, holder = f"v{self.count}", self._hold(":")
        script = f"ip link add {name} type veth peer name eth0 netns {holder}; ip link set {name} master br0 up"
        subprocess.run([*ours, "sh", "-ec", script], check=True)
        script = f"ip addr add {address}/24 dev eth0; ip link set eth0 up"
        subprocess.run(["nsenter", f"--net=/proc/{holder}/ns/net", "sh", "-ec", script], check=True)
        return holder

    def start(
        self,
        command: Sequence[str],
        *,
        layers: Sequence[Path],
        environment: Mapping[str, str],
        user: str = "root",
        cwd: str = "/",
        mounts: Sequence[Mount] = (),
        read_only: bool = False,
        network: int | None = 0,
        output: IO[bytes] | int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program. `layers`: the highest first; it writes to that, unless `read_only`.

        `network`: whose (machine_at), 0 for ours, None for this machine's.
        """
        root = str(self.layers / "root")
        # What is read-only is so once all is mounted: until then places for that are made in a layer of its own.
        top, below = (self.scratch(), layers) if read_only else (layers[0], layers[1:])
        work = self.layers / f"work-{top.name}"
        self.seen(work).mkdir(exist_ok=True)
        how = f"lowerdir={':'.join(map(str, below))},upperdir={top},workdir={work}"
        lines = [f"mount -t overlay overlay -o {shlex.quote(how)} {root}"]
        lines += [f"mount --rbind /dev {root}/dev; mount --bind /proc {root}/proc"]
        # A folder comes before what is mounted within it.
        lines += [mount.script(root) for mount in sorted(mounts, key=lambda mount: mount.target)]
        lines += [f"mount -o remount,bind,ro {root}"] if read_only else []
        group, _, _ = user.partition(":")
        # As an engine starts a container and systemd a service: no rights to be had by any program.
        rights = ["setpriv", f"--reuid={group}", f"--regid={user.partition(':')[2] or group}", "--clear-groups"]
        rights += [] if user in ("root", "0:0") else ["--bounding-set=-all", "--no-new-privs"]
        variables = [f"{name}={value}" for name, value in environment.items()]
        run = ["chroot", root, *rights, "env", "-i", "-C", cwd, *variables, *command]
        script = "set -e; umask 022; " + "; ".join(lines) + f"; exec {shlex.join(run)}"
        enter = ["nsenter", f"--mount=/proc/{self.first}/ns/mnt"]
        if network is not None:
            enter.append(f"--net=/proc/{network or self.first}/ns/net")
        # What enters and mounts becomes the program in the end: its id is the program's.
        return subprocess.Popen(
            [*enter, "unshare", "--mount", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
        )

    def run(self, command: Sequence[str], *, good: bool = True, seconds: float = 300, **options: object) -> str:
        """Run a program to its end; return what it printed."""
        process = self.start(command, output=subprocess.PIPE, **options)  # type: ignore[arg-type]
        text = process.communicate(timeout=seconds)[0].decode(errors="replace")
        assert not good or process.returncode == 0, f"{shlex.join(command)} ended with {process.returncode}:\n{text}"
        return text

    @contextlib.contextmanager
    def inside(self, network: int = 0) -> Iterator[None]:
        """Have this thread, and all that it starts meanwhile, use the sandbox's network, or one of machine_at()."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(path: str) -> None:
            with open(path) as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns", path)

        with open("/proc/thread-self/ns/net") as before:
            enter(f"/proc/{network or self.first}/ns/net")
            try:
                yield
            finally:
                libc.setns(before.fileno(), CLONE_NEWNET)

    def close(self) -> None:
        for holder in reversed(self.holders):
            holder.kill()
            holder.wait()
            if holder.stdout is not None:
                holder.stdout.close()


@contextlib.contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Yield a sandbox; its layers, mounts and networks are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="spell-deploy-") as name:
        Path(name).chmod(0o755)
        mask = os.umask(0o022)  # folders of a system may be read by all; our settings would have them closed
        here = Sandbox(Path(name))
        try:
            yield here
        finally:
            here.close()
            os.umask(mask)
