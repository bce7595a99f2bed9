"""An owner invites somebody by mail, who comes in; and has a receiver tested, by clicks alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.mailbox import Mailbox
from tests.browser.members import PASSWORD, log_in, make_member
from tests.casts.receivers import receiver
from tests.e2e.platform import Platform, until

OpenPage = Callable[..., Page]


def test_somebody_is_invited_comes_in_and_has_a_receiver_tested(here: Platform, open_page: OpenPage, mails: Mailbox):
    make_member(here, "olga", tests="owner")
    page = open_page(f"{here.url}/home/")
    log_in(page, "olga")
    page.get_by_role("link", name="Account", exact=True).click()
    page.get_by_role("link", name="Members", exact=True).click()
    page.get_by_label("Mail address").fill("nils@example.com")
    page.get_by_label("Role", exact=True).select_option("admin")
    page.get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("on its way to nils@example.com")
    [letter] = until(lambda: mails.to("nils@example.com"))
    assert letter["Subject"].strip() == 'olga invites you to "tests" on Spell Platform'
    [link] = re.findall(rf"{re.escape(here.url)}/invitation/\S+", letter.get_content())

    guest = open_page(link)
    expect(guest.get_by_role("heading", level=1)).to_have_text("You are invited to tests")
    guest.get_by_label("User name").fill("nils")
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same password again").fill(PASSWORD)
    guest.get_by_role("button", name="Make a login and accept").click()
    # The page has another one, which says whether it is live.
    expect(guest.get_by_role("status").filter(has_text="you are a member of tests, as admin")).to_be_visible()
    page.reload()
    expect(page.get_by_role("listitem").filter(has_text="nils").filter(has_text="admin")).to_be_visible()

    with receiver() as inbox:
        guest.get_by_role("link", name="Account", exact=True).click()
        guest.get_by_role("link", name="Callbacks", exact=True).click()
        guest.get_by_label("Address").fill(inbox.url)
        guest.get_by_label("What it is for").fill("a test")
        guest.get_by_role("button", name="Add it").click()
        secret = guest.locator("#the-secret").inner_text()
        guest.get_by_role("link", name="On to the endpoint").click()
        guest.get_by_role("button", name="Send a test event").click()
        sent = guest.get_by_role("listitem").filter(has_text="endpoint.test")
        expect(sent).to_contain_text("delivered")  # without a reload
        expect(sent.get_by_text("204").last).to_be_visible()
        [got] = inbox.got
        assert got.verified(secret)["type"] == "endpoint.test"
        guest.get_by_role("button", name="Delete this endpoint").click()
        expect(guest.get_by_role("status")).to_contain_text("is deleted")

    page.get_by_role("link", name="nils").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("nils is not a member any more")
    guest.goto(f"{here.url}/home/")
    expect(guest.get_by_text("You are not a member of any account yet")).to_be_visible()
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("listitem").filter(has_text="olga removed a member")).to_be_visible()
