"""Limits: the page shows the table of the code."""

from tests.limits import PAGE, rendered


def test_the_page_of_limits_shows_the_table_of_the_code():
    assert PAGE.read_text() == rendered(PAGE.read_text()), "python -m tests.limits writes it anew"
