import io
from collections.abc import Callable, Iterable
from typing import Any

from .checks import REFUSED, answer, exchange, notification


class Judge:
    """A WSGI application around a stand-in: what goes in and out of its API and fits not Stripe's types is kept."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.problems: list[str] = []
        self.judged = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(("/v1/", "/v2/")):
            return self.app(environ, start_response)
        asked = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(asked)
        begun: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            begun[:] = [status, headers, exc_info]
            return given.append  # the old way to write, which WSGI demands

        given: list[bytes] = []
        given += self.app(environ, begin)
        status = int(begun[0].split()[0])
        method, target = environ["REQUEST_METHOD"], f"{path}?{environ.get('QUERY_STRING', '')}"
        found = exchange(method, target, asked, status, b"".join(given), refused=status in REFUSED)
        self._keep(f"{method} {path} {status}", found)
        start_response(*begun)
        return given

    def hear(self, event: dict[str, Any]) -> None:
        """Judge an event, or what a webhook brought of it."""
        v2 = event.get("object") == "v2.core.event"
        thin = v2 and "data" not in event
        self._keep(f"event {event.get('type')}", notification(event) if thin else answer(event, v2=v2))

    def _keep(self, about: str, found: Iterable[str]) -> None:
        self.judged += 1
        self.problems += [f"{about}: {problem}" for problem in found]
