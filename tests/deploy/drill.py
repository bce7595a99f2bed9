"""`python -m tests.deploy.drill`: deploy/Dockerfile and the guide's systemd way, each on a bare Debian.

It takes minutes, and needs root, debootstrap, and Debian's and Python's packages within reach.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy.image import ROOT, Build, context
from tests.deploy.sandbox import Mount, sandbox
from tests.deploy.systemd import Server, bare_debian, booted, bring_what_reaches_registries, online

GUIDE = ROOT / "docs" / "how-to" / "production.md"
FETCHES = re.compile(r"apt-get|pip install")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def blocks(heading: str) -> Iterator[str]:
    """Yield the commands below a heading of the guide, as they are; those that ask somebody are set as `bash`."""
    text = GUIDE.read_text()
    section = re.split(r"^#{2,3} ", text[text.index(f"\n{heading}\n") + len(heading) + 2 :], maxsplit=1, flags=re.M)[0]
    yield from re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def put_release(server: Server, number: int) -> None:
    """Do what the guide leaves to the reader: unpack a release."""
    top = server.root / "opt" / "spell-platform" / str(number)
    for path in context():
        to = top / path
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        shutil.copyfile(ROOT / path, to)
    for folder in ("systemd", "nginx", "caddy"):
        shutil.copytree(ROOT / "deploy" / folder, top / "deploy" / folder)


def follow(server: Server, heading: str, **replaced: str) -> str:
    """Run the commands below a heading, in order; return what the last one printed."""
    said = ""
    for block in blocks(heading):
        for old, new in replaced.items():
            block = block.replace(old, new)
        # A reader's shell stays where it was; each block has one of its own here.
        there = "cd /opt/spell-platform/current 2>/dev/null || true\n"
        said = server.run(there + block, network=bool(FETCHES.search(block)))
    say(f"done: {heading.lstrip('# ')}")
    return said


@contextlib.contextmanager
def asked_all_the_while(server: Server) -> Iterator[None]:
    """Make a new connection to web again and again meanwhile, and one at least; nobody may be refused."""
    program = "import urllib.request as r\nn = 0\nwhile not __import__('os').path.exists('/tmp/enough') or not n:\n"
    program += "    assert r.urlopen('http://127.0.0.1:8000/livez', timeout=20).status == 200\n    n += 1\nprint(n)"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(server.run, f'python3 -c "{program}"')
        try:
            yield
        finally:
            server.run("touch /tmp/enough")
        say(f"asked {asking.result().strip()} times meanwhile, and never refused")


def systemd_way(folder: Path) -> None:
    root = folder / "server"
    bare_debian(root, "systemd,systemd-sysv,dbus,iproute2")
    bring_what_reaches_registries(root)
    say("a bare Debian")
    with booted(root) as server:
        follow(server, "### 1. Packages and a user")
        server.run("systemctl start postgresql")  # installed while the machine's own network was in use
        follow(server, "### 2. The database")
        put_release(server, 1)
        follow(server, "### 3. Install and start")
        follow(server, "### 4. The proxy")
        follow(server, "### 5. See that it is well")
        key = follow(server, "### 6. GitHub, an operator, a key").split()[-1]
        ask = "import ssl, sys, urllib.request as r; q = r.Request('https://127.0.0.1/api/v1/budget', headers={"
        ask += (
            f"'Host': 'spells.example.com', 'Authorization': 'Bearer {key}'}}); c = ssl._create_unverified_context(); "
        )
        ask += "print(r.urlopen(q, context=c).status)"
        assert server.run(f'python3 -c "{ask}"').strip() == "200"
        say("answers through nginx, with TLS, to a key of its own")
        states = server.run(
            "systemctl is-active spell-platform-web@1 spell-platform-web@2 spell-platform-worker@1 nginx"
        )
        assert states.split() == ["active"] * 4, states
        put_release(server, 2)
        [install, *_] = [block for block in blocks("### 3. Install and start") if "pip install" in block]
        server.run(install.replace("/spell-platform/1", "/spell-platform/2"), network=True)
        with asked_all_the_while(server):
            follow(server, "### 7. Upgrade")
        where = server.run("readlink -f /proc/$(systemctl show -P MainPID spell-platform-web@1)/cwd").strip()
        assert where == "/opt/spell-platform/2", where
        assert server.run(f'python3 -c "{ask}"').strip() == "200"
        stopped = server.run("systemctl stop spell-platform-worker@1; systemctl show -P Result spell-platform-worker@1")
        assert stopped.strip() == "success", stopped
        assert "SystemCallFilter" not in server.run("journalctl -p err --no-pager || true")


def image(folder: Path) -> None:
    root = folder / "base"
    bare_debian(root)
    bring_what_reaches_registries(root)
    with sandbox() as where:
        began = time.monotonic()
        built = Build(where, [root], mounts=[Mount("/proc", Path("/proc"))], online=online()).image()
        say(f"the image's steps are done after {time.monotonic() - began:.0f} s")
        layer = where.seen(built.layers[0])
        size = sum(file.lstat().st_size for file in layer.rglob("*") if file.is_file() and not file.is_symlink())
        options: dict[str, Any] = {"layers": built.layers, "environment": built.environment}
        options |= {"user": built.user, "cwd": built.cwd}
        said = where.run(["gunicorn", "--version"], read_only=True, **options)
        say(f"{said.strip()}; {size / 1e6:.0f} MB above the base")
        for absent in ("cc", "gcc", "pip", "pip3", "apt-key"):
            found = where.run(["sh", "-c", f"command -v {absent} || true"], read_only=True, **options)
            assert not found.strip(), found


PARTS = {"image": image, "systemd": systemd_way}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.drill", description=__doc__)
    parser.add_argument("part", nargs="?", choices=list(PARTS), help="only this one; both if left out")
    part = parser.parse_args().part
    assert shutil.which("debootstrap"), "debootstrap is missing"
    with tempfile.TemporaryDirectory(prefix="spell-drill-") as name:
        Path(name).chmod(0o755)
        for one, tried in PARTS.items():
            if part in (one, None):
                tried(Path(name))
    say("all is well")


if __name__ == "__main__":
    main()
