from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spellplatform.demo import spells_file
from tests.e2e.platform import Platform, platform

SPELLS = spells_file().read_text() + (Path(__file__).parent / "spells.toml").read_text()


@pytest.fixture(scope="package")
def _here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"STREAM_HEARTBEAT_SECONDS": "1", "WEB_THREADS": "4", "WORKER_LEASE_SECONDS": "2"}
    with platform(tmp_path_factory.mktemp("here"), spells=SPELLS, **settings) as running:
        yield running


@pytest.fixture(scope="package")
def _deaf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"WORKER_LEASE_SECONDS": "2", "CAST_LOST_SECONDS": "1", "GITHUB_TIMEOUT": "3"}
    with platform(tmp_path_factory.mktemp("deaf"), spells=SPELLS, webhooks=False, **settings) as running:
        yield running


@pytest.fixture
def here(_here: Platform) -> Iterator[Platform]:
    """A platform that hears webhooks, on a GitHub that behaves well until a test says otherwise."""
    yield _here
    _here.faults(reset=True)


@pytest.fixture
def deaf(_deaf: Platform) -> Iterator[Platform]:
    """A platform that no webhook reaches, as on a laptop, and that gives a lost dispatch up after a second."""
    yield _deaf
    _deaf.faults(reset=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the processes wrote when a test fails."""
    report = yield
    if report.failed:
        for where in {value for value in item.funcargs.values() if isinstance(value, Platform)}:
            report.sections += [(f"{name} log", where.log(name)[-3000:]) for name in ("github", "web", "worker")]
    return report
