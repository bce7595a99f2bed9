"""What a run leaves, as people see it: Markdown, values, tables, pictures, PDFs and zips."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.platform import Platform

OpenPage = Callable[..., Page]


def saved(page: Page, name: str, folder: Path) -> Path:
    """Click a link and return the file that it downloads."""
    with page.expect_download() as begun:
        page.get_by_role("link", name=name).click()
    path = folder / begun.value.suggested_filename
    begun.value.save_as(path)
    return path


def test_everything_that_a_run_leaves_is_shown_and_can_be_had(here: Platform, open_page: OpenPage, tmp_path: Path):
    page = open_page(
        here.cast("showcase", {})["progress_url"], timezone_id="Asia/Tokyo", permissions=["clipboard-read"]
    )
    page.wait_for_selector("main[data-final=true]")

    summary = page.get_by_role("region", name="Summary")
    expect(summary.get_by_role("heading", level=3)).to_have_text("Release 1.4")
    expect(summary.get_by_role("row", name="core 1,204 yes")).to_be_visible()
    expect(summary.get_by_role("link", name="the list")).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(summary).to_contain_text("☑ built")
    assert page.evaluate("window.hurt") is None

    output = page.get_by_role("region", name="Output", exact=True)
    assert output.locator("dt").first.inner_text() == "Version\nAs it is on the index"
    expect(output.get_by_role("link", name="https://example.org/releases/1.4")).to_be_visible()
    expect(output.locator("time")).to_have_text("24 Nov 2026, 00:38:06 GMT+9")
    expect(output).to_contain_text("12345678901234567890")
    expect(output.locator(".written li")).to_have_text(["one", "two"])
    table = output.get_by_role("group", name="Packages")
    expect(table.get_by_role("row")).to_have_count(51)
    rows = list(csv.reader(saved(page, "All 60 rows as CSV", tmp_path).read_text(encoding="utf-8-sig").splitlines()))
    assert (len(rows), rows[0], rows[60][:2]) == (
        61,
        ["package", "tests", "took_seconds", "ok", "log"],
        ["package 59", "413"],
    )

    output.get_by_text("As JSON").click()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy JSON").click()
    expect(output.get_by_role("status")).to_have_text("Copied.")
    whole = json.loads(saved(page, "Download output.json", tmp_path).read_text())
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == whole
    assert whole["build"] == 12345678901234567890

    artifacts = page.get_by_role("region", name="Artifacts")
    picture = artifacts.get_by_role("img", name="by day.png")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("one => one.complete && one.naturalWidth === 640", arg=picture.element_handle())
    expect(artifacts.get_by_role("img")).to_have_count(1)  # a script that calls itself a picture is none
    artifacts.get_by_text("report.pdf PDF").click()
    frame = artifacts.locator("iframe").element_handle().content_frame()
    assert frame is not None
    frame.wait_for_url("**/preview?*")
    expect(artifacts.get_by_role("link")).to_have_count(1 + 1 + 4 + 1)  # the picture, the PDF, the artifacts, the zip
    artifacts.get_by_text("3 files").click()
    expect(artifacts.get_by_text("part 2.txt")).to_be_visible()
    with zipfile.ZipFile(saved(page, "Download all as one zip", tmp_path)) as archive:
        assert archive.testzip() is None
        assert {"charts/by day.png", "papers/report.pdf", "logs/part 0.txt"} < set(archive.namelist())

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the phone"
