"""What needs an operator: large tables whose months are not made (core.db.months)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.admin.attention import Section, Trouble, User, may
from core.db import months

COUNTED = 1000  # of rows that are in the rest
ADVICE = "A worker makes them every ten minutes, and its log says why it can't; `manage.py migrate` does it, too."


def attention(user: User) -> Section | None:
    seen = [model for model in months.models() if may(user, model._meta.label_lower.replace(".", ".view_"))]
    if not seen:
        return None
    parts = ((model, there) for model, there in months.parted_models().items() if model in seen)
    return Section("Months of large tables", tuple(trouble for model, there in parts for trouble in of(model, there)))


def of(model: Any, there: list[months.Part]) -> Iterator[Trouble]:
    table = model._meta.db_table
    if (month := months.missing(model, there)) is not None:
        yield Trouble(f"{table} has no part for {month:%B %Y}", advice=ADVICE, key=f"{table} missing")
    if count := months.in_rest(model, there, COUNTED):
        why = f"{count:,}{' or more' if count >= COUNTED else ''} rows came when their month had no part"
        yield Trouble(f"{table}_rest holds rows of some month", why=why, advice=ADVICE, mild=True, key=f"{table} rest")
