"""Who we are to GitHub: the App's JWT, installation access tokens made with it, or one personal token."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jwt
import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from github_integration import errors, wire
from github_integration.errors import NotConfigured
from github_integration.models import PERSONAL
from github_integration.transport import Call, Transport, object_of, repeated

JWT_BACKDATE, JWT_LIFE = 60, 540  # seconds; GitHub allows 10 minutes ahead, and clocks drift
PROOF_SECONDS = 60.0  # that a JWT is used; it would live for nine minutes, were the clock never set
REFRESH_BEFORE = dt.timedelta(minutes=5)  # access tokens live an hour
FRESH_SECONDS = 5.0  # an access token younger than this may be unknown to some of GitHub's servers
FRESH_TOKEN_WAITS = (1.0, 2.0, 3.0)  # seconds between tries while a new token spreads


def private_key(value: str) -> str:
    """Return a PEM from GITHUB_APP_PRIVATE_KEY: real newlines, `\\n`, or a file's path. Raise NotConfigured."""
    pem = value.strip("\ufeff \t\r\n").replace("\\n", "\n")
    if not pem:
        raise NotConfigured(
            "GITHUB_APP_PRIVATE_KEY is not set. Paste the App's private key, or give the .pem file's path."
        )
    if "-----BEGIN" not in pem:
        try:
            pem = Path(pem).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError, RuntimeError) as exc:  # RuntimeError: a home directory that doesn't exist
            why = getattr(exc, "strerror", None) or exc
            raise NotConfigured(f"GITHUB_APP_PRIVATE_KEY is neither a PEM nor a readable text file: {why}") from exc
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise NotConfigured(f"GITHUB_APP_PRIVATE_KEY is not a private key without passphrase: {exc}") from exc
    if not isinstance(key, RSAPrivateKey):
        raise NotConfigured("GITHUB_APP_PRIVATE_KEY is not an RSA key, the only kind that GitHub makes for Apps.")
    return pem


def app_jwt(app_id: str, pem: str, *, now: float) -> str:
    """Return the JWT that proves we are the App.

    Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
    """
    claims = {"iat": int(now) - JWT_BACKDATE, "exp": int(now) + JWT_LIFE, "iss": str(app_id)}
    return jwt.encode(claims, pem, algorithm="RS256")


class Scope(NamedTuple):
    """What an access token is for: it is narrowed to one repository, if one is named, and to what the call needs."""

    installation: int
    repository: str  # owner/name; blank: all
    permissions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AccessToken:
    """An installation's access token. Opaque: its form and length have changed before."""

    value: str
    expires_at: dt.datetime
    made_at: float  # time.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether it is so new that a 401 may only mean that it has not spread yet."""
        return time.monotonic() - self.made_at < FRESH_SECONDS


class TokenCache:
    """Access tokens by their scope; one caller refreshes, the others wait."""

    def __init__(
        self, mint: Callable[[Scope], AccessToken], *, dropped: Callable[[AccessToken], None] = lambda token: None
    ) -> None:
        self._mint, self._dropped = mint, dropped
        self._tokens: dict[Scope, AccessToken] = {}
        self._locks: dict[Scope, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, scope: Scope) -> AccessToken:
        """Return a token that lives five minutes more at least; raise what minting raises."""
        with self._guard:
            lock = self._locks.setdefault(scope, threading.Lock())
        with lock:
            token = self._tokens.get(scope)
            if token is not None and token.expires_at - dt.datetime.now(dt.UTC) < REFRESH_BEFORE:
                self.drop(scope, token)
                token = None
            if token is None:
                token = self._tokens[scope] = self._mint(scope)
            return token

    def drop(self, scope: Scope, token: AccessToken) -> None:
        """Forget a token that GitHub no longer takes, or not for long, unless it has been replaced already."""
        with self._guard:
            if self._tokens.get(scope) is not token:
                return
            del self._tokens[scope]
        self._dropped(token)


class Auth:
    """Our identity at one GitHub host: an App, or the personal token, which does without all the others."""

    def __init__(
        self,
        transport: Transport,
        *,
        app_id: str,
        pem: str,
        personal_token: str,
        dropped: Callable[[AccessToken], None] = lambda token: None,
    ) -> None:
        self.app_id, self.personal_token = app_id, personal_token
        self.access_tokens = TokenCache(self._mint, dropped=dropped)
        self._transport, self._pem = transport, pem
        self._proof = 0.0, ""  # our JWT, and when it was made: time.monotonic()

    def as_app(self, call: Call) -> requests.Response:
        """Make a call that only the App itself may make; none of them does harm if it is made twice."""
        if not self.app_id:
            raise NotConfigured("Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY: only an App may ask this.")
        return repeated(call, lambda: self._transport.send(call, self._jwt()))

    def with_access_token(self, scope: Scope, attempt: Callable[[str], requests.Response]) -> requests.Response:
        """Attempt a call with an access token, or with the personal one.

        After a 401 it is attempted again, whatever the call: it was refused before any effect. A fresh token is waited
        for while it spreads; then, once, another one is made.
        """
        if self.personal_token:
            return attempt(self.personal_token)
        replaced = False
        waits = iter(FRESH_TOKEN_WAITS)
        while True:
            token = self._access_token(scope)
            try:
                return attempt(token.value)
            except errors.AuthFailed:
                if token.fresh and (wait := next(waits, None)):
                    time.sleep(wait)
                elif not replaced:
                    replaced = True
                    self.access_tokens.drop(scope, token)
                else:
                    raise

    def _access_token(self, scope: Scope) -> AccessToken:
        try:
            return self.access_tokens.get(scope)
        except errors.Unavailable as exc:  # the call that needed the token was not made
            raise errors.NotSent(f"no installation token: {exc}") from exc

    def _mint(self, scope: Scope) -> AccessToken:
        if not self.app_id:
            raise NotConfigured("Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, or GITHUB_TOKEN for a first try.")
        if scope.installation == PERSONAL:
            raise NotConfigured("Set GITHUB_APP_INSTALLATION_ID, or give the spell an installation id.")
        body: dict[str, object] = {"permissions": dict(scope.permissions)}
        if scope.repository:
            body["repositories"] = [scope.repository.split("/", 1)[-1]]
        call = Call("POST", f"/app/installations/{scope.installation}/access_tokens", json=body)
        try:
            made = object_of(self.as_app(call))
        except errors.NotFound as exc:
            raise errors.InstallationGone(
                f"{exc}: the GitHub App {self.app_id} has no installation {scope.installation}. Was it uninstalled, "
                "or is the id wrong?",
                status=exc.status,
            ) from exc
        if not made.get("token"):
            raise errors.Unavailable("GitHub's answer holds no token")
        expires_at = wire.parse_time(made.get("expires_at")) or dt.datetime.now(dt.UTC)
        return AccessToken(value=str(made["token"]), expires_at=expires_at, made_at=time.monotonic())

    def _jwt(self) -> str:
        """Return a JWT that says we are the App. Checking the key and signing takes a tenth of a second: reused."""
        made_at, proof = self._proof
        if not proof or time.monotonic() - made_at > PROOF_SECONDS:
            proof = app_jwt(self.app_id, private_key(self._pem), now=time.time())
            self._proof = time.monotonic(), proof
        return proof
