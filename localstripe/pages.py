"""The frame of the hosted pages. They work without JavaScript, and take forms of their own only."""

from markupsafe import Markup
from werkzeug.wrappers import Request, Response

STYLE = Markup("""
body{font:16px/1.5 system-ui,sans-serif;color:#1a1f36;background:#f6f8fa;margin:0}
main{max-width:26rem;margin:3rem auto;background:#fff;padding:2rem;border-radius:8px;box-shadow:0 1px 4px #0002}
h1{font-size:1.25rem;margin:0 0 1rem}label{display:block;margin:.75rem 0 .25rem;font-weight:600}
input:not([type=checkbox]):not([type=radio]){width:100%;box-sizing:border-box;font:inherit;padding:.5rem;
border:1px solid #6b7384;border-radius:4px}.row{display:flex;gap:1rem}.row>*{flex:1}
button{font:inherit;font-weight:600;width:100%;margin-top:1.25rem;padding:.65rem;border:0;border-radius:4px;
background:#4b45c6;color:#fff;cursor:pointer}button.second{background:#e3e8ee;color:#1a1f36}
[role=alert]{background:#fde8e8;color:#8e1212;padding:.5rem .75rem;border-radius:4px}
.note,details{color:#4f566b;font-size:.875rem}table{font-size:.875rem}td{padding-right:1rem}
label.inline{font-weight:400}
""")


def html(title: str, body: Markup, status: int = 200) -> Response:
    text = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<title>{title}</title><style>{style}</style></head><body><main>{body}"
        '<p class="note">Local Stripe in test mode: no money moves.</p></main></body></html>'
    ).format(title=title, style=STYLE, body=body)
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
    }
    return Response(str(text), status, headers=headers, content_type="text/html; charset=utf-8")


def message(title: str, text: str, status: int = 200) -> Response:
    return html(title, Markup("<h1>{}</h1><p>{}</p>").format(title, text), status)


def alert(text: str) -> Markup:
    return Markup('<p role="alert">{}</p>').format(text) if text else Markup("")


def foreign(request: Request) -> Response | None:
    """Return a refusal of a form that another site's page sends."""
    origin = request.headers.get("Origin")
    if origin is None or origin.partition("://")[2].lower() == request.headers.get("Host", "").lower():
        return None
    return message("Refused", "This form was sent by another site's page.", 403)


def redirect(url: str) -> Response:
    return Response("", 303, headers={"Location": url, "Cache-Control": "no-store"})
