from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from spellplatform.demo import spells_file
from tests.e2e.platform import Platform, platform, until

SPELLS = spells_file().read_text() + (Path(__file__).parent / "spells.toml").read_text()


def leaves_everything_in_order(where: Platform) -> None:
    """Check what must be true whatever the tests did: all ended, no gap in any history, the books add up."""
    until(lambda: not where.rows("SELECT id FROM casts_cast WHERE status IN ('queued', 'running')"))
    gaps = "GROUP BY cast_id HAVING MIN(seq) <> 1 OR MAX(seq) <> COUNT(*)"
    assert where.rows(f"SELECT cast_id FROM casts_castevent {gaps}") == []
    doubles = "GROUP BY run_scope, run_key HAVING COUNT(*) > 1"
    assert where.rows(f"SELECT run_key FROM casts_cast WHERE run_key IS NOT NULL {doubles}") == []
    sums = {
        kind: where.rows("SELECT SUM(cents) AS n FROM accounts_ledgerentry WHERE kind = ?", kind)[0]["n"] or 0
        for kind in ("hold", "capture", "release")
    }
    assert sums["hold"] == sums["capture"] + sums["release"]
    held, captured = (f"COALESCE(SUM({name}_cents), 0) AS {name}" for name in ("held", "captured"))
    [books] = where.rows(f"SELECT {held}, {captured} FROM accounts_budgetperiod")
    assert (books["held"], books["captured"]) == (0, sums["capture"])
    # Of each cast what was held is taken or given back, all of it.
    unsettled = "GROUP BY cast_id HAVING SUM(CASE kind WHEN 'hold' THEN cents ELSE -cents END) <> 0 OR COUNT(*) < 2"
    assert where.rows(f"SELECT cast_id FROM accounts_ledgerentry {unsettled}") == []


@pytest.fixture(scope="package")
def _here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {
        "STREAM_HEARTBEAT_SECONDS": "1",
        "STREAM_ACCESS_SECONDS": "0.5",
        "WEB_THREADS": "4",
        "WORKER_LEASE_SECONDS": "2",
    }
    with platform(tmp_path_factory.mktemp("here"), spells=SPELLS, **settings) as running:
        yield running
        leaves_everything_in_order(running)


@pytest.fixture(scope="package")
def _deaf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"WORKER_LEASE_SECONDS": "2", "CAST_LOST_SECONDS": "1", "GITHUB_TIMEOUT": "3"}
    with platform(tmp_path_factory.mktemp("deaf"), spells=SPELLS, webhooks=False, **settings) as running:
        yield running
        leaves_everything_in_order(running)


@pytest.fixture
def here(_here: Platform) -> Iterator[Platform]:
    """A platform that hears webhooks, on a GitHub that behaves well until a test says otherwise."""
    yield _here
    _here.open_gates()
    _here.faults(reset=True)


@pytest.fixture
def deaf(_deaf: Platform) -> Iterator[Platform]:
    """A platform that no webhook reaches, as on a laptop, and that gives a lost dispatch up after a second."""
    yield _deaf
    _deaf.open_gates()
    _deaf.faults(reset=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes wrote when a test fails."""
    report = yield
    if report.failed:
        for where in {value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Platform)}:
            report.sections += [(f"{name} log", where.log(name)[-3000:]) for name in ("github", "web", "worker")]
    return report
