"""From GitHub's code to credentials that are written. A code counts once, so every step is noted before the next.

The journal is a file beside the credentials, for their owner alone: the code before it is sent, GitHub's whole answer
as soon as it is there. Whoever ends this process, the next one goes on from it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from accounts.audit import log
from accounts.principals import Principal
from core.files import sync_folder, write_whole
from github_integration import errors
from github_integration.api import GitHub
from github_integration.auth import private_key
from github_integration.connecting.manifest import Asked, BadAnswer, origin_of
from github_integration.connecting.places import APP_ID, INSTALLATION, KEY, CantWrite, Place
from github_integration.details import NewApp, new_app

JOURNAL = ".connectgithub.json"
CODE = re.compile(r"[A-Za-z0-9_-]{1,200}")
CODE_SECONDS = 3600.0  # GitHub's limit from the App's registration to the exchange
GITHUB_COM = "https://api.github.com"


class Lost(Exception):
    """GitHub has made the App, and its credentials did not get here; str() says what to do."""


def code_of(text: str) -> tuple[str, str]:
    """Return the code and the state (blank if there is none) of a code, or of the address it came with."""
    text = text.strip()
    asked = parse_qs(urlsplit(text).query) if "?" in text else {"code": [text]}
    code, state = (asked.get(name, [""])[0] for name in ("code", "state"))
    if not CODE.fullmatch(code):
        raise BadAnswer("This is no code of GitHub's. Copy the whole address to which GitHub sent the browser.")
    return code, state


class Exchange:
    """One code's way to a place. To be used under the place's lock."""

    def __init__(self, place: Place) -> None:
        self.place, self.journal = place, place.folder / JOURNAL
        self.told: list[str] = []  # what was written where
        self.asked = Asked()  # what was asked for, by whichever process

    def pending(self) -> dict[str, Any]:
        """Return what an earlier process noted and did not end; empty if it did."""
        try:
            found = json.loads(self.journal.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and {"asked", "step"} <= found.keys() else {}

    def forget_code(self) -> None:
        """Forget a code that was not exchanged yet; credentials that were got for one stay."""
        if self.pending().get("step") == "code":
            self._end()

    def go_on(self, *, secret_key: bool) -> NewApp | None:
        """End what an earlier process began, None if there is nothing; raise as `run`."""
        found = self.pending()
        if not found:
            return None
        asked = Asked(**found["asked"])
        if found["step"] == "answer":
            return self._write(asked, found["answer"], secret_key=secret_key)
        if time.time() - float(found.get("at", 0)) > CODE_SECONDS:
            self._end()
            raise Lost(self._what_to_do(asked))
        return self.run(asked, str(found["code"]), secret_key=secret_key)

    def run(self, asked: Asked, code: str, *, secret_key: bool) -> NewApp:
        """Exchange a code and write what GitHub gives for it. `secret_key`: make a SECRET_KEY too.

        Raise Lost, CantWrite, or GitHubError while the code may still count: then the same can be run again.
        """
        self._note(asked, step="code", code=code, at=time.time())
        github = GitHub(api_url=asked.api_url, version="", timeout=20.0)
        try:
            answer = github.convert_manifest(code)
        except (errors.NotFound, errors.Refused) as exc:
            self._end()
            raise Lost(f"GitHub does not take the code (any more): {exc}. {self._what_to_do(asked)}") from exc
        self._note(asked, step="answer", answer=answer)
        return self._write(asked, answer, secret_key=secret_key)

    def _write(self, asked: Asked, answer: Mapping[str, Any], *, secret_key: bool) -> NewApp:
        app, self.asked = new_app(answer), asked
        try:
            private_key(app.pem)
        except errors.NotConfigured as exc:
            self._end()
            raise Lost(f"GitHub's answer holds no private key. {self._what_to_do(asked)}") from exc
        self.told = self.place.write(self._values(asked, app, secret_key=secret_key))
        self._end()
        return app

    def _values(self, asked: Asked, app: NewApp, *, secret_key: bool) -> dict[str, str]:
        known = self.place.read()
        values = {
            APP_ID: str(app.id),
            KEY: app.pem,
            # GitHub gives none where there are no webhooks, and the service insists on one.
            "GITHUB_WEBHOOK_SECRET": app.webhook_secret or secrets.token_urlsafe(40),
            INSTALLATION: "",  # of another App
        }
        if asked.api_url != known.get("GITHUB_API_URL", GITHUB_COM):
            values["GITHUB_API_URL"] = asked.api_url
        if asked.public_url and asked.public_url != settings.PUBLIC_URL:
            values["PUBLIC_URL"] = asked.public_url
        if secret_key:
            values["SECRET_KEY"] = secrets.token_urlsafe(50)
        return values

    def _note(self, asked: Asked, **facts: Any) -> None:
        try:
            write_whole(self.journal, json.dumps({"asked": asked.as_kept(), **facts}))
        except OSError as exc:
            raise CantWrite(f"{self.journal} can't be written: {exc.strerror}.") from exc

    def _end(self) -> None:
        self.journal.unlink(missing_ok=True)
        sync_folder(self.journal.parent)

    def _what_to_do(self, asked: Asked) -> str:
        return (
            f"If “{asked.name}” is listed at {asked.apps_page}, it was made, and nobody has its key: open it, then "
            "either delete it under “Advanced” and begin anew; or press “Generate a private key”, set a new webhook "
            f"secret, and write {APP_ID}, {KEY} (the file's path) and GITHUB_WEBHOOK_SECRET into {self.place.path}. "
            "If it is not listed, begin anew."
        )


def record(who: Principal, asked: Asked, app: NewApp, place: Place) -> None:
    """Add to the audit log that a new App's credentials were written, and where."""
    facts = {"app": app.id, "name": app.name, "owner": asked.organization, "place": str(place.path)}
    log.record(who, "github.connect", ("github app", app.id), after=facts)


def installation_page(asked_github: str, app_url: str, slug: str) -> str:
    """Return where an App is installed: a page of the very GitHub that was asked, whatever its answer says."""
    if app_url.startswith(f"{asked_github}/") and origin_of(app_url) == asked_github:
        return f"{app_url}/installations/new"
    folder = "apps" if asked_github.endswith("github.com") or ".ghe.com" in asked_github else "github-apps"
    return f"{asked_github}/{folder}/{slug}/installations/new"


def printable(text: str, most: int = 200) -> str:
    """Return text of others for a terminal: nothing in it moves the cursor, colours or hides."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:most]
