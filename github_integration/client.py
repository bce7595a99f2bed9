"""HTTP to GitHub: authorization, timeouts, and only those retries that are safe.

Which those are: docs/explanation/architecture.md, “Dispatch: once, and provably”.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import ssl
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import requests
from django.conf import settings
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from casts.runtime import Run
from github_integration import errors, quota, wire
from github_integration.etags import Etags, Kept
from github_integration.models import PERSONAL
from github_integration.tokens import Key, Token, TokenCache, app_jwt, private_key

logger = logging.getLogger(__name__)

JSON = Any
TRIES = 3  # of calls that are safe to repeat
FRESH_TOKEN_WAITS = (1.0, 2.0, 3.0)  # seconds between tries while a new token spreads
PROOF_SECONDS = 60.0  # that a JWT is used; it would live for nine minutes, were the clock never set
MOVES = 3  # of a repository that are followed to a download
CHUNK = 64 * 1024
ACTIONS = (("actions", "write"),)
CONTENTS = (("contents", "write"),)
READ_CONTENTS = (("contents", "read"),)
READ_CHECKS = (("checks", "read"),)


class GitHub:
    """One GitHub host and our identity there. Safe to share between threads."""

    def __init__(
        self, *, api_url: str, version: str, timeout: float, app_id: str = "", pem: str = "", personal_token: str = ""
    ) -> None:
        self.api_url, self.timeout = api_url, timeout
        self.version = version or wire.default_version(api_url)
        self.app_id, self._pem, self.personal_token = app_id, pem, personal_token
        self.etags = Etags()
        self.tokens = TokenCache(self._mint, dropped=lambda token: self.etags.drop(token.value))
        self._made = 0.0, ""  # our JWT, and when: time.monotonic()
        self._local = threading.local()
        self._told: dict[int, quota.Told] = {}

    def told(self, installation: int) -> quota.Told | None:
        """Return what GitHub's latest answer to this process told of an installation's rate limit."""
        return self._told.get(installation)

    # --- calls ---------------------------------------------------------------------------------------------

    def dispatch_workflow(
        self,
        installation: int,
        repository: str,
        workflow: str,
        *,
        ref: str,
        inputs: dict[str, str],
        before: dt.datetime,
    ) -> Run | None:
        """Start a workflow, unless it is later than `before`; return its run, or None from servers that don't tell.

        Not retried: a lost answer may hide a run that started and will be billed. The one repetition is without
        `return_run_details`, after a server that doesn't know it has refused the whole request.
        """
        path = wire.repo_path(repository, "actions", "workflows", workflow, "dispatches")
        body: dict[str, Any] = {"ref": ref, "inputs": inputs}
        details = {} if self.version >= wire.NEWEST_VERSION else {"return_run_details": True}
        key = self._key(installation, repository, ACTIONS)
        try:
            answer = self._send("POST", path, key, json=body | details, before=before)
        except errors.Refused as exc:
            if not details or not wire.unknown_key(exc):
                raise
            answer = self._send("POST", path, key, json=body, before=before)
        return wire.run_started(_json(answer))

    def dispatch_event(
        self, installation: int, repository: str, event_type: str, payload: dict[str, Any], *, before: dt.datetime
    ) -> None:
        """Send a repository_dispatch event, unless it is later than `before`.

        Not retried, and GitHub never tells which runs it started.
        """
        key = self._key(installation, repository, CONTENTS)
        body = {"event_type": event_type, "client_payload": payload}
        self._send("POST", wire.repo_path(repository, "dispatches"), key, json=body, before=before)

    def run(self, installation: int, repository: str, run_id: int) -> JSON:
        """Return one run."""
        return self._get(installation, repository, "actions", "runs", run_id, conditional=True)

    def runs(self, installation: int, repository: str, *, event: str, page: int, created: str = "") -> list[JSON]:
        """Return a hundred runs, newest first. Few filters: GitHub's filtered lists lag."""
        query: dict[str, Any] = {"event": event, "per_page": 100, "page": page}
        query |= {"created": created} if created else {}
        answer = self._get(installation, repository, "actions", "runs", conditional=page == 1 and not created, **query)
        return list(answer.get("workflow_runs") or [])

    def jobs(self, installation: int, repository: str, run_id: int, *, every_attempt: bool = False) -> list[JSON]:
        """Return the jobs of the run's latest attempt, or of all (256 an attempt at most, GitHub's limit for a matrix).

        After a re-run of failed jobs, those that were not run again may be listed with the earlier attempt alone.
        """
        parts, which = ("actions", "runs", run_id, "jobs"), "all" if every_attempt else "latest"
        return self._pages("jobs", installation, repository, *parts, conditional=True, filter=which)

    def artifacts(self, installation: int, repository: str, run_id: int) -> list[JSON]:
        """Return the run's artifacts, of all its attempts (500 per job at most)."""
        return self._pages("artifacts", installation, repository, "actions", "runs", run_id, "artifacts")

    def cancel(self, installation: int, repository: str, run_id: int, *, force: bool) -> None:
        """Ask for a run to be cancelled; raise Conflict if it has ended or can't be cancelled yet."""
        path = wire.repo_path(repository, "actions", "runs", run_id, "force-cancel" if force else "cancel")
        self._send("POST", path, self._key(installation, repository, ACTIONS))

    def artifact_bytes(self, installation: int, repository: str, artifact_id: int) -> tuple[Iterator[bytes], str]:
        """Begin reading an artifact as it is stored; return its chunks and its content type. Raise Gone, NotFound."""
        path = wire.repo_path(repository, "actions", "artifacts", artifact_id, "zip")
        answer = self._follow(path, self._key(installation, repository, ACTIONS))
        return _chunks(answer), answer.headers.get("Content-Type", "")

    def job_log(self, installation: int, repository: str, job_id: int, *, last_bytes: int) -> str:
        """Return the end of a job's log. Raise NotFound while there is none yet, Gone after GitHub's retention."""
        path = wire.repo_path(repository, "actions", "jobs", job_id, "logs")
        answer = self._follow(path, self._key(installation, repository, ACTIONS))
        kept = b""
        for chunk in _chunks(answer):
            kept = (kept + chunk)[-last_bytes:]
        return kept.decode(errors="replace")

    def annotations(self, installation: int, repository: str, job_id: int) -> list[JSON]:
        """Return what a job's steps, and GitHub itself, remarked on it (50 at most, GitHub's limit for a job).

        A job's check run has the job's number. Needs the permission Checks: read. Raise Refused, PermissionMissing.
        """
        path = wire.repo_path(repository, "check-runs", job_id, "annotations")
        return _list(self._send("GET", path, self._key(installation, repository, READ_CHECKS), {"per_page": 100}))

    def rate_limit(self) -> JSON:
        """Return how many calls are left, which costs none. Raise NotFound from servers without limits."""
        return _object(self._send("GET", "/rate_limit", self._key(PERSONAL, "", ACTIONS)))

    # --- what a spell needs to be there --------------------------------------------------------------------

    def repository(self, installation: int, repository: str) -> JSON:
        """Return a repository; one that has moved is found under its new name."""
        return self._get(installation, repository)

    def workflow(self, installation: int, repository: str, workflow: str) -> JSON:
        """Return one workflow, by its file's name. Raise NotFound if the default branch doesn't have it."""
        return self._get(installation, repository, "actions", "workflows", workflow)

    def workflows(self, installation: int, repository: str) -> list[JSON]:
        """Return the repository's workflows."""
        return self._pages("workflows", installation, repository, "actions", "workflows")

    def workflow_text(self, installation: int, repository: str, workflow: str, *, ref: str = "") -> str:
        """Return a workflow file at a ref, or on the default branch. Needs the permission Contents: read."""
        path = wire.repo_path(repository, "contents", ".github", "workflows", workflow)
        key = self._key(installation, repository, READ_CONTENTS)
        answer = self._send("GET", path, key, {"ref": ref} if ref else None, accept=wire.AS_RAW)
        return answer.content.decode(errors="replace")

    # --- what the App is told about itself: by its JWT, without an installation ----------------------------

    def app(self) -> JSON:
        """Return the App that we are. Raise AuthFailed, NotFound, or NotConfigured without a usable key."""
        return _object(self._as_app("GET", "/app"))

    def login(self) -> str:
        """Return the name under which GitHub shows what we start; blank if it doesn't tell. Raise what `app` raises."""
        if self.personal_token:
            return wire.login_of(_object(self._send("GET", "/user", self._key(PERSONAL, "", ACTIONS))))
        slug = wire.plain(self.app().get("slug"))
        return f"{slug}[bot]" if slug else ""

    def installations(self) -> list[JSON]:
        """Return the App's installations, a hundred at most."""
        return _list(self._as_app("GET", "/app/installations", {"per_page": 100}))

    def installation(self, installation: int) -> JSON:
        """Return one installation of the App, also while it is suspended."""
        return _object(self._as_app("GET", f"/app/installations/{installation}"))

    def repository_installation(self, repository: str) -> JSON:
        """Return the installation that covers a repository. Raise NotFound if there is none, or no repository."""
        return _object(self._as_app("GET", wire.repo_path(repository, "installation")))

    def hook_config(self) -> JSON:
        """Return the webhook's settings; GitHub masks the secret."""
        return _object(self._as_app("GET", "/app/hook/config"))

    def deliveries(self, cursor: str = "") -> tuple[list[JSON], str]:
        """Return a hundred lines of the App's delivery log, newest first, and the next page's cursor (blank: none)."""
        answer = self._as_app("GET", "/app/hook/deliveries", {"per_page": 100} | ({"cursor": cursor} if cursor else {}))
        return _list(answer), wire.next_cursor(answer.headers.get("Link", ""))

    def delivery(self, delivery_id: int) -> JSON:
        """Return one line of the delivery log with what was sent. Raise NotFound after GitHub's three days."""
        return _object(self._as_app("GET", f"/app/hook/deliveries/{delivery_id}"))

    def redeliver(self, delivery_id: int) -> None:
        """Have GitHub send a delivery once more, under the same GUID."""
        self._as_app("POST", f"/app/hook/deliveries/{delivery_id}/attempts")

    # --- how -----------------------------------------------------------------------------------------------

    def _as_app(self, method: str, path: str, query: dict[str, Any] | None = None) -> requests.Response:
        """Make a call that only the App itself may make; none of them does harm if it is made twice."""
        if not self.app_id:
            raise errors.NotConfigured("Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY: only an App may ask this.")
        return self._try_again(method, path, lambda: self._request(method, path, self._proof(), query))

    def _get(
        self,
        installation: int,
        repository: str,
        *parts: str | int,
        conditional: bool = False,
        **query: str | int | None,
    ) -> JSON:
        """Return an object; a None in the query is left out.

        What is looked at again and again is asked for `conditional`ly: unchanged, it is free.
        """
        path = wire.repo_path(repository, *parts)
        key = self._key(installation, repository, ACTIONS)
        answer = self._send("GET", path, key, query, conditional=conditional)
        body = _object(answer)
        if conditional and (etag := answer.headers.get("ETag")) and answer.status_code == 200:
            # The token is the one that was sent; after a redirect to another host there is none.
            token = str(answer.request.headers.get("Authorization", "")).removeprefix("Bearer ")
            self.etags.put(token, path, query, etag=etag, body=answer.content)
        return body

    def _pages(
        self,
        name: str,
        installation: int,
        repository: str,
        *parts: str | int,
        conditional: bool = False,
        **query: str | int,
    ) -> list[JSON]:
        found: list[JSON] = []
        for page in range(1, 7):
            answer = self._get(
                installation, repository, *parts, **query, conditional=conditional, per_page=100, page=page
            )
            found += answer.get(name) or []
            if len(found) >= int(answer.get("total_count") or 0) or not answer.get(name):
                break
        return found

    def _key(self, installation: int, repository: str, permissions: tuple[tuple[str, str], ...]) -> Key:
        return (installation, repository, permissions)

    def _authorization(self, key: Key) -> tuple[str, Token | None]:
        if self.personal_token:
            return self.personal_token, None
        try:
            token = self.tokens.get(key)
        except errors.Unavailable as exc:  # the call that needed the token was not made
            raise errors.NotSent(f"no installation token: {exc}") from exc
        return token.value, token

    def _mint(self, key: Key) -> Token:
        installation, repository, permissions = key
        if not self.app_id:
            raise errors.NotConfigured("Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, or GITHUB_TOKEN for a first try.")
        if installation == PERSONAL:
            raise errors.NotConfigured("Set GITHUB_APP_INSTALLATION_ID, or give the spell an installation id.")
        proof = self._proof()
        body = {"repositories": [repository.split("/", 1)[-1]], "permissions": dict(permissions)}
        path = f"/app/installations/{installation}/access_tokens"
        try:
            made = _object(self._try_again("POST", path, lambda: self._request("POST", path, proof, json=body)))
        except errors.NotFound as exc:
            raise errors.InstallationGone(
                f"{exc}: the GitHub App {self.app_id} has no installation {installation}. Was it uninstalled, or is "
                "the id wrong?",
                status=exc.status,
            ) from exc
        if not made.get("token"):
            raise errors.Unavailable("GitHub's answer holds no token")
        expires_at = wire.moment(made.get("expires_at")) or dt.datetime.now(dt.UTC)
        return Token(value=str(made["token"]), expires_at=expires_at, made_at=time.monotonic())

    def _proof(self) -> str:
        """Return a JWT that says we are the App. Checking the key and signing takes a tenth of a second: reused."""
        made_at, proof = self._made
        if not proof or time.monotonic() - made_at > PROOF_SECONDS:
            proof = app_jwt(self.app_id, private_key(self._pem), now=time.time())
            self._made = time.monotonic(), proof
        return proof

    def _send(
        self,
        method: str,
        path: str,
        key: Key,
        query: dict[str, Any] | None = None,
        *,
        json: JSON = None,
        before: dt.datetime | None = None,
        follow: bool = True,
        accept: str = wire.AS_JSON,
        conditional: bool = False,
    ) -> requests.Response:
        """Make one authorized call; repeat it after network trouble or 5xx.

        With `before` it may be made once only, and not later than that: minting its token can have taken long.
        """
        once = before is not None

        def attempt() -> requests.Response:
            replaced = False
            waits = iter(FRESH_TOKEN_WAITS)
            while True:
                authorization, token = self._authorization(key)
                if before is not None and dt.datetime.now(dt.UTC) > before:
                    raise errors.NotSent("it took too long to get as far as sending")
                known = self.etags.get(authorization, path, query or {}) if conditional else None
                try:
                    answer = self._request(
                        method,
                        path,
                        authorization,
                        query,
                        json=json,
                        own_connection=once,
                        follow=follow,
                        accept=accept,
                        known=known,
                    )
                    if (told := wire.rate_told(answer.headers)) is not None:
                        self._told[key[0]] = quota.Told(*told)
                    return answer
                except errors.AuthFailed:  # refused before any effect: safe to repeat, whatever the call
                    if token is None:
                        raise
                    if token.fresh and (wait := next(waits, None)):
                        time.sleep(wait)
                    elif not replaced:
                        replaced = True
                        self.tokens.drop(key, token)
                    else:
                        raise

        return attempt() if once else self._try_again(method, path, attempt)

    def _try_again(self, method: str, path: str, attempt: Any) -> requests.Response:
        for tried in range(1, TRIES + 1):
            try:
                answer: requests.Response = attempt()
                return answer
            except (errors.Unavailable, errors.NotSent) as exc:
                if tried == TRIES:
                    raise
                logger.info("GitHub call repeated", extra={"method": method, "path": path, "why": str(exc)})
                time.sleep(random.uniform(0.5, 1.0) * 0.4 * 2**tried)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def _request(
        self,
        method: str,
        path: str,
        authorization: str,
        query: dict[str, Any] | None = None,
        *,
        json: JSON = None,
        own_connection: bool = False,
        follow: bool = True,
        accept: str = wire.AS_JSON,
        known: Kept | None = None,
    ) -> requests.Response:
        # A kept connection may have been closed at the other end; then nobody knows whether the request arrived.
        # So what may be sent only once gets a connection of its own.
        session = requests.Session() if own_connection else self._session()
        try:
            answer = session.request(
                method,
                self.api_url + path,
                params=query,
                json=json,
                headers=wire.headers(authorization, self.version, accept)
                | ({"If-None-Match": known.etag} if known else {}),
                auth=_as_it_is,
                timeout=self.timeout,
                allow_redirects=follow and method == "GET",
            )
        except requests.RequestException as exc:
            raise _network_error(exc) from exc
        finally:
            if own_connection:
                session.close()
        if answer.status_code >= 400:
            raise wire.error_of(answer.status_code, answer.headers, _json(answer), now=dt.datetime.now(dt.UTC))
        if answer.status_code == 304 and known is not None:
            answer._content = known.body()
        if answer.is_redirect and method != "GET":
            raise errors.Refused("GitHub says this repository has moved; use its new name.", status=answer.status_code)
        return answer

    def _follow(self, path: str, key: Key) -> requests.Response:
        """GET what GitHub answers with a 302 to its storage: that host must not see our authorization."""
        for tried in range(2):
            target = self._address(path, key)
            try:
                stored = requests.get(
                    target,
                    headers={"User-Agent": wire.USER_AGENT, "Accept-Encoding": "identity"},
                    auth=_as_it_is,
                    timeout=self.timeout,
                    stream=True,
                )
            except requests.RequestException as exc:
                raise _network_error(exc) from exc
            if stored.status_code < 400:
                return stored
            stored.close()
            if stored.status_code != 403 or tried:  # the address lives for a minute: a 403 is worth a second one
                break
        kind = errors.Gone if stored.status_code in (404, 410) else errors.Unavailable
        raise kind(f"GitHub's storage answered {stored.status_code}", status=stored.status_code)

    def _address(self, path: str, key: Key) -> str:
        """Return where the bytes are. A moved repository's new API path on the way there wants us authorized."""
        for _ in range(MOVES):
            answer = self._send("GET", path, key, follow=False)
            target = answer.headers.get("Location", "")
            if not target.startswith("https://" if self.api_url.startswith("https://") else ("http://", "https://")):
                break
            if not target.startswith(self.api_url + "/"):
                return target
            path = target.removeprefix(self.api_url)
        raise errors.GitHubError("GitHub sent no usable download address", status=answer.status_code)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """Yield the bytes as stored, not decoded, so that their digest fits."""
    with answer:
        try:
            yield from answer.raw.stream(CHUNK, decode_content=False)
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise errors.Unavailable(f"the download broke off: {exc}") from exc


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the headers we set: without an `auth`, requests would put what ~/.netrc says in their place."""
    return request


def _object(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object that an answer must hold; what isn't one came from something in between."""
    body = _json(answer)
    if not isinstance(body, dict):
        raise errors.Unavailable(f"GitHub answered {answer.status_code} with something that is not a JSON object")
    return body


def _list(answer: requests.Response) -> list[JSON]:
    body = _json(answer)
    if not isinstance(body, list):
        raise errors.Unavailable(f"GitHub answered {answer.status_code} with something that is not a JSON list")
    return body


def _json(answer: requests.Response) -> JSON:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None


def _network_error(exc: requests.RequestException) -> errors.GitHubError:
    """Tell "certainly not sent" from "nobody knows"."""
    text = wire.redact(f"{type(exc).__name__}: {exc}")
    if _never_sent(exc):
        return errors.NotSent(f"GitHub can't be reached: {text}")
    return errors.Unavailable(f"GitHub did not answer: {text}")


def _never_sent(exc: requests.RequestException) -> bool:
    if isinstance(exc, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    reason = getattr(exc.args[0] if exc.args else None, "reason", None)
    if isinstance(reason, SSLError):  # TLS can also break after the request; a certificate is refused before it
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in reason.args)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


@lru_cache(maxsize=1)
def github() -> GitHub:
    """Return the GitHub that the settings name."""
    return GitHub(
        api_url=settings.GITHUB_API_URL,
        version=settings.GITHUB_API_VERSION,
        timeout=settings.GITHUB_TIMEOUT,
        app_id=settings.GITHUB_APP_ID,
        pem=settings.GITHUB_APP_PRIVATE_KEY,
        personal_token="" if settings.GITHUB_APP_ID else settings.GITHUB_TOKEN,
    )
