"""The bench's own arithmetic; nothing here measures time."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest

from tests.bench.charts import chart, spread
from tests.bench.load import request, status_of
from tests.bench.measures import percentile
from tests.bench.report import Findings, Line, Table, ratio, shown


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent, value):
    assert percentile(reversed(range(1, 101)), percent) == value


def test_nothing_measured_is_no_number():
    assert math.isnan(percentile([], 50))
    assert shown(math.nan) == shown(None) == "-"


def test_figures_are_told_with_the_digits_they_deserve():
    assert [shown(n) for n in (0.1234, 12.34, 1234.5, 1234, "as it is")] == [
        "0.12",
        "12.3",
        "1,234",
        "1,234",
        "as it is",
    ]
    assert ratio(1, 3) == "33 %"


def test_a_report_holds_goals_tables_and_what_was_skipped():
    findings = Findings(conditions={"cpu": "2"}, skipped=["nchan: not there"])
    findings.goal("streams", "10,000", "9,999", False)
    findings.tables.append(Table("Streams", ["server", "ms"], [["ours", 1.5], ["theirs", None]]))
    text = findings.markdown()
    assert "| streams | 10,000 | 9,999 | no |" in text
    assert "| ours | 1.50 |\n| theirs | - |" in text
    assert "- nchan: not there" in text
    assert json.loads(findings.json())["goals"][0]["reached"] is False


def test_a_chart_is_a_picture_with_a_line_for_each_server():
    lines = [Line("memory", "ours", [(100, 38.0), (10_000, 30.0)]), Line("memory", "a & b", [(100, 0.0), (1000, 9.0)])]
    picture = ElementTree.fromstring(chart("Memory", "streams", "KB", lines))
    named = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Memory", "ours", "a & b", "10,000"} <= set(named)
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == 2


def test_names_beside_a_chart_keep_their_order_and_their_distance():
    places = spread([100.0, 101.0, 99.0])
    assert places[2] < places[0] < places[1]
    assert min(abs(a - b) for a in places for b in places if a != b) >= 16


def test_an_answer_is_whole_when_its_length_or_its_last_chunk_is_there():
    assert status_of(b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nab") is None
    assert status_of(b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc") == 201
    assert status_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n") == 200
    assert request("POST", "/x", body=b"ab").endswith(b"Content-Length: 2\r\n\r\nab")
