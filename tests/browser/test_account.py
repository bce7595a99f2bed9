"""An owner's way through an account's pages: a key by clicks, its rotation and end, a cap, and where the money went."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.members import log_in, make_member
from tests.e2e.platform import Platform

OpenPage = Callable[..., Page]


def status_of_cast(here: Platform, secret: str) -> int:
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    return here.call("POST", "/api/v1/cast", key=secret, json=body).status_code


def test_an_owner_makes_rotates_and_revokes_a_key_and_caps_it(here: Platform, open_page: OpenPage):
    make_member(here, "ruth", tests="owner")
    page = open_page(f"{here.url}/login/")
    log_in(page, "ruth")
    page.get_by_role("link", name="Account", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Usage")
    tabs = page.get_by_role("navigation", name="Account")

    tabs.get_by_role("link", name="Keys").click()
    page.get_by_role("link", name="Make a key").click()
    page.get_by_label("Name", exact=True).fill("the shop")
    page.get_by_label("make and revoke API keys").check()
    page.get_by_role("button", name="Make the key").click()
    first = page.locator("#secret").inner_text()
    assert status_of_cast(here, first) == 201
    child = here.call("POST", "/api/v1/keys", key=first, json={"name": "its child"}).json()["secret"]
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("has made a key already")

    tabs.get_by_role("link", name="Keys").click()
    expect(page.get_by_role("link", name="the shop")).to_have_count(1)
    page.get_by_role("link", name="the shop").click()
    page.get_by_label("The old key ends").select_option(label="in 1 hour")
    page.get_by_role("button", name="Rotate the key").click()
    second = page.locator("#secret").inner_text()
    assert (status_of_cast(here, first), status_of_cast(here, second)) == (201, 201)

    tabs.get_by_role("link", name="Budget").click()
    page.get_by_label("For", exact=True).select_option(label=f"the shop ({second[:20]}…)")
    page.get_by_label("Cap a month").last.fill("0")
    page.get_by_role("button", name="Set the cap").last.click()
    expect(page.locator(".told")).to_contain_text("0.00 USD a month")
    assert (status_of_cast(here, second), status_of_cast(here, first)) == (402, 201)

    tabs.get_by_role("link", name="Keys").click()
    page.get_by_role("link", name="the shop").last.click()
    page.get_by_role("button", name="Revoke it and the key below it").click()
    expect(page.locator(".told")).to_contain_text("2 keys revoked")
    assert [status_of_cast(here, secret) for secret in (first, child, second)] == [401, 401, 402]
