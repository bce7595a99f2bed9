"""The demo's own world: a folder, keys, secrets and free ports, put into the environment before settings are read."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parent.parent.parent
REPOSITORY = "demo/spells"
_locks: list[IO[str]] = []  # held until the process ends


def prepare(*, billing: bool = False) -> None:
    """Set every setting of the demo; none of the caller's own configuration is used.

    With `billing` it has a folder of its own and begins anew: the local Stripe remembers nothing, so what an earlier
    demo booked would be of customers that nobody knows.
    """
    folder = own_folder("demo-billing" if billing else "demo")
    if billing:
        empty(folder)
    kept = read(folder / "secrets.json")
    if not kept:
        kept = {name: secrets.token_urlsafe(50) for name in ("SECRET_KEY", "GITHUB_WEBHOOK_SECRET")}
        keep(folder / "secrets.json", kept)
    key = folder / "app.pem"
    if not key.exists():
        make_key(key)
    web, github, blobs, stripe = free_ports(8000, 8081, 8082, 8083)
    settings = dict(kept)
    settings.update(
        DEBUG="0",
        LOG_FORMAT="console",
        VAR_DIR=str(folder),
        ARTIFACT_ROOT=str(folder / "artifacts"),
        DATABASE_URL=f"sqlite:///{quote(str(folder / 'spell.sqlite3'))}",  # a # or + in a folder's name means itself
        PUBLIC_URL=f"http://127.0.0.1:{web}",
        ALLOWED_HOSTS="127.0.0.1,localhost",
        CSRF_TRUSTED_ORIGINS=f"http://127.0.0.1:{web},http://localhost:{web}",
        BIND=f"127.0.0.1:{web}",
        GITHUB_API_URL=f"http://127.0.0.1:{github}",
        GITHUB_API_VERSION="2026-03-10",
        GITHUB_APP_ID="1",
        GITHUB_APP_PRIVATE_KEY=str(key),
        GITHUB_APP_INSTALLATION_ID="1",
        GITHUB_REPOSITORY=REPOSITORY,
        GITHUB_WORKFLOW_FILE="spell-execution-example.yml",
        GITHUB_WORKFLOW_REF=default_branch(),
        CAST_LOOK_MIN_SECONDS="0.5",
        CALLBACK_ALLOWED_HOSTS="127.0.0.1,localhost",
        DEMO_GITHUB_PORT=str(github),
        DEMO_BLOB_PORT=str(blobs),
        **(money(stripe) if billing else {"STRIPE_SECRET_KEY": ""}),
    )
    keep(folder / "settings.json", settings)
    use(settings)


def money(port: int) -> dict[str, str]:
    """Return the settings with which accounts pay, at the local Stripe."""
    return {
        "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}",
        # Until stripesetup has made the endpoints, and knows what Stripe signs with.
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}",
        "STRIPE_API_URL": f"http://127.0.0.1:{port}",
        "STRIPE_SWEEP_SECONDS": "15",
        "BILLING_CURRENCY": "usd",
        "DEMO_STRIPE_PORT": str(port),
    }


def change(**changes: str) -> None:
    """Change settings of the demo that is being started, also for commands that reuse them later."""
    file = Path(os.environ["VAR_DIR"]) / "settings.json"
    keep(file, read(file) | changes)
    os.environ.update(changes)


def reuse() -> None:
    """Set every setting of the demo that was last started in VAR_DIR (default: var/demo), for another command."""
    folder = Path(os.environ.get("VAR_DIR") or ROOT / "var" / "demo")
    settings = read(folder / "settings.json")
    if not settings:
        raise SystemExit(f"There is no demo in {folder} yet. Start one with: make demo")
    use(settings)
    web = urlsplit(settings["PUBLIC_URL"])
    with socket.socket() as probe:
        if probe.connect_ex((web.hostname, web.port)):
            print("This demo is not running; start it in another terminal with: make demo", file=sys.stderr)


def use(settings: dict[str, str]) -> None:
    # The caller's own token must not be used.
    os.environ.pop("GITHUB_TOKEN", None)
    os.environ.update(settings)


def keep(file: Path, what: dict[str, str]) -> None:
    """Write a file that only its owner may read, completely or not at all."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        json.dump(what, opened)
    new.replace(file)


def read(file: Path) -> dict[str, Any]:
    """Return what `keep` wrote; empty if there is none."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def empty(folder: Path) -> None:
    """Remove what an earlier demo left, except the lock that we hold."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != "lock":
            left.unlink()


def own_folder(name: str) -> Path:
    """Return a folder that no other running demo uses: var/NAME, or the next one that is free."""
    for number in range(1, 100):
        folder = ROOT / "var" / (name if number == 1 else f"{name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # it holds a key, a password and a database that keeps secrets in clear
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return folder
    raise SystemExit("A hundred demos are running already. End some of them.")


def make_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    # Before there is a key in it, so that only its owner can ever read it.
    path.touch(mode=0o600)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.write_bytes(private)


def free_ports(*usual: int) -> list[int]:
    """Return each usual port if it is free, else one that the system chooses."""
    found: list[int] = []
    for port in usual:
        for candidate in (port, 0):
            with socket.socket() as probe:
                try:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
                found.append(probe.getsockname()[1])
                break
    return found


def repositories(own: Iterable[Path]) -> dict[str, Path]:
    """Return what the local GitHub serves, by name: this checkout, and the caller's folders as demo/NAME.

    Raise ValueError for a folder that can't be served.
    """
    found = {REPOSITORY: ROOT}
    for given in own:
        folder = given.expanduser().resolve()
        name = f"{REPOSITORY.split('/')[0]}/{re.sub(r'[^A-Za-z0-9._-]+', '-', folder.name).strip('-.') or 'mine'}"
        if not folder.is_dir():
            raise ValueError(f"--repository {given}: there is no such folder.")
        if not (folder / ".github" / "workflows").is_dir():
            raise ValueError(f"--repository {given}: it has no .github/workflows, so there is nothing to cast in it.")
        if name.lower() in {one.lower() for one in found}:
            raise ValueError(f"--repository {given}: another one is served as {name} already. Rename the folder.")
        found[name] = folder
    return found


def default_branch() -> str:
    """Return the branch of this checkout, which is the local GitHub's default branch."""
    head = ROOT / ".git" / "HEAD"
    text = head.read_text().strip() if head.is_file() else ""
    return text.removeprefix("ref: refs/heads/") if text.startswith("ref: ") else "main"
