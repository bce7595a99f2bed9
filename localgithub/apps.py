"""Apps and installations: those of the command line, and those that people make on this server's pages."""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .clock import iso, now
from .config import Config

FILE = "apps.json"
CODE_LIFE = 3600  # seconds in which the code of a new App is good
ACTIONS_APP = 15368  # GitHub Actions itself, which is an App too: it makes the check runs of jobs
# What an event's subscriber must at least read; those that are in no such list are sent to every App.
EVENT_NEEDS = {
    "check_run": "checks",
    "check_suite": "checks",
    "create": "contents",
    "delete": "contents",
    "deployment": "deployments",
    "deployment_status": "deployments",
    "issue_comment": "issues",
    "issues": "issues",
    "pull_request": "pull_requests",
    "pull_request_review": "pull_requests",
    "push": "contents",
    "release": "contents",
    "repository": "metadata",
    "repository_dispatch": "contents",
    "status": "statuses",
    "workflow_dispatch": "contents",
    "workflow_job": "actions",
    "workflow_run": "actions",
}


@dataclass
class App:
    """One GitHub App."""

    id: int
    slug: str
    name: str
    owner: str  # a login
    client_id: str
    public_key: str
    permissions: dict[str, str]
    events: list[str]
    url: str = ""
    description: str | None = None
    redirect_url: str = ""
    setup_url: str = ""
    setup_on_update: bool = False
    public: bool = False
    webhook_url: str = ""
    webhook_secret: str = ""
    created_at: str = "2026-01-01T00:00:00Z"

    @property
    def bot(self) -> str:
        return f"{self.slug}[bot]"


@dataclass
class Installation:
    """One App on one account."""

    id: int
    app_id: int
    account: str
    permissions: dict[str, str]
    events: list[str]
    repositories: list[str] | None = None  # full names; None: all of the account
    suspended_at: str | None = None
    created_at: str = "2026-01-01T00:00:00Z"

    def covers(self, full_name: str) -> bool:
        if self.repositories is None:
            return full_name.split("/")[0].lower() == self.account.lower()
        return full_name in self.repositories

    def hears(self, event: str) -> bool:
        """Whether GitHub would send it this event."""
        return event in self.events and self.permissions.get(EVENT_NEEDS.get(event, "metadata"), "none") != "none"


@dataclass
class Pending:
    """What waits for whoever has the code of a new App; the private key is kept nowhere else."""

    app_id: int
    pem: str
    client_secret: str
    until: float


@dataclass
class _State:
    apps: dict[int, App] = field(default_factory=dict)
    installations: dict[int, Installation] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)


class Apps:
    """All Apps and installations. What is made here is kept in the state directory, readable by this user alone."""

    def __init__(self, config: Config, configured: Callable[[], tuple[datetime | None, bool]]) -> None:
        self.config = config
        self.chosen: list[str] | None = None  # what a person chose for the configured installation on its page
        self.lock = threading.RLock()
        self._configured = configured  # since when it is suspended, and whether it is removed
        self._file = config.state_dir / FILE
        self._state = self._read()

    def all(self) -> list[App]:
        return [self.first, *self._state.apps.values()]

    @property
    def first(self) -> App:
        """The App of the command line, as its settings are now."""
        config = self.config
        return App(
            id=config.app_id,
            slug=config.app_slug,
            name="Local spells",
            owner=config.account,
            client_id=config.client_id,
            public_key=config.app_public_key,
            permissions=config.wanted_permissions or config.permissions,
            events=config.events,
            url=config.base_url,
            description="Runs spells on your machine.",
            public=True,
        )

    def app(self, number: int) -> App | None:
        return next((one for one in self.all() if one.id == number), None)

    def app_by_issuer(self, issuer: str) -> App | None:
        """Return an App by what its JWT names: its client id or its id."""
        return next((one for one in self.all() if issuer in (one.client_id, str(one.id))), None)

    def app_by_slug(self, slug: str) -> App | None:
        return next((one for one in self.all() if one.slug == slug.lower()), None)

    def installations(self, app: App | None = None) -> list[Installation]:
        """Return all that are not removed, or those of one App."""
        suspended_at, removed = self._configured()
        config = self.config
        first = Installation(
            id=config.installation_id,
            app_id=config.app_id,
            account=config.account,
            permissions=config.permissions,
            events=config.events,
            repositories=self.chosen if self.chosen is not None else list(config.repositories),
            suspended_at=iso(suspended_at),
        )
        known = [*([] if removed else [first]), *self._state.installations.values()]
        return [one for one in known if app is None or one.app_id == app.id]

    def installation(self, number: int) -> Installation | None:
        return next((one for one in self.installations() if one.id == number), None)

    def hearing(self, event: str, full_name: str) -> Iterator[tuple[App, Installation]]:
        """Yield whoever is to be told of an event in a repository."""
        for one in self.installations():
            app = self.app(one.app_id)
            if app and one.hears(event) and one.covers(full_name) and not one.suspended_at:
                yield app, one

    def create(self, app: App) -> tuple[App, str]:
        """Make an App with a key of its own; return it, and the code for which its credentials are given once."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        code = secrets.token_hex(20)
        with self.lock:
            app = replace(
                app,
                id=self._free(1_000_000, {one.id for one in self.all()}),
                client_id=f"Iv23li{secrets.token_hex(7)}",
                public_key=key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode(),
                webhook_secret=secrets.token_hex(20) if app.webhook_url else "",
                created_at=iso(now()) or "",
            )
            self._state.apps[app.id] = app
            until = time.time() + CODE_LIFE
            self._state.pending[code] = Pending(app.id, pem.decode(), secrets.token_hex(20), until)
            self.save()
        return app, code

    def convert(self, code: str) -> tuple[App, Pending] | None:
        """Return the App of a code and its credentials, once and within an hour."""
        with self.lock:
            found = self._state.pending.pop(code, None)
            if found is None:
                return None
            self.save()
        app = self.app(found.app_id)
        return (app, found) if app and found.until > time.time() else None

    def install(self, app: App, account: str, repositories: list[str] | None) -> Installation:
        with self.lock:
            number = self._free(50_000_000, {one.id for one in self.installations()} | {self.config.installation_id})
            made = Installation(
                number, app.id, account, dict(app.permissions), list(app.events), repositories, None, iso(now()) or ""
            )
            self._state.installations[number] = made
            self.save()
        return made

    def change(self, installation: Installation, **changes: Any) -> Installation:
        """Change an installation that was made here."""
        with self.lock:
            changed = replace(installation, **changes)
            self._state.installations[installation.id] = changed
            self.save()
        return changed

    def remove(self, installation: Installation) -> None:
        with self.lock:
            self._state.installations.pop(installation.id, None)
            self.save()

    def made(self, installation: Installation) -> bool:
        """Whether it was made here, rather than on the command line."""
        return installation.id in self._state.installations

    def hook_changed(self, app_id: int, url: str, secret: str) -> None:
        """Keep what an App made here has set for its webhook."""
        with self.lock:
            if app := self._state.apps.get(app_id):
                app.webhook_url, app.webhook_secret = url, secret
                self.save()

    def save(self) -> None:
        pending = {code: one for code, one in self._state.pending.items() if one.until > time.time()}
        self._state.pending = pending
        text = json.dumps(
            {
                "apps": [asdict(one) for one in self._state.apps.values()],
                "installations": [asdict(one) for one in self._state.installations.values()],
                "pending": {code: asdict(one) for code, one in pending.items()},
            },
            indent=1,
        )
        # Renamed when whole: a process that is killed leaves the file of before.
        draft = self._file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(self._file)

    def _read(self) -> _State:
        """Return what an earlier process has kept. Raise SystemExit if it can't be read."""
        if not self._file.exists():
            return _State()
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return _State(
                {one["id"]: App(**one) for one in kept["apps"]},
                {one["id"]: Installation(**one) for one in kept["installations"]},
                {code: Pending(**one) for code, one in kept["pending"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{self._file}, which has the Apps made here, can't be read ({error.__class__.__name__}"
            raise SystemExit(f"{why}). Remove it to start without them.") from None

    @staticmethod
    def _free(base: int, taken: set[int]) -> int:
        while (number := base + secrets.randbelow(base)) in taken:
            pass
        return number
