"""A bare Debian that boots, with a real systemd: what debootstrap makes, in namespaces of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.sandbox import BARE
from tests.e2e.platform import until

SUITE = "trixie"
# What a server that was installed has, beside the least that debootstrap makes.
SERVER = "systemd,systemd-sysv,dbus,iproute2"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
BOOT = """
ip link set lo up
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for device in {devices}; do : > "$1/dev/$device"; mount --bind /dev/$device "$1/dev/$device"; done
mkdir "$1/dev/pts" "$1/dev/shm"
mount -t devpts devpts "$1/dev/pts" -o newinstance,ptmxmode=0666,mode=620
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mkdir -p "$1/mnt/old"
cd "$1"
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=other PATH=/usr/sbin:/usr/bin /sbin/init --unit=multi-user.target
"""
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")


def bare_debian(folder: Path, include: str = "") -> None:
    """Make a root as debootstrap does, with access to what this machine has it from."""
    command = ["debootstrap", "--variant=minbase", *([f"--include={include}"] if include else []), SUITE]
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:]


def online() -> dict[str, str]:
    """Return what programs need here to reach the package registries: who vouches for them, if that is said."""
    return {"PIP_CERT": "/etc/registries.pem"} if os.environ.get("PIP_CERT") else {}


def bring_what_reaches_registries(root: Path) -> None:
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    if authority := os.environ.get("PIP_CERT"):
        shutil.copyfile(authority, root / "etc" / "registries.pem")


class Server:
    """A machine that has booted."""

    def __init__(self, root: Path, init: int) -> None:
        self.root, self.init = root, init

    def run(self, script: str, *, network: bool = False, good: bool = True) -> str:
        """Run a script as root; return what it printed. `network`: with this machine's, to fetch packages."""
        enter = ["nsenter", f"--target={self.init}", *NAMESPACES, *([] if network else ["--net"]), "--root", "--wd=/"]
        environment = BARE | online() | {"DEBIAN_FRONTEND": "noninteractive"}
        variables = [f"{name}={value}" for name, value in environment.items()]
        command = [*enter, "env", "-i", "-C", "/", *variables, "bash", "-eu", "-c", script]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=580)
        assert not good or done.returncode == 0, f"{script}\nended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout


@contextlib.contextmanager
def booted(root: Path) -> Iterator[Server]:
    """Boot a root; end all that runs there afterwards."""
    flags = ["--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--fork"]
    script = BOOT.replace("{devices}", " ".join(DEVICES))
    starting = subprocess.Popen(
        ["unshare", *flags, "sh", "-ec", script, "boot", str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children")
    init = int(until(lambda: children.read_text().split()[:1] or None)[0])
    try:
        server = Server(root, init)
        until(lambda: Path(f"/proc/{init}/comm").read_text().strip() == "systemd")
        until(
            lambda: server.run("systemctl is-system-running", good=False).strip() in ("running", "degraded"), every=0.5
        )
        yield server
    finally:
        os.kill(init, signal.SIGKILL)  # the first process of its namespace: all others end with it
        starting.wait()
