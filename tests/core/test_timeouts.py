"""Statements that take too long are ended, and the answer says so."""

from __future__ import annotations

import json

import pytest
from django.db import OperationalError, connection

from core.api.problems import render
from core.db import timeouts


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_takes_too_long_is_ended_and_told():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite ends no statement")
    timeouts.bound_statements(0.05)
    try:
        with pytest.raises(OperationalError) as ended, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(600)")
        answer = render(ended.value, {})
        assert answer is not None
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "took too long" in json.loads(answer.content)["detail"]
    finally:
        timeouts.bound_statements(0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.1)")


def test_a_database_that_is_away_is_told_otherwise():
    answer = render(OperationalError("no route to host"), {})
    assert answer is not None
    assert "can't reach its database" in json.loads(answer.content)["detail"]
