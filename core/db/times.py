"""Times computed by the database, in its own C: Django's functions for SQLite are Python's, called for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    AnyFunc = models.Func
else:
    AnyFunc = models.Func


class SecondsBetween(AnyFunc):
    """The seconds from the first time to the second, as a float; NULL if either is. On SQLite of whole milliseconds."""

    output_field = models.FloatField()
    arity = 2

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(EXTRACT(EPOCH FROM %(expressions)s) * -1)::double precision"
        return self.as_sql(compiler, connection, template=template, arg_joiner=" - ", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday(%(expressions)s)) * -86400.0)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") - julianday(", **context)


class HourNumber(AnyFunc):
    """The whole hours from the beginning of 1970 to a time."""

    output_field = models.BigIntegerField()
    arity = 1

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(EXTRACT(EPOCH FROM date_trunc('hour', %(expressions)s))::bigint / 3600)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Of the text up to the hour: SQLite knows milliseconds alone, and would round up to the next one.
        template = "(CAST(strftime('%%%%s', substr(%(expressions)s, 1, 13) || ':00:00') AS INTEGER) / 3600)"
        return self.as_sql(compiler, connection, template=template, **context)
