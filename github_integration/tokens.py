"""Who we are to GitHub: the App's JWT, installation tokens made with it, or one personal token."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from github_integration.errors import NotConfigured

JWT_BACKDATE, JWT_LIFE = 60, 540  # seconds; GitHub allows 10 minutes ahead, and clocks drift
REFRESH_BEFORE = dt.timedelta(minutes=5)  # tokens live an hour
FRESH_SECONDS = 5.0  # a token younger than this may be unknown to some of GitHub's servers


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


@dataclass(frozen=True)
class Token:
    """An installation token. Opaque: its form and length have changed before."""

    value: str
    expires_at: dt.datetime
    made_at: float  # time.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether it is so new that a 401 may only mean that it has not spread yet."""
        return time.monotonic() - self.made_at < FRESH_SECONDS


Key = tuple[int, str, tuple[tuple[str, str], ...]]  # installation, repository, permissions


class TokenCache:
    """Installation tokens by installation, repository and permissions; one caller refreshes, the others wait."""

    def __init__(self, mint: Callable[[Key], Token], *, dropped: Callable[[Token], None] = lambda token: None) -> None:
        self._mint, self._dropped = mint, dropped
        self._tokens: dict[Key, Token] = {}
        self._locks: dict[Key, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, key: Key) -> Token:
        """Return a token that lives five minutes more at least; raise what minting raises."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            token = self._tokens.get(key)
            if token is not None and token.expires_at - dt.datetime.now(dt.UTC) < REFRESH_BEFORE:
                self.drop(key, token)
                token = None
            if token is None:
                token = self._tokens[key] = self._mint(key)
            return token

    def drop(self, key: Key, token: Token) -> None:
        """Forget a token that GitHub no longer takes, or not for long, unless it has been replaced already."""
        with self._guard:
            if self._tokens.get(key) is not token:
                return
            del self._tokens[key]
        self._dropped(token)
