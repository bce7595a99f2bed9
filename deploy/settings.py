"""Write a first file of settings, with secrets made at random: `settings.py FILE [options]`. It needs Python alone.

A file that is there stays as it is: run this as often as you like.
"""

import argparse
import base64
import os
import secrets
from pathlib import Path

TEXT = """\
# Settings of Spell Platform; docs/reference/configuration.md explains each. Restart web and workers after a change.
# Keep a copy in a safe place: a backup of the database is worth little without the first two.
SECRET_KEY={secret_key}
FIELD_ENCRYPTION_KEYS={field_key}
{more}# The same text belongs into the GitHub App's settings; `manage.py connectgithub` does that.
GITHUB_WEBHOOK_SECRET={webhook_secret}
# Who shows this as a bearer may read /metrics.
METRICS_TOKEN={metrics_token}
"""


def write(path: Path, text: str, owner: int | None) -> None:
    """Put a file there in one go, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        if owner is not None:
            os.fchown(file.fileno(), owner, owner)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def password_in(path: Path) -> str:
    """Return the database's password from its file, made if there is none. Postgres' own user reads it there."""
    if not path.exists():
        write(path, secrets.token_urlsafe(32), None)
        path.chmod(0o444)
    return path.read_text().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--public-url", help="where people and GitHub reach the service")
    parser.add_argument("--database-url", help="in which PASSWORD stands for that of --password-file")
    parser.add_argument("--password-file", type=Path, help="made if there is none")
    parser.add_argument("--var-dir", help="where files are kept")
    parser.add_argument("--owner", type=int, help="number of the user and group that shall own file and folder")
    options = parser.parse_args()
    file: Path = options.file
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options.owner is not None:
        os.chown(file.parent, options.owner, options.owner)
        file.parent.chmod(0o700)
    password = password_in(options.password_file) if options.password_file else ""
    if file.exists():
        print(f"{file} is there, and stays as it is.")
        return
    given = {
        "PUBLIC_URL": options.public_url,
        "DATABASE_URL": (options.database_url or "").replace("PASSWORD", password),
    }
    text = TEXT.format(
        secret_key=secrets.token_urlsafe(50),
        field_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        webhook_secret=secrets.token_urlsafe(40),
        metrics_token=secrets.token_urlsafe(32),
        more="".join(f"{name}={value}\n" for name, value in given.items() if value),
    )
    write(file, text, options.owner)
    print(f"{file} is written.")


if __name__ == "__main__":
    main()
