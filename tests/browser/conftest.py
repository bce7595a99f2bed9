"""A real Chromium on a real platform. Playwright runs an event loop in this thread: keep Django's ORM out of here."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from spellplatform.demo import spells_file
from tests.browser.mailbox import Mailbox, mailbox
from tests.e2e.platform import Platform, platform

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # No page is open for long enough that compiling its scripts for speed, again in every window, would pay.
    "--js-flags=--single-threaded,--no-maglev,--no-turbofan",
]
SPELLS = """
[hostile]
name = "<script>window.hurt = 'name'</script>"
workflow_file = "hostile.yml"
input_schema = { type = "object" }

[misplaced]
name = "Misplaced"
workflow_file = "nowhere.yml"
price_cents = 3
show_run = false
show_input = false
input_schema = { type = "object" }

[strict]
name = "Strict"
workflow_file = "hostile.yml"
input_schema = { type = "object" }
output_schema = { type = "object", additionalProperties = false, properties = { long = { type = "integer" } } }

[showcase]
name = "Release a version"
workflow_file = "showcase.yml"
input_schema = { type = "object" }

[showcase.output_schema.properties]
version = { title = "Version", description = "As it is on the index" }
released_at = { title = "Released", type = "string", format = "date-time" }
notes = { title = "Notes", type = "string", contentMediaType = "text/markdown" }
"""


def chromium() -> str | None:
    """Return where a Chromium is, by the CHROMIUM variable or by its usual names."""
    return os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        why = f"no Chromium here: install one ({', '.join(NAMES)}), or name it in CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="package")
def mails() -> Iterator[Mailbox]:
    """Where the mail of `here` goes."""
    with mailbox() as box:
        yield box


@pytest.fixture(scope="package")
def here(browser: Browser, mails: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with the demo's spells and two hostile ones; not started where there is no browser."""
    spells = spells_file().read_text() + SPELLS
    settings = {"EMAIL_URL": mails.url, "CALLBACK_ALLOWED_HOSTS": "127.0.0.1"}
    with platform(tmp_path_factory.mktemp("platform"), spells=spells, **settings) as running:
        yield running


expect.set_options(timeout=20_000)  # milliseconds; a busy machine starts processes slowly


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page in a window of its own. Every error in its console fails the test: CSP violations are such errors."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_one(url: str, *, quiet: bool = True, cookies: Any = (), **options: Any) -> Page:
        context = browser.new_context(**{"timezone_id": "UTC", "viewport": {"width": 1100, "height": 900}} | options)
        context.set_default_timeout(20_000)
        context.add_cookies(cookies)
        contexts.append(context)
        page = context.new_page()
        if quiet:
            page.on("console", lambda told: errors.append(told.text) if told.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


def writable(here: Platform) -> bool:
    """Whether nobody holds the SQLite file's write lock."""
    if not here.database_url.startswith("sqlite"):
        return True
    file = here.database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
    return True


@contextmanager
def held(here: Platform) -> Iterator[None]:
    """Have the worker stand still, so that a new cast stays queued for as long as a test looks at it."""
    worker = here.running["worker"]
    worker.send_signal(signal.SIGSTOP)
    while not writable(here):  # it was in the middle of a write, and would keep everybody else from writing
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)
