"""How gunicorn serves us: `gunicorn -c spellplatform/gunicorn.conf.py spellplatform.asgi`."""

import gc
import os
import signal
from typing import Any

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_PROCESSES", "1"))
worker_class = "asgi"
worker_connections = 20_000
backlog = 2048
graceful_timeout = 10  # seconds
control_socket_disable = True  # otherwise it opens a socket in the home directory
accesslog = os.environ.get("ACCESS_LOG") or None
# Not the query: links carry tokens in it.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(L)ss'
loglevel = os.environ.get("LOG_LEVEL", "info").lower()


def post_worker_init(worker: Any) -> None:
    """Prepare a process that has loaded everything.

    What is loaded stays: the garbage collector need not walk through it again and again, which takes it a tenth of a
    second each time. And it need not come so often: almost nothing here is a cycle.

    On SIGTERM close the streams first: gunicorn itself would wait for them, then cut them off without a word.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)

    def on_term() -> None:
        from casts import streams

        streams.stop()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, on_term)
