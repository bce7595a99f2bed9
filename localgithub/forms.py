"""Pages with forms, for the browser of whoever sits at this machine."""

import hashlib
import hmac
from collections.abc import Mapping
from html import escape

from werkzeug.wrappers import Request, Response

TOKEN = "authenticity_token"  # noqa: S105 - the name of a field
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = (
    "body{font:16px system-ui;margin:2rem auto;max-width:45rem;padding:0 1rem}label{display:block;margin:.4rem 0}"
    "input[type=text]{font:inherit;width:100%;padding:.3rem}button{font:inherit;padding:.4rem 1rem}"
    "dt{font-weight:600}.bad{color:#b00020}fieldset{margin:1rem 0}"
)


def token(secret: str) -> str:
    """Return what a form of ours must send along; a page of another origin can't read it.

    It comes from the state directory's secret, so that a form that is open survives a restart.
    """
    return hmac.new(secret.encode(), b"forms", hashlib.sha256).hexdigest()


def genuine(request: Request, secret: str) -> bool:
    return hmac.compare_digest(request.form.get(TOKEN, "").encode(), token(secret).encode())


def shown(title: str, body: str, status: int = 200) -> Response:
    """Answer with a page; `body` is HTML, in which everything foreign has been escaped."""
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{body}</html>"
    )
    headers = {
        # Nothing of a manifest may run, and nobody may lay our buttons under theirs. No `form-action`: browsers hold
        # it against the address to which the answer to a form leads, which is the App's.
        "Content-Security-Policy": _POLICY,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Response(text, status, content_type="text/html; charset=utf-8", headers=headers)


def form(secret: str, action: str, inner: str, hidden: Mapping[str, str] | None = None) -> str:
    fields = {TOKEN: token(secret), **(hidden or {})}
    kept = "".join(f'<input type=hidden name="{escape(n)}" value="{escape(v)}">' for n, v in fields.items())
    return f'<form method=post action="{escape(action)}">{kept}{inner}</form>'


def leads_to(address: str) -> Response:
    """Redirect a browser, by a GET whatever it sent."""
    return Response(
        "", 302, headers={"Location": address, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    )
