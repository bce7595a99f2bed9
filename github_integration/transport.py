"""HTTP to one GitHub host: one request, the repetitions that are safe, and downloads from where GitHub stores things.

Who makes a request is `auth`'s affair; which request it is, `api`'s.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from core.redaction import network_error
from core.telemetry import tracing
from github_integration import errors, metrics, wire
from github_integration.etags import Kept
from github_integration.sessions import new_session
from github_integration.wire import JSON

logger = logging.getLogger(__name__)

MAX_TRIES = 3  # of calls that are safe to repeat
MAX_MOVES = 3  # of a repository that are followed to a download
CHUNK = 64 * 1024  # bytes


@dataclass(frozen=True)
class Call:
    """One request, whoever makes it."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)  # a None in it is left out
    json: JSON = None
    accept: str = wire.AS_JSON
    follow: bool = True  # a GET's redirects
    conditional: bool = False  # what is looked at again and again: unchanged, it is free
    before: dt.datetime | None = None  # when it is too late to send it, for what may be sent only once
    tries: int = MAX_TRIES  # if there is no answer, of what may be repeated

    @property
    def once(self) -> bool:
        """Whether it must not be repeated: a lost answer may hide a run that started and will be billed."""
        return self.before is not None


def facts_of(call: Call) -> tracing.Facts:
    operation = metrics.operation_of(call.method, call.path)
    return {"http.request.method": call.method, "spell.github.operation": operation}


class Transport:
    """Makes requests to one host. Safe to share between threads, each of which keeps its own connections."""

    def __init__(self, *, api_url: str, version: str, timeout: float) -> None:
        self.api_url, self.timeout = api_url, timeout
        self.version = version or wire.default_version(api_url)
        self._local = threading.local()

    @tracing.spanned("github request", lambda self, call, *rest, **more: facts_of(call), kind="client")
    def send(self, call: Call, authorization: str, *, known: Kept | None = None) -> requests.Response:
        """Make one request, once; `known` is what was answered before. Raise GitHubError for 400 and more."""
        # A kept connection may have been closed at the other end; then nobody knows whether the request arrived.
        # So what may be sent only once gets a connection of its own.
        session = new_session() if call.once else self._session()
        head = wire.headers(authorization, self.version, call.accept)
        began, result = perf_counter(), "unanswered"
        try:
            answer = session.request(
                call.method,
                self.api_url + call.path,
                params=call.query,
                json=call.json,
                headers=head | ({"If-None-Match": known.etag} if known else {}),
                auth=_as_it_is,
                timeout=self.timeout,
                allow_redirects=call.follow and call.method == "GET",
            )
        except requests.RequestException as exc:
            trouble = _network_error(exc, self.api_url)
            result = metrics.result_of_error(trouble)
            raise trouble from exc
        else:
            result = metrics.result_of(answer)
        finally:
            metrics.answered(call.method, call.path, result, perf_counter() - began)
            if call.once:
                session.close()
        tracing.describe({"http.response.status_code": answer.status_code})
        if answer.status_code >= 400:
            raise wire.error_of(answer.status_code, answer.headers, json_of(answer), now=dt.datetime.now(dt.UTC))
        if answer.status_code == 304 and known is not None:
            answer._content = known.body()
        if answer.is_redirect and call.method != "GET":
            raise errors.Refused("GitHub says this repository has moved; use its new name.", status=answer.status_code)
        return answer

    def download(self, path: str, ask: Callable[[str], requests.Response]) -> requests.Response:
        """GET what GitHub answers with a 302 to its storage: that host must not see our authorization.

        `ask` makes an authorized GET of a path and follows nothing. Raise Gone, and what asking raises.
        """
        for tried in range(2):
            target = self._address(path, ask)
            try:
                with new_session() as session:
                    stored = session.get(
                        target,
                        headers={"User-Agent": wire.USER_AGENT, "Accept-Encoding": "identity"},
                        auth=_as_it_is,
                        timeout=self.timeout,
                        stream=True,
                    )
            except requests.RequestException as exc:
                raise _network_error(exc, target) from exc
            if stored.status_code < 400:
                return stored
            stored.close()
            if stored.status_code != 403 or tried:  # the address lives for a minute: a 403 is worth a second one
                break
        kind = errors.Gone if stored.status_code in (404, 410) else errors.Unavailable
        raise kind(f"GitHub's storage answered {stored.status_code}", status=stored.status_code)

    def _address(self, path: str, ask: Callable[[str], requests.Response]) -> str:
        """Return where the bytes are. A moved repository's new API path on the way there wants us authorized."""
        for _ in range(MAX_MOVES):
            answer = ask(path)
            target = answer.headers.get("Location", "")
            if not target.startswith("https://" if self.api_url.startswith("https://") else ("http://", "https://")):
                break
            if not target.startswith(self.api_url + "/"):
                return target
            path = target.removeprefix(self.api_url)
        raise errors.GitHubError("GitHub sent no usable download address", status=answer.status_code)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = new_session()
        session: requests.Session = self._local.session
        return session


def repeated(call: Call, attempt: Callable[[], requests.Response]) -> requests.Response:
    """Attempt a call that does no harm if it is made twice, again after network trouble or 5xx."""
    for tried in range(1, call.tries + 1):
        try:
            return attempt()
        except (errors.Unavailable, errors.NotSent) as exc:
            if tried == call.tries:
                raise
            logger.info("GitHub call repeated", extra={"method": call.method, "path": call.path, "why": str(exc)})
            time.sleep(random.uniform(0.5, 1.0) * 0.4 * 2**tried)  # noqa: S311 - jitter, not a secret
    raise AssertionError("unreachable")


def chunks_of(answer: requests.Response) -> Generator[bytes]:
    """Yield the bytes as stored, not decoded, so that their digest fits. Raise Unavailable if they break off."""
    with answer:
        try:
            yield from answer.raw.stream(CHUNK, decode_content=False)
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise errors.Unavailable(f"the download broke off: {network_error(exc, answer.url)}") from exc


def json_of(answer: requests.Response) -> JSON:
    """Return an answer's JSON, None if it has none or what it has can't be read."""
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None


def object_of(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object that an answer must hold; what isn't one came from something in between."""
    body = json_of(answer)
    if not isinstance(body, dict):
        raise errors.Unavailable(f"GitHub answered {answer.status_code} with something that is not a JSON object")
    return body


def list_of(answer: requests.Response) -> list[JSON]:
    body = json_of(answer)
    if not isinstance(body, list):
        raise errors.Unavailable(f"GitHub answered {answer.status_code} with something that is not a JSON list")
    return body


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the headers we set: without an `auth`, requests would put what ~/.netrc says in their place."""
    return request


def _network_error(exc: requests.RequestException, url: str) -> errors.GitHubError:
    """Tell "certainly not sent" from "nobody knows"."""
    text = network_error(exc, url)
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
