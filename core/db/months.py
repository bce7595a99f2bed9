"""Tables that have a part for each month, on Postgres: what is old goes by dropping its part, not row by row.

A model says with `months` by which column. Its values hold the time at which they were made, so that a row is found by
it in one part, and Postgres keeps it unique across all of them. `core.db.by_month` makes a table so. On SQLite these
are tables as any other, and nothing here does anything.

The parts of `casts_castevent` are `casts_castevent_first`, which has all that was there before there were parts and the
month in which they were made; `casts_castevent_2026_12` and so on; and `casts_castevent_rest`, which takes what has no
month: it should be empty, but for ids that hold no time.

Whatever locks a whole table waits for it for LOCK_MS only, and tries again later: whoever comes meanwhile waits behind.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from django.apps import AppConfig, apps
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from psycopg import sql

from core.db.locks import wait_for_locks

logger = logging.getLogger(__name__)

AHEAD = 2  # months after this one that have their parts
LOCK_MS, TRIES = 100, 10  # how long to wait for a lock, and how often
YEARS = dt.timedelta(days=3650)  # an id of later holds no time
MOST_MOVED = 10_000  # rows of the rest that are moved into their month while it is made
BOUNDS = re.compile(r"FOR VALUES FROM \('?([^')]+)'?\) TO \('?([^')]+)'?\)")
T = TypeVar("T")


class ByMonth(NamedTuple):
    """By which column a table has its parts, the least value that a moment gives it, and how one is read from text."""

    column: str
    first: Callable[[dt.datetime], Any]
    read: Callable[[str], Any]


class Part(NamedTuple):
    """The rows of a table from one value of its column up to another; None: from the least."""

    name: str
    column: str
    begin: Any
    end: Any

    def of(self, rows: QuerySet[Any], column: str = "") -> QuerySet[Any]:
        """Return which of these rows are in it, by the column of theirs that has the same values."""
        column = column or self.column
        after = {} if self.begin is None else {f"{column}__gte": self.begin}
        return rows.filter(**after, **{f"{column}__lt": self.end})


class NotNow(Exception):
    """A table was in use all the time, or what is to be done to it would hold it for long."""


def models() -> list[Any]:
    """Return the models whose tables have parts on Postgres."""
    return [model for model in apps.get_models() if hasattr(model, "months")]


def parted_models() -> dict[Any, list[Part]]:
    """Return the models whose tables have parts here, with these."""
    return {model: parts for model in models() if (parts := parts_of(model))}


def is_parted(table: str) -> bool:
    return bool(rows_of("SELECT 1 FROM pg_partitioned_table WHERE partrelid = to_regclass(%s)", table))


def parts_of(model: Any) -> list[Part]:
    """Return the parts of a model's table but for the rest, in the order of time; none on SQLite."""
    if connection.vendor != "postgresql":
        return []
    table, months = model._meta.db_table, model.months
    found = rows_of(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(%s)",
        table,
    )
    bounds = [(name, match) for name, text in found if (match := BOUNDS.fullmatch(text))]
    made = [
        Part(name, months.column, None if at[1] == "MINVALUE" else months.read(at[1]), months.read(at[2]))
        for name, at in bounds
    ]
    return sorted(made, key=lambda part: part.end)


# --- making them -------------------------------------------------------------------------------------------------


def month_of(at: dt.datetime, later: int = 0) -> dt.datetime:
    """Return the beginning of a moment's month, or of one that is so many months later."""
    years, month = divmod(at.month - 1 + later, 12)
    return dt.datetime(at.year + years, month + 1, 1, tzinfo=dt.UTC)


def has_part(parts: list[Part], value: Any) -> bool:
    return any((part.begin is None or part.begin <= value) and value < part.end for part in parts)


def make_months(model: Any, *, most_moved: int | None = MOST_MOVED) -> list[str]:
    """Make the parts of this month and the next ones that are not there yet; return their names.

    What the rest has of such a month is moved into it. Raise NotNow if that is more than `most_moved` rows, for it
    holds up who writes such rows, or if the table is in use all the time.
    """
    if connection.vendor != "postgresql" or not is_parted(model._meta.db_table):
        return []
    there, now, made = parts_of(model), timezone.now(), []
    for later in range(AHEAD + 1):
        begin, end = (model.months.first(month_of(now, later + more)) for more in (0, 1))
        if has_part(there, begin):
            continue
        name = f"{model._meta.db_table}_{month_of(now, later):%Y_%m}"
        part = Part(name, model.months.column, begin, end)
        if most_moved is not None and counted(model, part, most_moved + 1) > most_moved:
            raise NotNow(f"{model._meta.db_table}_rest has more than {most_moved:,} rows of {name}")
        quickly(lambda part=part: make_part(model._meta.db_table, part))  # type: ignore[misc]
        made.append(name)
    if made:
        # Nothing else does: autovacuum looks at the parts alone.
        run("ANALYZE {table}", table=model._meta.db_table)
        logger.info("months made", extra={"parts": made})
    return made


def make_part(table: str, part: Part) -> None:
    rest = f"{table}_rest"
    run("LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE", rest=rest)
    make_like(table, part.name, keys=own_keys(rest))
    run(
        "WITH moved AS (DELETE FROM {rest} WHERE {column} >= {begin} AND {column} < {end} RETURNING *) "
        "INSERT INTO {part} SELECT * FROM moved",
        rest=rest,
        part=part.name,
        column=part.column,
        begin=sql.Literal(part.begin),
        end=sql.Literal(part.end),
    )
    attach(table, part)


def make_like(table: str, name: str, *, keys: Iterable[str]) -> None:
    """Make a table that can be a part of this one, with these keys for itself alone."""
    run(
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE "
        "INCLUDING COMPRESSION INCLUDING INDEXES)",
        name=name,
        table=table,
    )
    for definition in keys:
        run("ALTER TABLE {name} ADD {definition}", name=name, definition=sql.SQL(definition))


def own_keys(part: str) -> list[str]:
    """Return the definitions of a part's keys that the whole table does not have."""
    found = rows_of(
        "SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = to_regclass(%s) "
        "AND k.contype IN ('p', 'u') AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = k.conindid)",
        part,
    )
    return [definition for (definition,) in found]


def attach(table: str, part: Part) -> None:
    begin = sql.SQL("MINVALUE") if part.begin is None else sql.Literal(part.begin)
    run(
        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})",
        table=table,
        name=part.name,
        begin=begin,
        end=sql.Literal(part.end),
    )


def ensure() -> None:
    """Make the months that are not there yet; a sweep (settings.SWEEPS). That it can't is told by `missing`."""
    for model in parted_models():
        try:
            make_months(model)
        except (NotNow, DatabaseError) as exc:
            logger.warning("months not made", extra={"table": model._meta.db_table, "reason": str(exc)})


def missing(model: Any, there: list[Part]) -> dt.datetime | None:
    """Return the first month that is needed within a week and has no part, None if all have."""
    now = timezone.now()
    needed = (month_of(at) for at in (now, now + dt.timedelta(days=7)))
    return next((month for month in needed if not has_part(there, model.months.first(month))), None)


def in_rest(model: Any, there: list[Part], most: int) -> int:
    """Return how many rows have no part though their value holds a time: `most` at most.

    It is asked for by values that are in no part; ids that hold no time, as random ones, are left out.
    """
    ends = [part.end for part in there]
    begins = [*(part.begin for part in there[1:]), model.months.first(timezone.now() + YEARS)]
    gaps = [Part("", model.months.column, end, begin) for end, begin in zip(ends, begins, strict=True) if end < begin]
    return sum(counted(model, gap, most) for gap in gaps)


def counted(model: Any, part: Part, most: int) -> int:
    return len(part.of(model._base_manager.order_by()).values("pk")[:most])


def after_migrate(sender: AppConfig, **kwargs: Any) -> None:
    """Make an app's months at the end of `migrate`."""
    for model in sender.get_models():
        if hasattr(model, "months"):
            make_months(model, most_moved=None)


# --- dropping them -----------------------------------------------------------------------------------------------


def drop_months(
    model: Any,
    before: dt.datetime,
    *,
    stays: Callable[[Part], bool],
    reopened: Callable[[Part], bool] = lambda part: False,
) -> list[str]:
    """Drop the parts whose months ended before `before` and which hold nothing that must stay; return their names.

    `stays` tells whether a part has such a row, and may take its time. `reopened` looks again, for what may have
    happened meanwhile, while the table is locked: it must be answered from an index. What was added meanwhile is
    noticed by itself. None are dropped on SQLite; nor what the rest holds, nor, while the table is in use all the time,
    any more: these are for the next try. What goes otherwise is for the caller to delete.
    """
    end, dropped = model.months.first(before), []
    for part in parts_of(model):
        if part.end > end:
            break
        newest = newest_of(model, part)
        if stays(part):
            continue

        def drop(part: Part = part, newest: Any = newest) -> bool:
            run("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=model._meta.db_table)
            run(f"SET LOCAL statement_timeout = {LOCK_MS * 2}")
            if newest_of(model, part) != newest or reopened(part):
                return False
            # The file itself goes after the commit, when nobody waits any more.
            run("DROP TABLE {part}", part=part.name)
            return True

        try:
            gone = quickly(drop)
        except NotNow as exc:
            logger.warning("month not dropped", extra={"part": part.name, "reason": str(exc)})
            break  # for the others the same table would have to be locked
        if gone:
            logger.info("month dropped", extra={"part": part.name})
            dropped.append(part.name)
    return dropped


def singly(model: Any, before: dt.datetime) -> dt.datetime:
    """Return before when rows are to be deleted one by one, where those from before `before` may go.

    With PURGE_WHOLE_MONTHS only those of past months, which are still there because something in them has to stay.
    """
    if settings.PURGE_WHOLE_MONTHS and parts_of(model):
        return month_of(before)
    return before


def newest_of(model: Any, part: Part) -> Any:
    return part.of(model._base_manager.order_by()).aggregate(newest=Max("pk"))["newest"]


# --- how it is done ----------------------------------------------------------------------------------------------


def quickly(what: Callable[[], T], tries: int = TRIES) -> T:
    """Do something in a transaction that waits LOCK_MS for a lock, and again until it gets its locks. Raise NotNow."""
    for _ in range(tries):
        try:
            with transaction.atomic():
                wait_for_locks(LOCK_MS)
                return what()
        except OperationalError as exc:
            reason = str(exc).partition("\n")[0]
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - those who have waited behind us come first
    raise NotNow(reason)


def run(text: str, **names: str | sql.Composable) -> None:
    """Run a statement with names, and with what is composed already, in its places."""
    placed = {name: sql.Identifier(one) if isinstance(one, str) else one for name, one in names.items()}
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(text).format(**placed))


def rows_of(text: str | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, values or None)
        return list(cursor.fetchall())
