"""A member finds a spell and casts it from its form: by keyboard, with files and rows, and without JavaScript."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.platform import ROOT, Platform

OpenPage = Callable[..., Page]
PASSWORD = "correct horse battery"
MEMBER = """
from django.contrib.auth.models import User
from accounts.models import Account, Membership
user, _ = User.objects.get_or_create(username="clara")
user.set_password("correct horse battery")
user.save()
Membership.objects.get_or_create(user=user, account=Account.objects.get(name="tests"), defaults={"role": "member"})
"""
SCHEMA = {
    "type": "object",
    "required": ["title"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "title": "Title", "pattern": "^[^!]+[!]?$", "maxLength": 20},
        "copies": {"type": "integer", "title": "Copies"},
        "readers": {
            "type": "array",
            "title": "Readers",
            "items": {"type": "object", "properties": {"name": {"type": "string", "title": "Name"}}},
        },
        "logo": {"type": "string", "title": "Logo", "contentEncoding": "base64"},
    },
}


@pytest.fixture(scope="module")
def form(here: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a spell's page, of which a member may cast."""
    file = tmp_path_factory.mktemp("spells") / "spells.toml"
    head = '[report]\nname = "Report"\ntags = ["paper"]\nworkflow_file = "hostile.yml"\ninput_schema = '
    file.write_text(head + json.dumps(json.dumps(SCHEMA)))
    for arguments in (["loadspells", str(file)], ["shell", "-v0", "-c", MEMBER]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=here.environment, check=True, capture_output=True
        )
    return f"{here.url}/spells/report/"


def log_in(open_page: OpenPage, path: str, **options: Any) -> Page:
    site, _, rest = path.partition("/spells/")
    page = open_page(f"{site}/login/?next=/spells/{rest}", **options)
    page.get_by_label("User name or mail address").fill("clara")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/spells/**")
    return page


def cast_input(here: Platform, page: Page) -> Any:
    expect(page).to_have_url(re.compile("/casts/[0-9a-f-]{36}/"))
    found = re.search("/casts/([0-9a-f-]{36})/", page.url)
    assert found is not None
    return here.call("GET", f"/api/v1/casts/{found[1]}").json()["input"]


def test_a_member_casts_by_keyboard_alone_with_a_mistake_first(here: Platform, form: str, open_page: OpenPage):
    page = log_in(open_page, form.replace("report/", "?tag=paper"))
    keys = page.keyboard

    def tab_to(what: Any) -> None:
        for _ in range(60):
            if what.evaluate("one => one === document.activeElement"):
                return
            keys.press("Tab")
        raise AssertionError("nobody comes there by keyboard")

    tab_to(page.get_by_role("link", name="Report"))
    keys.press("Enter")
    tab_to(page.get_by_role("textbox", name="Title"))
    keys.type("O'Brien")
    expect(page.locator("#snippets")).to_contain_text("O'\\''Brien")  # as one types
    keys.press("Tab")
    keys.type("1,5")
    keys.press("Enter")
    wrong = page.get_by_role("alert")
    expect(wrong).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")  # the summary leads to the field
    copies = page.get_by_role("textbox", name="Copies")
    expect(copies).to_be_focused()
    expect(copies).to_have_attribute("aria-invalid", "true")
    expect(copies).to_have_accessible_description(re.compile("Write a number such as 12 or 0.5 with a point"))
    keys.press("Control+A")
    keys.type("12345678901234567890")
    tab_to(page.get_by_role("button", name="Add to Readers"))
    keys.press("Enter")
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    keys.type("Ann")
    keys.press("Enter")
    asked = cast_input(here, page)
    assert asked == {"title": "O'Brien", "copies": 12345678901234567890, "readers": [{"name": "Ann"}]}


def test_rows_and_a_file(here: Platform, form: str, open_page: OpenPage, tmp_path: Path):
    page = log_in(open_page, form)
    page.get_by_role("textbox", name="Title").fill("Zoë")
    for number, name in enumerate(("a", "b", "c")):
        page.get_by_role("button", name="Add to Readers").click()
        page.get_by_role("textbox", name="Name").nth(number).fill(name)
    page.get_by_role("button", name="Remove Readers 2").click()
    expect(page.get_by_role("textbox", name="Name")).to_have_count(2)
    file = tmp_path / "logo"
    file.write_bytes(b"x" * 45_001)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Cast", exact=True).click()
    expect(page.locator("input[type=file]:invalid")).to_have_count(1)  # told before it is sent
    file.write_bytes(b"\x00\xff")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="As JSON").click()
    expect(page.get_by_role("textbox", name="Input")).to_have_value(re.compile('"logo": "AP8="'))
    page.get_by_role("button", name="As a form").click()
    page.get_by_role("button", name="Cast", exact=True).dblclick()
    readers = [{"name": "a"}, {"name": "c"}]
    assert cast_input(here, page) == {"title": "Zoë", "readers": readers, "logo": "AP8="}


def test_all_of_it_works_without_javascript(here: Platform, form: str, open_page: OpenPage):
    page = log_in(open_page, form, java_script_enabled=False)
    page.get_by_role("textbox", name="Title").fill("Plain")
    page.get_by_role("button", name="Add to Readers").click()
    page.get_by_role("textbox", name="Name").fill("Ann")
    page.get_by_role("button", name="Bring up to date").click()
    expect(page.locator("#snippets")).to_contain_text('"name": "Ann"')
    page.get_by_role("textbox", name="Copies").fill("many")
    page.get_by_role("button", name="Cast", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Copies: Write a number")
    page.get_by_role("textbox", name="Copies").fill("2")
    page.get_by_role("button", name="Cast", exact=True).click()
    assert cast_input(here, page) == {"title": "Plain", "copies": 2, "readers": [{"name": "Ann"}]}
