"""What a run came to, as files: bounded, and harmless to a spreadsheet."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from casts.api import results
from casts.errors import NoResult
from casts.models import Cast


def csv_of(output: object) -> str:
    return results.as_csv(RequestFactory().get("/"), Cast(output=output))


def test_rows_that_share_no_names_are_no_table():
    assert len(csv_of([{f"name {number}": 1} for number in range(1000)]).splitlines()) == 1001
    with pytest.raises(NoResult, match=r"20,000 rows with 20,000 different names"):
        csv_of([{f"{number}": 1} for number in range(20_000)])  # 250 KB of output, 400 MB of CSV


@pytest.mark.parametrize("begins", "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
def test_no_cell_begins_as_a_formula_does(begins):
    bad = f"{begins}cmd|' /C calc'!A0"
    text = csv_of([{bad: bad}]).removeprefix("\ufeff")
    assert text.count(f"'{bad}") == 2
