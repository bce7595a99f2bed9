"""Limits: the page shows the table of the code."""

import re

from core.limits import TABLE
from tests.limits import PAGE, rendered
from tests.pages import DOCS


def test_the_page_of_limits_shows_the_table_of_the_code():
    assert PAGE.read_text() == rendered(PAGE.read_text()), "python -m tests.limits writes it anew"


def test_a_limit_that_is_a_setting_has_its_default():
    page = (DOCS / "reference" / "configuration.md").read_text()
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| `([0-9]+)` \|", page, re.MULTILINE))
    for row in TABLE:
        assert not row.setting or defaults.get(row.setting) == str(row.most), row
