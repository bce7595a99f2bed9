import datetime as dt

import pytest
from django.template.loader import render_to_string

from casts.pages import presenter, texts

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
BEGAN = "2026-11-23T11:59:30.000Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "under 1 s"), (0.9, "under 1 s"), (1, "1 s"), (59.9, "59 s"), (61, "1 min 01 s"), (3723, "1 h 02 min")],
)
def test_durations_are_in_whole_units(seconds: float, text: str):
    assert texts.duration((NOW - dt.timedelta(seconds=seconds)).isoformat(), None, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1250, "1.2 kB"),
        (10**6, "1.0 MB"),
        (5 * 10**9, "5.0 GB"),
    ],
)
def test_sizes_are_cut_off_after_one_decimal(count: int | None, text: str):
    assert presenter.size(count) == text


@pytest.mark.parametrize(
    ("kind", "cost", "charged", "minutes", "text"),
    [
        ("flat", 0, None, None, "free"),
        ("flat", 0, 0, None, "free"),
        ("flat", 5, None, None, "0.05 USD, held"),
        ("flat", 5, 5, None, "0.05 USD, charged"),
        ("flat", 5, 0, None, "0.05 USD, given back"),
        ("flat", 1, 0, None, "0.01 USD, given back"),
        ("per_minute", 100, None, None, "up to 1.00 USD, held"),
        ("per_minute", 100, 1, 1, "0.01 USD, charged for 1 minute; 0.99 USD given back"),
        ("per_minute", 100, 100, 40, "1.00 USD, charged for 40 minutes"),
        ("per_minute", 100, 0, None, "1.00 USD, given back"),
        ("reported", 50, 7, None, "0.07 USD, charged; 0.43 USD given back"),
    ],
)
def test_the_price_says_what_became_of_it(kind: str, cost: int, charged: int | None, minutes: int | None, text: str):
    shown = {"cost_cents": cost, "charged_cents": charged, "final": charged is not None, "price": {"kind": kind}}
    assert presenter.price({**shown, "charge": None if charged is None else {"minutes": minutes}}) == text


def test_a_cast_that_ended_before_there_was_a_column_for_its_charge_says_its_price():
    shown = {"cost_cents": 5, "charged_cents": None, "final": True, "price": {"kind": "flat"}, "charge": None}
    assert presenter.price(shown) == "0.05 USD"


@pytest.mark.parametrize(
    ("status", "shown"),
    [("queued", True), ("running", True), ("succeeded", True), ("failed", False), ("cancelled", False)],
)
def test_what_ended_without_success_shows_no_percentage(status: str, shown: bool):
    final = status not in ("queued", "running")
    assert presenter.progress_shown({"status": status, "final": final}) is shown


def test_a_link_into_a_script_is_no_web_address():
    assert presenter.is_web_address("https://github.com/demo/spells/actions/runs/1")
    for url in ("javascript:alert(1)", "data:text/html,x", "", None):
        assert not presenter.is_web_address(url)


def test_the_page_for_our_own_failures_needs_no_request():
    assert "Something went wrong here" in render_to_string("500.html")
