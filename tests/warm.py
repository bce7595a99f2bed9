"""Programs of ours that start warm: forked from a process that has imported the libraries already.

Importing them takes four times as long as all else at the start of `manage.py` or the web server, and tests start
hundreds. What is forked is a process like any other: it reads its environment, its arguments and all our code anew, and
can be stopped and killed. Starting cold is tested where it is the point: the demo, and the documentation's examples.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import json
import os
import resource
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NETWORK = "/proc/thread-self/ns/net"
NUMBER = struct.Struct("i")  # how ids and exit statuses are passed on
# What web, worker, commands and the local GitHub import of others, as far as it needs no settings and notes nothing of
# where it is imported: gunicorn keeps the folder.
LIBRARIES = [
    *("asyncio", "concurrent.futures", "logging.config", "sqlite3", "tomllib", "unittest.mock", "zipfile"),
    *("allauth.account.app_settings", "cryptography.fernet", "cryptography.hazmat.primitives.kdf.hkdf"),
    *("cryptography.x509", "csp.checks", "django.contrib.admin.checks", "django.contrib.admin.filters"),
    *("django.contrib.admin.sites", "django.contrib.postgres.fields", "django.core.management.commands.migrate"),
    *("django.core.serializers.json", "django.core.wsgi", "django.db.backends.postgresql.base"),
    *("django.db.backends.sqlite3.base", "django.db.migrations.executor", "django.db.models", "django.forms"),
    *("django.template.defaulttags", "django.template.loader_tags", "django.test.client", "django.urls"),
    *("django.views.generic", "drf_spectacular.utils", "environ"),
    *("jsonschema_rs", "jwt", "psycopg", "requests", "rest_framework.compat", "rest_framework.serializers"),
    *("structlog", "uvloop", "werkzeug.serving", "whitenoise.middleware", "yaml"),
]


# --- who asks ------------------------------------------------------------------------------------------------------


@functools.cache
def _starter() -> tuple[socket.socket, str]:
    """Return the way to the process that forks, and whose network it is in; it ends with this one."""
    # Each message is whole, and several threads may send.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
    process = subprocess.Popen(command, cwd=ROOT, env=kept, pass_fds=[theirs.fileno()])
    process.returncode = 0  # nobody waits for it
    theirs.close()
    atexit.register(ours.close)
    return ours, os.readlink(NETWORK)


class Popen(subprocess.Popen[Any]):
    """subprocess.Popen for `python FILE`, `python -m MODULE` and `python -c CODE`, with the usual arguments."""

    def _execute_child(self, *given: Any) -> None:
        own: Any = subprocess.Popen
        how = inspect.signature(own._execute_child).bind(self, *given).arguments
        command = [os.fspath(part) for part in how["args"]]
        assert command[0] == sys.executable, command
        way, network = _starter()
        assert network == os.readlink(NETWORK), "It would be in another network than you; start it cold."
        sys.audit("subprocess.Popen", command[0], command, how["cwd"], how["env"])
        pipes = {name: how[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")}
        ends = [
            how[name] if how[name] != -1 else usual for usual, name in enumerate(("p2cread", "c2pwrite", "errwrite"))
        ]
        wanted = {
            "argv": command[1:],
            "cwd": os.fspath(how["cwd"] or Path.cwd()),
            "environment": dict(os.environ if how["env"] is None else how["env"]),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "new_session": how["start_new_session"],
        }
        self._told, tells = os.pipe()
        try:
            socket.send_fds(way, [json.dumps(wanted).encode()], [*ends, tells])
        finally:
            os.close(tells)
            self._close_pipe_fds(**pipes)  # type: ignore[attr-defined]
        self.pid = self._number()
        self._child_created = True

    def _number(self) -> int:
        """Return the next number that the starter tells: first the id, then, when it has ended, the exit status."""
        told = os.read(self._told, NUMBER.size)
        assert told, "the process that forks has ended"
        number: int = NUMBER.unpack(told)[0]
        return number

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Return our id and the exit status, or zeros if it is still at work; as waitpid() does."""
        if wait_flags & os.WNOHANG:
            waiting = select.poll()  # any number of files, unlike select()
            waiting.register(self._told, select.POLLIN)
            if not waiting.poll(0):
                return 0, 0
        status = self._number()
        os.close(self._told)
        return self.pid, status

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None and (found := self._try_wait(os.WNOHANG))[0]:
                    self._handle_exitstatus(found[1])  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    command: list[str], *, check: bool = False, timeout: float | None = None, capture_output: bool = False, **how: Any
) -> subprocess.CompletedProcess[str]:
    """subprocess.run for such a program; text."""
    if capture_output:
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, text=True, **how) as process:
        try:
            out, error = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, out, error)
    if check:
        done.check_returncode()
    return done


# --- who forks -----------------------------------------------------------------------------------------------------


def serve(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for whoever asks, and tell how each child has ended. Return in the child, with what is wanted of it."""
    with selectors.DefaultSelector() as events:
        events.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.data:
                    pid, tells = key.data
                    events.unregister(key.fileobj)
                    os.close(key.fd)
                    with contextlib.suppress(BrokenPipeError):
                        os.write(tells, NUMBER.pack(os.waitpid(pid, 0)[1]))
                    os.close(tells)
                    continue
                wanted, files, _, _ = socket.recv_fds(asked, 1 << 20, 4)
                if not wanted:
                    sys.exit()
                pid = os.fork()
                if pid == 0:
                    return json.loads(wanted), files
                for number in files[:3]:
                    os.close(number)
                events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, files[3]))


def become(wanted: dict[str, Any], files: list[int]) -> None:
    """Be as if started as is wanted, up to the first line of the program."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if wanted["new_session"]:
        os.setsid()
    os.write(files[3], NUMBER.pack(os.getpid()))
    for usual, number in enumerate(files[:3]):
        os.dup2(number, usual)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that lists them
                os.close(int(name))
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(wanted["files"]))
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    more = os.environ.get("PYTHONPATH", "")
    sys.path[:] = ["", *filter(None, more.split(os.pathsep)), *sys.path[1:]]


def begin(argv: list[str]) -> None:
    """Run `FILE …`, `-m MODULE …` or `-c CODE …` as the interpreter would."""
    if argv[0] == "-m":
        sys.argv, sys.path[0] = argv[1:], os.getcwd()
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        return
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    if argv[0] == "-c":
        sys.argv, code = ["-c", *argv[2:]], compile(argv[1], "<string>", "exec")
    else:
        file = Path(argv[0])
        sys.argv, sys.path[0], module.__file__ = argv, str(file.resolve().parent), argv[0]
        code = compile(file.read_bytes(), argv[0], "exec")
    exec(code, module.__dict__)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, at whose end this one ends
    with socket.socket(fileno=int(sys.argv[1])) as way:
        child = serve(way)
    become(*child)
    begin(child[0]["argv"])
