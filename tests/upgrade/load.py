"""What callers, people and operators do, over and over, while processes change. Nobody repeats anything: an error is
an error, a refused connection too."""

from __future__ import annotations

import re
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests

from tests.e2e.platform import until
from tests.upgrade.fleet import PASSWORD, Fleet

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
SPELL = "echo"


class Load:
    """Threads, each of which does one thing again and again."""

    def __init__(self, where: Fleet) -> None:
        self.where = where
        self.errors: list[str] = []
        self.done: Counter[str] = Counter()
        self.slowest = 0.0  # seconds until an answer
        self.casts: list[str] = []
        self.ended_casts: list[str] = []
        self._over = threading.Event()
        self._turns: dict[str, int] = {}  # how many of each were begun
        self._ended: dict[str, int] = {}  # the number of the last that has ended
        self.browser = self._logged_in()
        kinds: list[Callable[[], None]] = [self.cast, self.follow, self.cancel, self.retry, self.look]
        self._threads = [threading.Thread(target=self._keep, args=(kind,), daemon=True) for kind in kinds]
        for kind in kinds:
            self._turns[kind.__name__] = self._ended[kind.__name__] = 0

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def a_turn(self) -> None:
        """Wait until each of them has done, from its beginning to its end, what it does."""
        begun = dict(self._turns)
        until(lambda: self.errors or all(self._ended[name] > number for name, number in begun.items()), seconds=300)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    def _keep(self, kind: Callable[[], None]) -> None:
        while not self._over.is_set():
            self._turns[kind.__name__] += 1
            try:
                kind()
            except Exception:  # whatever a caller sees counts
                self.errors.append(f"{kind.__name__} at {time.time():.2f}: {traceback.format_exc(limit=4)}")
            self._ended[kind.__name__] = self._turns[kind.__name__]

    # --- what they do --------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, *, status: int = 200, **options: Any) -> requests.Response:
        """Ask once, on a connection of its own."""
        headers = {"Authorization": f"Bearer {self.where.key}", **options.pop("headers", {})}
        began = time.monotonic()
        answer = requests.request(method, self.where.url + path, headers=headers, timeout=60, **options)
        if "Prefer" not in headers and not options.get("stream"):
            self.slowest = max(self.slowest, time.monotonic() - began)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:500])
        self.done[f"{method} {path.split('/')[3] if path.startswith('/api') else path.split('/')[1]}"] += 1
        return answer

    def cast_one(self, spell: str = SPELL, input: Any = None, **headers: str) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid.uuid4()), **headers}
        body = {"spell_key": spell, "input": input or {"word": "hello"}, "metadata": {"of": "load"}}
        answer: dict[str, Any] = self.ask("POST", "/api/v1/cast", status=201, json=body, headers=headers).json()
        self.casts.append(answer["cast_id"])
        return answer

    def ended(self, cast_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def final() -> bool:  # asked again and again: a web process that is about to end answers at once
            found.update(self.ask("GET", f"/api/v1/casts/{cast_id}", headers={"Prefer": "wait=20"}).json())
            return bool(found["final"])

        until(final, seconds=120)
        return found

    def succeeded(self, cast_id: str) -> None:
        found = self.ended(cast_id)
        assert found["status"] == "succeeded", found
        self.ended_casts.append(cast_id)

    def cast(self) -> None:
        self.succeeded(self.cast_one(Prefer="wait=2")["cast_id"])

    def follow(self) -> None:
        """Follow a cast by its stream; after a goodbye go on behind the last event, as the standard says."""
        cast_id, final = self.cast_one()["cast_id"], False
        ids: list[int] = []
        while not final:
            position = {"Last-Event-ID": str(ids[-1])} if ids else {}
            with self.ask("GET", f"/api/v1/casts/{cast_id}/events?after=0", headers=position, stream=True) as stream:
                told = [line.decode() for line in stream.iter_lines(chunk_size=1)]
            ids += [int(line[4:]) for line in told if line.startswith("id: ")]
            final = any('"final":true' in line.replace(" ", "") for line in told if line.startswith("data: "))
            assert final or "event: restarting" in told, told[-5:]
        assert ids == list(range(1, len(ids) + 1)), ids
        self.done["whole histories"] += 1

    def cancel(self) -> None:
        made = self.cast_one("gate", {"gate": str(self.where.folder / "never")})
        until(lambda: self.ask("GET", f"/api/v1/casts/{made['cast_id']}").json()["progress"] >= 10, every=0.3)
        self.ask("POST", f"/api/v1/casts/{made['cast_id']}/cancel", status=202)
        assert self.ended(made["cast_id"])["status"] == "cancelled"

    def retry(self) -> None:
        first = until(lambda: self.ended_casts and self.ended_casts[-1])
        again = self.ask("POST", f"/api/v1/casts/{first}/retry", status=202).json()["cast_id"]
        self.casts.append(again)
        self.succeeded(again)

    def look(self) -> None:
        """Read what callers, people and operators read."""
        self.ask("GET", "/api/v1/casts?metadata.of=load")
        self.ask("GET", "/api/v1/budget")
        made = self.cast_one()
        page = requests.get(made["progress_url"], timeout=60)
        assert page.status_code == 200, page.text[:500]
        for path in ("/admin/casts/cast/", f"/admin/casts/cast/{made['cast_id']}/change/", "/admin/attention/", "/"):
            answer = self.browser.get(self.where.url + path, timeout=60)
            assert answer.status_code == 200, (path, answer.status_code)
            self.done[f"GET {path.split('/')[1] or 'home'}"] += 1

    def _logged_in(self) -> requests.Session:
        """Return an operator's browser."""
        browser, url = requests.Session(), self.where.url + "/login/"
        browser.headers["Connection"] = "close"
        token = TOKEN.search(browser.get(url, timeout=60).text)
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "login": "boss", "password": PASSWORD}
        answer = browser.post(url, data=form, headers={"Referer": url}, timeout=60)
        assert "sessionid" in "".join(browser.cookies.keys()), (answer.status_code, answer.url, answer.text[:3000])
        return browser
