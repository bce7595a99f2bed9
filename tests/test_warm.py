"""What starts warm is as it would be if it had started cold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests import warm
from tests.deploy.sandbox import needs, sandbox

pytestmark = pytest.mark.processes
SEEN = """
import json, os, resource, sys
print(json.dumps({
    "arguments": sys.argv, "path": sys.path[0], "name": __name__, "folder": os.getcwd(), "ours": "core" in sys.modules,
    "environment": dict(os.environ), "open": len(os.listdir("/proc/self/fd")), "files": resource.getrlimit(7),
    "session": os.getsid(0) == os.getpid(), "in": sys.stdin.read(), "umask": os.umask(0),
}, sort_keys=True))
"""


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("how", ["code", "file", "module"])
def test_it_sees_what_it_would_see(tmp_path, how, session):
    (tmp_path / "seen.py").write_text(SEEN)
    command = [sys.executable, *{"code": ["-c", SEEN], "file": ["seen.py"], "module": ["-m", "seen"]}[how], "a", "--b"]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "WORD": "Ünïcode"}
    given = {"cwd": tmp_path, "env": environment, "start_new_session": session}
    told = []
    for start in (warm.Popen, subprocess.Popen):
        with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **given) as process:
            told.append(process.communicate("said", timeout=60)[0])
        assert process.returncode == 0
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("code", "returncode"),
    [
        ("", 0),
        ("import sys; sys.exit(3)", 3),
        ("1/0", 1),
        ("import os; os.kill(os.getpid(), 2)", -2),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_it_ends_as_it_would_end(code, returncode):
    assert warm.run([sys.executable, "-c", code], capture_output=True).returncode == returncode


def test_it_can_be_asked_waited_for_and_stopped():
    with warm.Popen([sys.executable, "-c", "print('on', flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
        assert process.poll() == -signal.SIGTERM


def test_what_goes_wrong_is_shown():
    done = warm.run([sys.executable, "-c", "import atexit; atexit.register(print, 'last'); 1/0"], capture_output=True)
    assert done.stdout == "last\n"
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_it_starts_nothing_in_another_network_than_the_one_who_asks_is_in():
    needs()
    assert warm.run([sys.executable, "-c", ""]).returncode == 0
    with sandbox() as where, where.inside(), pytest.raises(AssertionError, match="another network"):
        warm.run([sys.executable, "-c", ""])
    assert warm.run([sys.executable, "-c", ""]).returncode == 0
