"""How gunicorn serves us: `gunicorn -c spellplatform/gunicorn.conf.py spellplatform.asgi`."""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

from gunicorn import glogging
from gunicorn.asgi import protocol as wire

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gunicorn reads this file before it looks there

from core.limits import HEAD_SECONDS  # noqa: E402 - found only now
from spellplatform import logging  # noqa: E402 - likewise
from spellplatform.env import BadSetting, Env, read_beside  # noqa: E402 - likewise

# The same reader as that of the settings. Not into os.environ: on SIGHUP both read the file anew.
values = dict(os.environ)
try:
    read_beside(ROOT, values)
    env = Env(values)
    bind = env.str("BIND", default="127.0.0.1:8000").strip()
    workers = env.int("WEB_PROCESSES", default=1, least=1)
    head_seconds = env.int("REQUEST_HEAD_SECONDS", default=HEAD_SECONDS, least=1)
    level = env.str("LOG_LEVEL", default="INFO", among=("DEBUG", "INFO", "WARNING", "ERROR"))
    debug = env.bool("DEBUG", default=False)
    form = env.str("LOG_FORMAT", default="console" if debug else "json", among=("json", "console"))
except BadSetting as exc:
    sys.exit(str(exc))
loglevel = level.lower()
accesslog = None  # ours is core.asgi.access_log, in which no address and no token stands
worker_class = "asgi"
worker_connections = 20_000
backlog = 2048
# Seconds that an idle connection stays open: longer than any proxy keeps one for its next request (nginx 60, Caddy 120
# by default), else a POST may meet one that we are closing. deploy/nginx and deploy/caddy have 60.
keepalive = 150
# Bytes. What is longer than core.limits.TARGET_BYTES is answered there, with a problem that says so.
limit_request_line = 200_000
graceful_timeout = 10  # seconds
LINGER = 1.0  # seconds, from SIGTERM until idle connections are closed
control_socket_disable = True  # otherwise it opens a socket in the home directory
# No banner that tells a stranger what serves here. gunicorn has no public name for it; a test looks at its answers.
wire._CACHED_SERVER_HEADER = b""


class logger_class(glogging.Logger):  # type: ignore[misc]  # noqa: N801 - the setting's name
    """gunicorn's own lines, in the shape of all others and through the same redaction."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if cfg.errorlog == "-":  # unless somebody asked for a file, on the command line
            for handler in list(self.error_log.handlers):
                self.error_log.removeHandler(handler)
            self.error_log.propagate = True
            logging.configure({"level": level, "format": form})


def end_without_head(reference: Callable[[], Any]) -> None:
    """End a connection that has not sent the head of its first request in time; gunicorn would wait for ever.

    For the head of a later request, `keepalive` is the limit.
    """
    connection = reference()
    # gunicorn's own marks, and no public ones; tests/e2e/test_bounds.py notices if they go.
    if connection is not None and getattr(connection, "_awaiting_request", False) and connection.req_count <= 1:
        connection.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.transport.close()


def has_sent(transport: Any) -> bool:
    """Whether something came that was not read yet."""
    held = transport.get_extra_info("socket")
    if held is None or held.fileno() < 0:
        return False
    reading = select.poll()
    reading.register(held.fileno(), select.POLLIN)
    return bool(reading.poll(0))


def post_worker_init(worker: Any) -> None:
    """Prepare a process once it has loaded everything: garbage collection, and an orderly end."""
    # What is loaded stays: the collector need not walk through it again and again, a tenth of a second each time.
    # Nor need it run so often: almost nothing here is a cycle.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    # Python's 5 ms: a request that needs the interpreter ten times waits that long, each time, for every thread that
    # computes something large.
    sys.setswitchinterval(0.001)

    made_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()  # by the loop's clock, of each connection
    create_server = worker.loop.create_server

    def tracking(protocol: Callable[[], Any], **options: Any) -> Any:
        def made() -> Any:
            made_at[connection := protocol()] = worker.loop.time()
            worker.loop.call_later(head_seconds, end_without_head, ref(connection))
            return connection

        return create_server(made, **options)

    worker.loop.create_server = tracking

    def close_idle() -> None:
        """Close connections that wait for a next request: gunicorn would wait for them, then cut them off.

        Not at once: on one that is in use the next request comes within LINGER, and its answer says that it was the
        last. Whoever sent one meanwhile that was not read yet would never know whether it was carried out.
        """
        for connection, since in list(made_at.items()):
            # gunicorn's own mark, and no public one; without it, it would only take `graceful_timeout` longer.
            idle = getattr(connection, "_awaiting_request", False) and worker.loop.time() - since > LINGER
            if idle and not has_sent(connection.transport):
                connection.transport.close()
        worker.loop.call_later(LINGER / 10, close_idle)

    def on_term() -> None:
        from casts.live import hub

        for server in worker.servers:  # now, and not only when gunicorn next looks, up to a second later
            server.close()
        hub.stop()  # streams first: each is told to come back, and comes to somebody else
        worker.handle_exit_signal()
        worker.loop.call_later(LINGER, close_idle)

    worker.loop.add_signal_handler(signal.SIGTERM, on_term)
