"""The same cast for programs: run untouched, each asks for just what the form would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from casts.forms.snippets import snippets

SEED = uuid.UUID(int=7)
HARD = {
    "quotes": 'O\'Brien said "no" `pwd` $(pwd) $HOME \\ \\\\ %s',
    "history": "!! !$ wow! 'wow!'",
    "lines": "a\nb\r\nc\td",
    "END": "\nEND\n",
    "unseen": "\u202ereversed\u2028line\x07\x7f\ufeff",
    "letters": "Zoë 名 ✅ </script>",
    "__proto__": {"": [], "o": {}},
    "numbers": [12345678901234567890123, 0.1, -0.0, 1e300, 3, True, False, None],
}
RUN = {
    "curl": ["bash"],
    "python": [sys.executable, "-"],
    "javascript": ["node", "--input-type=module", "-"],
}


@pytest.fixture
def asked() -> Iterator[tuple[str, list[tuple[Any, dict[str, str]]]]]:
    """A server that notes what it is asked, and its address."""
    found: list[tuple[Any, dict[str, str]]] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.append((json.loads(body), {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(201 if self.path == "/api/v1/cast" else 404)
            self.end_headers()
            self.wfile.write(b'{"cast_id": "1"}')

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", found
    server.shutdown()
    server.server_close()


@pytest.mark.processes
@pytest.mark.parametrize("value", [HARD, {}, {"long": "O'Brien! ✅" * 12_000}], ids=["hard", "empty", "long"])
def test_each_asks_for_what_the_form_would(asked: Any, value: Any):
    base, found = asked
    keys = set()
    for one in snippets("greet", value, SEED):
        if shutil.which(RUN[one.key][0]) is None:
            continue
        environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "BASE": base, "KEY": "sk_test", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(RUN[one.key], input=one.text.encode(), capture_output=True, env=environment, timeout=60)
        assert (done.returncode, done.stdout.decode().strip()) == (0, '{"cast_id": "1"}'), (one.key, done.stderr)
        body, headers = found.pop()
        assert json.dumps(body) == json.dumps({"spell_key": "greet", "input": value}), one.key
        assert (headers["authorization"], headers["content-type"]) == ("Bearer sk_test", "application/json")
        keys.add(headers["idempotency-key"])
    assert len(keys) == 1, "whichever is run, it casts once"


def test_another_input_has_another_key():
    first, second = ({one.text for one in snippets("greet", {"n": n}, SEED)} for n in (1, 2))
    assert not first & second


def test_nothing_unseen_stands_in_them():
    for one in snippets("greet", HARD, SEED):
        assert not {char for char in one.text if not char.isprintable() and char != "\n"}, one.key
