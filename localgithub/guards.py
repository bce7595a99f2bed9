"""What keeps web pages in a developer's browser from using the local GitHub, and tells who may steer it.

It listens on this machine and asks nobody to log in, so a page of anybody's could otherwise send it requests: to its
address, or to a name of the page's own that is made to lead here (DNS rebinding). Its own pages' forms are taken from
its own pages alone, and of the user who runs it alone, since their buttons give Apps all that is served. One page takes
a form from anywhere, as GitHub's does: that which shows what an App would be.
"""

import hmac
import ipaddress
import os
import re
import secrets
from pathlib import Path

from werkzeug.http import parse_options_header
from werkzeug.wrappers import Request

from .peers import is_trusted

CONTROL_TOKEN = "control-token"  # noqa: S105 - the name of its file in the state directory


# The page that shows a manifest, and those whose forms change something.
_SHOWS = re.compile(r"(/organizations/[^/]+)?/settings/apps/new$")
_FORMS = re.compile(
    r"(/organizations/[^/]+)?/settings/(apps|installations/\d+)$|/(github-)?apps/[^/]+/installations/new$"
)
_FORM_KINDS = ("application/x-www-form-urlencoded", "multipart/form-data")
MAX_FORM = 200_000  # bytes


def refusal(request: Request, *, host: str, forms: bool = False) -> tuple[int, str] | None:
    """Return the status and the reason with which to refuse a request; None if it may be answered.

    `forms`: this server has the pages with forms.
    """
    if not ours(request.headers.get("Host", ""), host):
        return 421, "The local GitHub is not called by this Host."
    post = forms and request.method == "POST"
    shows, changes = post and bool(_SHOWS.match(request.path)), post and bool(_FORMS.match(request.path))
    origin = request.headers.get("Origin")
    if origin is not None and not shows and not (changes and _same(origin, request)):
        return 403, "The local GitHub answers no web pages: the request has an Origin."
    if changes and not _of_this_user(request):
        return 403, "This page takes forms only of whoever started the local GitHub, from the machine where it runs."
    kind = parse_options_header(request.headers.get("Content-Type", ""))[0].lower()
    if shows or changes:
        if has_body(request) and kind not in _FORM_KINDS:
            return 415, "This page of the local GitHub takes a form."
        if has_body(request) and request.content_length is None:
            return 411, "Send a Content-Length with the form."
        return (413, "The form is too large.") if (request.content_length or 0) > MAX_FORM else None
    if has_body(request) and kind != "application/json" and not (kind.startswith("application/") and "+json" in kind):
        return 415, "The local GitHub takes JSON alone: send Content-Type: application/json."
    return None


def _of_this_user(request: Request) -> bool:
    connection = request.environ.get("werkzeug.socket")
    return connection is not None and is_trusted(connection.getpeername()[:2], connection.getsockname()[:2])


def _same(origin: str, request: Request) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == request.headers.get("Host", "").lower()


def ours(named: str, host: str) -> bool:
    """Return whether a Host header names the server: by its own name, this machine's, or any address.

    An address can't be made to lead elsewhere, as a name can. The port may be that of something in between.
    """
    name = named.rsplit(":", 1)[0] if not named.endswith("]") else named
    name = name.strip("[]").lower().rstrip(".")
    if name in (host.lower(), "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def has_body(request: Request) -> bool:
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def control_token(state_dir: Path) -> str:
    """Return the token for the control paths, from its file, which only this user can read."""
    file = state_dir / CONTROL_TOKEN
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32))
    except FileExistsError:
        file.chmod(0o600)
    return file.read_text()


def may_control(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
