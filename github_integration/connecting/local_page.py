"""The page of `manage.py connectgithub`: sends the manifest to GitHub, and is where GitHub sends the browser back.

It serves this machine alone. Other pages in the same browser, and names that are made to lead here, get nothing: the
`Host` must be this address, the first page's path and the answer's `state` are secret, and the state counts once.
"""

from __future__ import annotations

import hmac
import json
import queue
import secrets
import threading
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from github_integration.connecting.exchange import code_of
from github_integration.connecting.manifest import INSTALLED_PATH, Asked, BadAnswer

HOST = "127.0.0.1"
NOBODY = "'none'"
CONNECTED_PATH = "/github/connected/"
STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.55 system-ui,sans-serif;max-width:38rem;margin:3rem auto;"
    "padding:0 1.25rem;overflow-wrap:anywhere}h1{font-weight:500}dt{font-weight:600;margin-top:.75rem}dd{margin:0}"
    "button{font:inherit;padding:.6rem 1.25rem;margin:1.5rem 0;cursor:pointer}"
)


@dataclass
class Answer:
    """What GitHub sent back; whoever takes it says where the browser goes on to, or what went wrong."""

    code: str
    reply: queue.Queue[tuple[str, str]] = field(default_factory=lambda: queue.Queue(1))

    def lead_to(self, address: str) -> None:
        self.reply.put((address, ""))

    def refuse(self, why: str) -> None:
        self.reply.put(("", why))


class LocalPage:
    """Serves until it is closed. Raise OSError if the port can't be had."""

    def __init__(self, asked: Asked | None, port: int) -> None:
        self.asked = asked  # None: there is an App already, and only its installation is waited for
        self.answers: queue.Queue[Answer] = queue.Queue()
        self._token, self._state = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        page = self

        class Bound(Handler):
            owner = page

        self._server = ThreadingHTTPServer((HOST, port), Bound)
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_port}"
        self.hosts = {f"{name}:{self._server.server_port}" for name in (HOST, "localhost")}
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def start_address(self) -> str:
        return f"{self.address}/{self._token}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def is_start(self, path: str) -> bool:
        return self.asked is not None and hmac.compare_digest(path.encode(), f"/{self._token}/".encode())

    def start_page(self) -> tuple[str, str]:
        """Return the page with the form, and the origin that the form is for."""
        asked = self.asked
        assert asked is not None
        manifest = asked.manifest(self.address + CONNECTED_PATH)
        permissions = ", ".join(f"{name}: {level}" for name, level in manifest["default_permissions"].items())
        facts = {
            "Where": f"{asked.github}, {asked.organization or 'your own account'}",
            "It may": permissions,
            "Webhooks": f"to {manifest['hook_attributes']['url']}"
            if asked.webhooks
            else "none; the worker asks instead",
        }
        listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
        return (
            f"<h1>Create the GitHub App</h1><p>GitHub shows it to you once more, and you may change its name there. "
            f"Its key comes back to the command in your terminal.</p><dl>{listed}</dl>"
            f'<form method="post" action="{escape(asked.form_action(self._state))}">'
            f'<input type="hidden" name="manifest" value="{escape(json.dumps(manifest))}">'
            f"<button>Continue on GitHub</button></form>",
            asked.github,
        )

    def take(self, query: str) -> tuple[str, str]:
        """Take GitHub's answer, once; return where the browser goes on to, or what is wrong."""
        asked = parse_qs(query)
        state = asked.get("state", [""])[0]
        try:
            code, _ = code_of(asked.get("code", [""])[0])
        except BadAnswer as exc:
            return "", str(exc)
        with self._lock:
            # Compared before it is used up: what does not fit must not end the true answer's chance.
            if not self._state or not hmac.compare_digest(state.encode(), self._state.encode()):
                return "", "This answer is to no form of this command, or to one that was answered. Nothing was done."
            self._state = ""
        answer = Answer(code)
        self.answers.put(answer)
        return answer.reply.get()


class Handler(BaseHTTPRequestHandler):
    """Answers GET alone."""

    owner: LocalPage
    timeout = 20  # seconds that somebody may be silent
    server_version, sys_version = "connectgithub", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self.headers.get("Host", "").lower() not in self.owner.hosts:
            self._show(403, "<h1>Not here</h1><p>This page is for this machine alone.</p>")
        elif self.owner.is_start(parts.path):
            body, origin = self.owner.start_page()
            self._show(200, body, form=origin)
        elif parts.path == CONNECTED_PATH:
            self._connected(parts.query)
        elif parts.path == INSTALLED_PATH:
            self._show(200, "<h1>Installed</h1><p>The command in your terminal goes on from here.</p>")
        else:
            self._show(404, "<h1>Nothing here</h1><p>Open the address that the command prints.</p>")

    def _connected(self, query: str) -> None:
        address, wrong = self.owner.take(query)
        if address:
            self.send_response(303)
            self.send_header("Location", address)
            self._headers(0)
            return
        self._show(400, f"<h1>That did not work</h1><p>{escape(wrong)}</p>")

    def _show(self, status: int, body: str, *, form: str = "") -> None:
        nonce = secrets.token_urlsafe(12)
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Spell Platform and GitHub</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
            f'<style nonce="{nonce}">{STYLE}</style></head><body><main>{body}</main></body></html>'
        ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        policy = f"default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; form-action {form or NOBODY}"
        self.send_header("Content-Security-Policy", f"{policy}; base-uri 'none'; frame-ancestors 'none'")
        self._headers(len(page))
        self.wfile.write(page)

    def _headers(self, length: int) -> None:
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "strict-origin"),  # not the path, which is secret; GitHub may want to know where from
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            ("Content-Length", str(length)),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: paths hold the code."""
