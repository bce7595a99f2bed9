"""What processes count is added up, whichever of them live, and nothing is lost or counted twice when they end."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from prometheus_client.multiprocess import MultiProcessCollector

from core.telemetry import books

COUNTING = """
import os, sys
os.environ["VAR_DIR"] = sys.argv[1]
import django
from django.conf import settings
settings.configure(VAR_DIR=sys.argv[1], INSTALLED_APPS=[])
from core.telemetry.metrics import counter, gauge, histogram
done = counter("spell_test_total", "Done.", "how")
took = histogram("spell_test_seconds", "Took.", buckets=(1, 2))
now = gauge("spell_test_open", "Open.")
if len(sys.argv) > 2:
    os.fork()  # each of the two counts for itself
done.labels("well").inc(3)
took.observe(1.5)
now.inc(2)
os.write(1, b"counted\\n")
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    return tmp_path / "metrics"


@pytest.fixture
def counting(folder):
    """Start a process that has counted and lives until it is killed."""
    started = []

    def start(*more, counted=1):
        command = [sys.executable, "-c", COUNTING, str(folder.parent), *more]
        process = subprocess.Popen(
            command,
            cwd=django_settings.BASE_DIR,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        for _ in range(counted):
            assert process.stdout.readline() == b"counted\n"
        return process

    yield start
    for process in started:
        end(process)


def end(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def told():
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in books.numbers()
        for sample in family.samples
    }


def of(times, living):
    open_now = {("spell_test_open",): 2.0 * living} if living else {}
    return open_now | {
        ("spell_test_total", ("how", "well")): 3.0 * times,
        ("spell_test_seconds_bucket", ("le", "2.0")): 1.0 * times,
        ("spell_test_seconds_count",): 1.0 * times,
        ("spell_test_seconds_sum",): 1.5 * times,
    }


@pytest.mark.processes
def test_what_killed_processes_counted_stays_and_their_files_go(folder, counting):
    first, second = counting(), counting("fork", counted=2)
    assert told() == of(3, living=3)
    assert len(list(folder.glob("*.alive"))) == 3
    end(second)
    assert told() == of(3, living=1)
    end(first)
    assert told() == told() == of(3, living=0)
    left = sorted(path.name.rstrip("0123456789.db") for path in folder.iterdir())
    assert left == ["counter_past", "histogram_past", "past.json"]
    end(counting())
    assert told() == of(4, living=0)


@pytest.mark.processes
@pytest.mark.parametrize("step", ["write_value", "write", "unlink"])
def test_adding_up_may_be_killed_anywhere(folder, counting, monkeypatch, step):
    """Killed while the new past is written, just before it counts, and before what it holds was removed."""
    end(counting())
    assert told() == of(1, living=0)
    end(counting())

    class Killed(BaseException):
        pass

    def killed(*args, **options):
        raise Killed

    owner = {"write_value": books.Book, "write": books.Past, "unlink": Path}[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killed)
        with pytest.raises(Killed):
            books.tidy(folder)
    assert told() == of(2, living=0)
    assert not list(folder.glob("*.alive"))


@pytest.mark.processes
def test_who_reads_while_others_add_up_sees_the_same(folder, counting, monkeypatch):
    end(counting())
    merge: Any = MultiProcessCollector.merge
    tidied: list[set[str]] = []

    def meanwhile(files):
        found = merge(files)
        if not tidied:  # after these were read, before the past is compared
            tidied.append(dead := books.names(folder))
            books.add_up(folder, books.Past.read(folder), dead, still=dead)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(books, "tidy", lambda where: None)
        patch.setattr(MultiProcessCollector, "merge", staticmethod(meanwhile))
        assert told() == of(1, living=0)
    assert len(tidied) == 1
    assert told() == of(1, living=0)


def test_a_file_that_was_cut_off_takes_nothing_else_along(folder, caplog):
    folder.mkdir()
    (folder / "counter_1-dead.db").write_bytes(b"\xff\x7f\x00\x00rest")
    assert told() == {}
    assert "metrics can't be read" in caplog.text


@pytest.mark.parametrize("why", ["no folder", "full"])
def test_counting_goes_on_where_nothing_can_be_written(tmp_path, settings, monkeypatch, why, caplog):
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / ("file" if why == "no folder" else "")
    if why == "full":

        def full(file, start, size):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(books, "here", books.Here())
    value = books.Value("counter", "spell_x", "spell_x_total", (), (), "X.")
    value.inc(1)
    value.inc(1)
    assert value.get() == 2
    assert caplog.text.count("metrics are not kept") == 1
