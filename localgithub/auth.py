import base64
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jwt
from werkzeug.wrappers import Request

from .answers import ApiError, not_found
from .apps import ACTIONS_APP, App, Apps, Installation
from .clock import later, now
from .config import Config

LEVELS = {"none": 0, "read": 1, "write": 2, "admin": 3}
TOKEN_LENGTH = 520  # the stateless form of 2026; older tokens had 40 characters
MAX_LIFE = 600  # seconds a JWT may live


@dataclass
class Token:
    """What one token may do."""

    text: str
    permissions: dict[str, str]
    repositories: list[str] | None  # full names; None for all of the installation
    expires_at: datetime | None
    personal: bool = False
    installation_id: int | None = None  # None for a person's token and for secrets.GITHUB_TOKEN
    born: float = field(default_factory=time.monotonic)


class Auth:
    """Checks who calls; issues and revokes installation tokens."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.suspended_at: datetime | None = None  # the configured installation, as is `removed`
        self.removed = False
        self.apps = Apps(config, lambda: (self.suspended_at, self.removed))
        self.fresh_seconds = 0.0  # a fault: how long a new token is unknown to the API
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()
        if config.personal_token:
            self._tokens[config.personal_token] = Token(
                config.personal_token, config.permissions, None, None, personal=True
            )

    def mint(
        self, permissions: dict[str, str], repositories: list[str] | None, installation: Installation | None = None
    ) -> Token:
        """Issue a token of an installation, or without one the `secrets.GITHUB_TOKEN` of a run."""
        head = base64.urlsafe_b64encode(b'{"alg":"ES256","typ":"JWT"}').decode().rstrip("=")
        start = f"ghs_{installation.app_id if installation else ACTIONS_APP}_{head}."
        tail = "." + secrets.token_urlsafe(64)
        text = start + secrets.token_urlsafe(TOKEN_LENGTH)[: TOKEN_LENGTH - len(start) - len(tail)] + tail
        number = installation.id if installation else None
        token = Token(text, permissions, repositories, later(hours=1), installation_id=number)
        with self._lock:
            self._tokens[text] = token
        return token

    def revoke(self, token: Token) -> None:
        with self._lock:
            self._tokens.pop(token.text, None)

    def forget(self, installation_id: int | None = None) -> None:
        """Revoke the tokens of one installation, or of all."""
        with self._lock:
            self._tokens = {
                text: token
                for text, token in self._tokens.items()
                if token.personal or (installation_id is not None and token.installation_id != installation_id)
            }

    def token(self, request: Request) -> Token:
        """Return the caller's token. Raise ApiError: 401, or 403 while its installation is suspended."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not text:
            raise ApiError(401, "Requires authentication")
        token = self._tokens.get(text.strip()) if scheme.lower() in ("bearer", "token") else None
        if token is None or (token.expires_at and token.expires_at <= now()):
            raise ApiError(401, "Bad credentials")
        if not token.personal and time.monotonic() - token.born < self.fresh_seconds:
            raise ApiError(401, "Bad credentials")
        if token.installation_id is not None:
            installation = self.apps.installation(token.installation_id)
            if installation is None:
                raise ApiError(401, "Bad credentials")
            if installation.suspended_at:
                raise ApiError(403, "This installation has been suspended")
        return token

    def covers(self, token: Token, repository: str) -> bool:
        """Whether a repository is among those of the token, and still among those of its installation."""
        if token.repositories is not None and repository not in token.repositories:
            return False
        installation = None if token.installation_id is None else self.apps.installation(token.installation_id)
        return installation.covers(repository) if installation else True

    def allow(self, request: Request, repository: str, permission: str, level: str, docs: str) -> Token:
        """Return the caller's token if it may do this to the repository. Raise ApiError, 404 or 403."""
        if "Authorization" not in request.headers:
            raise not_found(docs)  # our repositories are private
        token = self.token(request)
        if not self.covers(token, repository):
            raise not_found(docs)
        if LEVELS[token.permissions.get(permission, "none")] < LEVELS[level]:
            whose = "personal access token" if token.personal else "integration"
            needed = {"X-Accepted-GitHub-Permissions": f"{permission}={level}"}
            raise ApiError(403, f"Resource not accessible by {whose}", docs, headers=needed)
        return token

    def app_of(self, token: Token) -> App | None:
        """Return the App whose installation's token this is; None for a person's token and for that of a run."""
        installation = None if token.installation_id is None else self.apps.installation(token.installation_id)
        return self.apps.app(installation.app_id) if installation else None

    def login(self, token: Token) -> str:
        """Return the login under which a token acts: the bot of its App, or the person."""
        app = self.app_of(token)
        return self.config.person if token.personal else app.bot if app else "github-actions[bot]"

    def app(self, request: Request) -> App:
        """Return the App that calls. Raise ApiError, in GitHub's words, unless it has signed the JWT itself."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise ApiError(401, "A JSON web token could not be decoded")
        # Only the signature is checked here; the claims are below, each with GitHub's own message.
        checks: Any = {
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_aud": False,
            "verify_iss": False,
        }
        try:
            unproved = jwt.decode(text.strip(), algorithms=["RS256"], options=checks | {"verify_signature": False})
            app = self.apps.app_by_issuer(str(unproved.get("iss")))
            claims = unproved
            if app is not None:
                claims = jwt.decode(text.strip(), app.public_key, algorithms=["RS256"], options=checks)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ApiError(401, "A JSON web token could not be decoded") from error
        self._check_claims(claims)
        if app is None:
            raise ApiError(404, "Integration not found")
        return app

    def _check_claims(self, claims: dict[str, Any]) -> None:
        present = time.time()
        issued, expires, issuer = claims.get("iat"), claims.get("exp"), claims.get("iss")
        if not isinstance(expires, int | float) or isinstance(expires, bool) or expires <= present:
            raise ApiError(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future time "
                "at which the assertion expires",
            )
        # Five seconds for the way here, not more: GitHub forgives a fast clock no further.
        if expires > present + MAX_LIFE + 5:
            raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
        if not isinstance(issued, int) or isinstance(issued, bool) or issued > present + 5:
            raise ApiError(
                401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            )
        if issuer is None:
            raise ApiError(401, "'Issuer' claim ('iss') must be present")
