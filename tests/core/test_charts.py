"""What charts draw, of whatever they are given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from core.charts import Series, bars, lines, scale

DAYS = ["1 Nov", "2 Nov", "3 Nov"]


def parsed(figure: str) -> ElementTree.Element:
    return ElementTree.fromstring(figure)


def test_bars_stand_on_one_another_and_as_high_as_their_values():
    figure = parsed(
        bars(DAYS, [Series("paid", [10, 0, 30], "succeeded"), Series("lost", [10, 0, 10], "failed")], said="By day")
    )
    drawn = [rect for rect in figure.iter("rect") if "chart-area" not in rect.get("class", "") and rect.get("y")]
    heights = [float(rect.attrib["height"]) for rect in drawn]
    assert heights == [40, 40, 120, 40]  # of 160 pixels, which are 40
    assert [float(rect.attrib["y"]) for rect in drawn] == [120, 80, 40, 0]
    assert [title.text for title in figure.iter("title")] == [
        "1 Nov: paid 10, lost 10, together 20",
        "2 Nov: 0",
        "3 Nov: paid 30, lost 10, together 40",
    ]


@pytest.mark.parametrize("draw", [bars, lines])
def test_everything_is_escaped_and_nothing_is_styled_inline(draw):
    bad = "<script>&\"'"
    figure = draw([bad, bad], [Series(bad, [1, 2], bad), Series("b", [2, 1], "money")], said=bad, links=[bad, None])
    assert "<script" not in figure
    assert "style=" not in figure
    parsed(figure)  # or it would not be well-formed


@pytest.mark.parametrize("draw", [bars, lines])
def test_the_table_has_every_figure_and_link_for_who_sees_no_picture(draw):
    figure = parsed(
        draw(DAYS, [Series("p50", [1.5, 2, 1234567], "running")], said="Time", unit="s", links=["/a", None, "/c"])
    )
    rows = [["".join(cell.itertext()) for cell in row] for row in figure.iter("tr")]
    assert rows[1:] == [["1 Nov", "1.5 s"], ["2 Nov", "2 s"], ["3 Nov", "1,234,567 s"]]
    in_table = [link.get("href") for link in figure.findall(".//table//a")]
    assert in_table == ["/a", "/c"]
    [picture] = list(figure.iter("svg"))
    assert picture.get("aria-hidden") == "true"
    assert {link.get("tabindex") for link in picture.iter("a")} == {"-1"}


def test_a_line_has_a_gap_where_nothing_is_known():
    figure = lines(["0", "1", "2", "3"], [Series("p50", [1, None, 3, 4], "running")], said="Time")
    assert len(re.findall(r'<line class="chart-running', figure)) == 1
    assert figure.count("<circle") == 3
    assert "<td>-</td>" in figure


@pytest.mark.parametrize(
    ("most", "step", "top"),
    [(1, 1, 1), (3, 1, 3), (7, 2, 8), (40, 10, 40), (41, 20, 60), (999_999, 500_000, 1_000_000), (0.3, 0.1, 0.3)],
)
def test_an_axis_has_few_round_numbers(most, step, top):
    assert scale(most) == pytest.approx((step, top))


@pytest.mark.parametrize(("draw", "values"), [(bars, [0, 0]), (lines, [None, None])])
def test_nothing_is_said_in_words(draw, values):
    assert "No casts yet." in draw(["a", "b"], [Series("x", values, "money")], said="Spent", empty="No casts yet.")
    assert "<svg" not in draw([], [], said="Spent")


def test_a_year_of_days_has_a_few_labels():
    labels = [f"day {number}" for number in range(366)]
    figure = parsed(bars(labels, [Series("spent", [1] * 366, "money")], said="Spent"))
    assert len(list(figure.iter("text"))) <= 5


def test_lines_of_zero_are_drawn():
    assert "<circle" in lines(["a"], [Series("x", [0], "running")], said="Time")
