"""Factories with plain defaults, shared by all tests."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest
from asgiref.sync import AsyncSingleThreadContext
from django import conf
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from hypothesis import settings as hypothesis_settings
from whitenoise.middleware import WhiteNoiseMiddleware

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey
from casts.models import Spell
from tests import described, stripes, thorough, warm
from tests.spells import stored_spell

# A landing must not depend on what chance draws; everybody else's runs go on searching.
hypothesis_settings.register_profile("ci", derandomize=True)
hypothesis_settings.register_profile("fast", max_examples=20)
if os.environ.get("CI"):
    hypothesis_settings.load_profile("ci")
elif os.environ.get("FAST"):
    hypothesis_settings.load_profile("fast")

# --- what a test needs ---------------------------------------------------------------------------------------------

Function = TypeVar("Function", bound=Callable[..., Any])
HERE = Path(__file__).parent
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}
HARMLESS = {"git", "node", "docker", "uname"}  # over in milliseconds; all but the first only say which they are
# The test that runs now, and what it started without saying so.
_now: dict[str, Any] = {"item": None, "started": []}


def marking(*names: str) -> Callable[[Function], Function]:
    """Mark every test that uses this fixture; goes below `@pytest.fixture`."""

    def mark(fixture: Function) -> Function:
        fixture.__dict__["marks"] = names
        return fixture

    return mark


def _marks_of_fixtures(item: Any) -> Iterator[str]:
    for name in getattr(item, "fixturenames", ()):
        for found in item._fixtureinfo.name2fixturedefs.get(name, ()):
            yield from getattr(found.func, "marks", ())


def knows_a_database(item: pytest.Item) -> bool:
    """Whether a test may find something else on Postgres than on SQLite."""
    marked = any(item.get_closest_marker(name) for name in ("django_db", "database"))
    return marked or not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-only", action="store_true", help="only tests that know a database")
    parser.addoption("--quick", action="store_true", help="only tests that are not in tests/thorough.txt")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        marks = set(_marks_of_fixtures(item))
        if HERE / "e2e" in item.path.parents:
            marks |= {"processes", "database"}
        elif HERE / "browser" in item.path.parents:
            marks.add("processes")  # the page is the same whatever the database is
        # Who asks which database there is, or makes one of its own, would be left out on Postgres without a word.
        if not {"new_database", "server"}.isdisjoint(vars(getattr(item, "module", item))):
            marks.add("database")
        for name in sorted(marks):
            item.add_marker(name)
    if config.getoption("--database-only"):
        leave_out(config, items, {item for item in items if not knows_a_database(item)})
    if config.getoption("--quick"):
        slow = thorough.known()
        leave_out(config, items, {item for item in items if thorough.function_of(item.nodeid) in slow})


def leave_out(config: pytest.Config, items: list[pytest.Item], some: set[pytest.Item]) -> None:
    """Take some tests off the list, and have pytest say how many."""
    config.hook.pytest_deselected(items=list(some))
    items[:] = [item for item in items if item not in some]


# Thousands of tests stay until the end. To look through them again and again for what nobody needs is 40 % of what it
# takes to collect them, and would be a tenth of what it takes to run them.


def pytest_sessionstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    if (books := sys.modules.get("core.telemetry.books")) is not None:
        for book in books.here.books.values():  # else each is told as left open
            book.close()
        books.here.begin()


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _now["item"] is not None:
        program = Path(os.fsdecode(arguments[0] or arguments[1][0])).name
        if program not in HARMLESS:
            _now["started"].append(program)


sys.addaudithook(_on_audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    _now["item"] = None if item.get_closest_marker("processes") else item
    _now["started"].clear()
    try:
        return (yield)
    finally:
        _now["item"] = None


@pytest.fixture(autouse=True)
def _who_starts_a_process_says_so() -> Iterator[None]:
    """Keep `make test FAST=1` fast, and what it leaves out known."""
    yield
    assert not _now["started"], f"mark this test with `processes`: it started {_now['started']}"


# --- what all tests share ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _every_answer_is_as_described() -> Iterator[None]:
    """Hold whatever the API answers to Django's test client against its own description."""
    ask = Client.generic

    def asked(client: Client, method: str, path: str, data: Any = "", *args: Any, **options: Any) -> Any:
        response = ask(client, method, path, data, *args, **options)
        if not response.streaming:
            media_type = response.headers.get("Content-Type", "")
            described.check(method, path, response.status_code, media_type, response.content)
            if response.status_code < 300 and data:
                described.check_request(method, path, data)
        return response

    with mock.patch.object(Client, "generic", asked):
        yield


@pytest.fixture(scope="session", autouse=True)
def _requests_go_through_the_server_application() -> Iterator[None]:
    """On Postgres the API is called as a server calls it, on SQLite by Django's client (tests/casts/client.py)."""
    if connection.vendor == "sqlite":
        yield
        return
    from tests.casts.asgi import views_in_the_callers_thread

    with views_in_the_callers_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def _async_views_share_a_thread() -> Iterator[None]:
    """Start no thread for each async view that Django's test client calls; other threads' requests go on having one."""
    with AsyncSingleThreadContext():
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_found_once() -> Iterator[None]:
    """Share what every new client's middleware would read anew: the static files' names, sizes and times."""
    find = WhiteNoiseMiddleware.add_files_from_finders
    about = ("DEBUG", "FORCE_SCRIPT_NAME", "INSTALLED_APPS", "STATICFILES_DIRS", "STATIC_URL", "STORAGES")
    found: dict[str, dict[str, Any]] = {}

    def find_once(middleware: Any) -> None:
        said = repr([getattr(conf.settings, name) for name in about])
        if said not in found:
            find(middleware)
            found[said] = dict(middleware.files)
        middleware.files.update(found[said])

    with mock.patch.object(WhiteNoiseMiddleware, "add_files_from_finders", find_once):
        yield


def _is_superuser(cursor: Any) -> bool:
    cursor.execute("SELECT current_setting('is_superuser')")
    return bool(cursor.fetchone()[0] == "on")


def _empty_what_is_not(case: TransactionTestCase) -> None:
    """Delete the rows that a test left.

    Django's own flush truncates all tables, each a new file on Postgres, and then makes every content type and every
    permission again: that takes longer than most tests.
    """
    kept = {"django_migrations", "django_content_type", "auth_permission"}
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - kept)
    quoted = [connection.ops.quote_name(table) for table in tables]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM {table})" for table in quoted))
        left = [table for table, some in zip(quoted, cursor.fetchone(), strict=True) if some]
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        elif _is_superuser(cursor):
            cursor.execute("SET LOCAL session_replication_role = replica")  # the ledger's guard is not asked
        elif left:
            cursor.execute(f"TRUNCATE {', '.join(left)} CASCADE")
            return
        for table in left:
            cursor.execute(f"DELETE FROM {table}")


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Unseen University", monthly_cap_cents=10_000)


@pytest.fixture
def key_and_secret(account: Account) -> tuple[ApiKey, str]:
    return keys.create(account, name="tests", scopes=list(SCOPES))


@pytest.fixture
def api_key(key_and_secret: tuple[ApiKey, str]) -> ApiKey:
    return key_and_secret[0]


@pytest.fixture
def secret(key_and_secret: tuple[ApiKey, str]) -> str:
    return key_and_secret[1]


@pytest.fixture
def make_spell(db: None) -> Any:
    """Make a spell; any field may be given."""

    def make(key: str = "greet", **fields: Any) -> Spell:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}
        return stored_spell(
            **{"key": key, "name": key.title(), "repository": "demo/spells", "workflow_file": "cast.yml"}
            | {"input_schema": schema, "price_cents": 5}
            | fields
        )

    return make


@pytest.fixture
def spell(make_spell: Any) -> Spell:
    found: Spell = make_spell()
    return found


@pytest.fixture
@marking("processes", "database")
def script(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Run a script as a process of its own, on a new and empty database; return what it printed."""
    from tests.e2e.platform import ROOT, collecting_nothing, drop_database, environment_for, new_database

    url = new_database(tmp_path)
    environment = environment_for(tmp_path, url) | {"DJANGO_SETTINGS_MODULE": "spellplatform.settings"}

    def run(text: str) -> str:
        command = [sys.executable, "-c", collecting_nothing(text)]
        done = warm.run(command, cwd=ROOT, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    drop_database(url)


@pytest.fixture(scope="session")
def stripe_process() -> Iterator[stripes.Judged]:
    yield from stripes.serve()


@pytest.fixture
def stripe_server(stripe_process: stripes.Judged) -> Iterator[stripes.Stripe]:
    """A local Stripe that knows nothing yet; its webhooks go to endpoints that the test adds.

    The test fails if a request, an answer or an event is none of Stripe's by the types of its SDK.
    """
    yield stripe_process.begin_anew()
    assert stripe_process.found() == []


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Begin with a copy of the database that has all tables already, if there is one."""
    from tests.e2e.platform import given_tables, name_of

    test = connection.settings_dict["TEST"]
    if not (made := given_tables()):
        return django_db_keepdb
    if connection.vendor == "sqlite":
        shutil.copy(made.removeprefix("sqlite:///"), test["NAME"])
        return True
    test["TEMPLATE"] = name_of(made)  # Django itself makes the copy
    return django_db_keepdb


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Let tests empty the ledger between them: on SQLite a flush is DELETE, which the ledger's trigger refuses.

    That it refuses is proved on a database of its own (tests/accounts/test_ledger.py).
    """
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":
            connection.cursor().execute("DROP TRIGGER accounts_ledger_no_delete")
            connection.cursor().execute("DROP TRIGGER accounts_audit_no_delete")
            connection.cursor().execute("DROP TRIGGER accounts_credit_no_delete")
    with mock.patch.object(TransactionTestCase, "_fixture_teardown", _empty_what_is_not):
        yield
