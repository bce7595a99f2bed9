"""The local Stripe for tests: one server for the session, a new and empty world for each test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urljoin

import requests

from localstripe.store import public

SECRET_KEY = "sk_test_local"
WEBHOOK_SECRET = "whsec_local"
# Numbers that the hosted pages take; https://docs.stripe.com/testing has what they do.
VISA = "4242424242424242"
DECLINED, INSUFFICIENT_FUNDS, EXPIRED = "4000000000000002", "4000000000009995", "4000000000000069"
FAILS_WHEN_CHARGED = "4000000000000341"  # can be saved
ALWAYS_AUTHENTICATES = "4000002760003184"
AUTHENTICATES_UNLESS_SET_UP = "4000002500003155"  # once saved, off-session payments pass
DISPUTED, REFUND_FAILS = "4000000000000259", "4000000000005126"


class Stripe:
    """Steers a local Stripe over HTTP, whether it runs in this process or not."""

    def __init__(self, url: str, key: str = SECRET_KEY) -> None:
        self.url, self.key, self.webhook_secret = url, key, WEBHOOK_SECRET
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def client(self, **options: Any) -> Any:
        """Return the official SDK's client; it repeats nothing unless asked (`max_network_retries`)."""
        import stripe

        http = stripe.RequestsClient()
        usual = {"max_network_retries": 0, "http_client": http, "base_addresses": {"api": self.url}}
        return stripe.StripeClient(self.key, **{**usual, **options})

    def local(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, f"{self.url}/_local/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def record(self, path: str = "", method: str = "") -> list[dict[str, Any]]:
        """Return what was asked of the API, oldest first."""
        found = self.local("GET", "record")["requests"]
        return [one for one in found if path in one["path"] and method in ("", one["method"])]

    def faults(self, **wanted: Any) -> None:
        self.local("POST", "faults", wanted)

    def advance(self, seconds: float) -> int:
        """Set its clock forward; return its time."""
        return self.local("POST", "clock", {"advance_seconds": seconds})["now"]

    def add_endpoint(self, url: str, *, secret: str = WEBHOOK_SECRET, events: tuple[str, ...] = ("*",)) -> str:
        """Have events sent to an address; return the endpoint's id."""
        return self.local("POST", "endpoints", {"url": url, "secret": secret, "enabled_events": list(events)})["id"]

    def checkout(self, url: str, number: str = VISA, *, authenticate: bool = True, **typed: str) -> Visit:
        """Fill in a hosted page as a browser without JavaScript does, and pass the bank's page if it asks."""
        form = {"number": number, "expiry": "12/34", "cvc": "123", "name": "Test Person", "email": "test@example.com"}
        return self.follow(*Page.get(url).send(**{**form, **typed}), authenticate=authenticate)

    def authenticate(self, url: str, *, passes: bool = True) -> Visit:
        """Answer the bank's page of a `next_action`."""
        return self.follow(url, "", authenticate=passes)

    def follow(self, url: str, text: str, *, authenticate: bool) -> Visit:
        while url.startswith(self.url):
            page = Page.get(url)
            if page.location:
                url = page.location
            elif "/3ds/" in page.url and page.action:
                url, text = page.send(outcome="complete" if authenticate else "fail")
            else:
                return Visit(page.url, page.alert or page.text)
        return Visit(url, text)

    def dispute(self, payment_intent: str, **more: Any) -> dict[str, Any]:
        """Have the cardholder object to a payment; `amount`, `reason` and `inquiry` may be given."""
        return self.local("POST", "disputes", {"payment_intent": payment_intent, **more})

    def decide(self, dispute: str, status: str) -> dict[str, Any]:
        """Have the bank decide a dispute: won or lost."""
        return self.local("POST", f"disputes/{dispute}", {"status": status})

    def close_period(self, subscription: str, *, finalize: bool = True) -> dict[str, Any]:
        """End a subscription's period now; return its invoice, which is final and paid or a draft."""
        return self.local("POST", "invoices/close", {"subscription": subscription, "finalize": finalize})

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a type, such as payment_intent, newest first."""
        return self.local("GET", f"state?kind={kind}")["objects"][kind]

    def misfits(self) -> list[str]:
        """Return what fits not the types of Stripe's SDK: in what was asked of it, and in the objects that it has.

        For a server in a process of its own; in this one, each answer is judged as it goes out.
        """
        from . import stripetypes

        found = list(stripetypes.recorded(self.record()))
        for kind in self.local("GET", "state")["counts"]:
            for one in self.objects(kind):
                found += [f"{kind}: {problem}" for problem in stripetypes.answer(one, v2=kind.startswith("v2."))]
        return found

    def events(self, prefix: str = "") -> list[str]:
        """Return the types of all events, oldest first."""
        types = [event["type"] for event in reversed(self.objects("event"))]
        return [one for one in types if one.startswith(prefix)]


class Visit(NamedTuple):
    """Where a visit of hosted pages ended, and what the last one said: the problem, if it was one."""

    url: str
    text: str


class Page(HTMLParser):
    """A hosted page, as far as a form needs it."""

    def __init__(self, url: str, answer: requests.Response) -> None:
        super().__init__()
        self.url, self.location = url, urljoin(url, answer.headers.get("Location", "")) if answer.is_redirect else ""
        self.action, self.fields, self.alert, self.text = "", dict[str, str](), "", ""
        self._alerting = False
        self.feed(answer.text)

    @classmethod
    def get(cls, url: str) -> Page:
        return cls(url, requests.get(url, allow_redirects=False, timeout=10))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "form":
            self.action = urljoin(self.url, known.get("action") or "")
        # Of radio buttons, the one that is checked; a checkbox is left out until it is given.
        elif tag == "input" and (known.get("type") not in ("radio", "checkbox") or "checked" in known):
            self.fields[known.get("name") or ""] = known.get("value") or ""
        self._alerting = known.get("role") == "alert"

    def handle_endtag(self, tag: str) -> None:
        self._alerting = False

    def handle_data(self, data: str) -> None:
        self.text += data
        self.alert += data if self._alerting else ""

    def send(self, **typed: str) -> tuple[str, str]:
        """Send the form, with what was typed in; return where it leads, if anywhere, and what is said there."""
        assert self.action, f"no form at {self.url}: {self.text}"
        answer = requests.post(self.action, {**self.fields, **typed}, allow_redirects=False, timeout=10)
        page = Page(self.action, answer)
        return page.location, page.alert or page.text


class Receiver:
    """A webhook's other end; gives the listed answers first, then 200, and keeps what came in the order of arrival."""

    def __init__(self, answers: list[int] | None = None) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        answers, receiver = answers or [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(answers.pop(0) if answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, raw))

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + 20
        while len(self.got) < count:
            assert time.monotonic() < end, f"only {len(self.got)} of {count} came"
            time.sleep(0.01)


class Judged:
    """A local Stripe in this process. All that goes in and out of its API is held against the SDK's types."""

    def __init__(self) -> None:
        from localstripe.config import Config
        from localstripe.server import LocalStripe

        from . import stripetypes

        self.server = LocalStripe(Config(port=0, secret_key=SECRET_KEY, webhook_secret=WEBHOOK_SECRET))
        self.judge = self.server.wrap(stripetypes.Judge)

    def begin_anew(self) -> Stripe:
        self.server.begin_anew()
        self.judge.problems.clear()
        return Stripe(self.server.config.base_url)

    def found(self) -> list[str]:
        """Return what fits not Stripe's types, in requests, answers and events, since it began anew."""
        world = self.server.world
        with world.lock:
            for kind in ("event", "v2.core.event"):
                for event in world.store.all(kind):
                    self.judge.hear(public(event))
            json.dumps(world.dump())  # raises for what would not outlive the process
        return self.judge.problems


def serve() -> Iterator[Judged]:
    judged = Judged()
    judged.server.start()
    yield judged
    judged.server.stop()
