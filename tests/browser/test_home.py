"""The page on which a member begins, in a browser: live, for every account, over a restart of the web process."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import held
from tests.browser.members import log_in, make_member
from tests.e2e.platform import Platform

OpenPage = Callable[..., Page]

HEARD = """
window.EventSource = class extends EventSource {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", () => setTimeout(() => { document.documentElement.dataset.heard = ""; }));
  }
};
"""


def test_a_member_sees_casts_come_and_go_on_by_themselves(here: Platform, open_page: OpenPage) -> None:
    make_member(here, "mia", tests="member")
    page = open_page(f"{here.url}/", quiet=False)  # Chromium complains of a server that is away
    log_in(page, "mia")
    expect(page.locator("#connection")).to_have_text("live")
    page.evaluate("window.stayed = true")
    with held(here):
        cast_id = here.cast("greet", {"name": "<b>Mia</b>"}, metadata={"order": "<b>17</b>"})["cast_id"]
        row = page.locator(f"#cast-{cast_id}")
        expect(row).to_contain_text("Queued")
        expect(row).to_contain_text("order=<b>17</b>")
    expect(row).to_contain_text("Succeeded")
    # A new web process: the page finds it, and what happened meanwhile.
    here.stop("web")
    expect(page.locator("#connection")).to_have_text("reconnecting…")
    here.start("web")
    here.up()
    second = here.cast("greet", {"name": "Ann"})["cast_id"]
    expect(page.locator(f"#cast-{second}")).to_contain_text("Succeeded")
    expect(page.locator("#rows > li").first).to_have_id(f"cast-{second}")
    assert page.evaluate("window.stayed")
    page.add_init_script(HEARD)
    page.get_by_label("Search").fill("order=<b>17</b>")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#rows > li")).to_have_count(1)
    # The stream tells also of casts that were there before, and were not looked for.
    expect(page.locator("html[data-heard]")).to_be_attached()
    expect(page.get_by_text("Something was cast since.")).to_be_hidden()
    here.cast("greet", {"name": "Bob"})
    expect(page.get_by_text("Something was cast since.")).to_be_visible()


def test_a_member_of_two_accounts_switches_and_a_removed_one_is_let_go(here: Platform, open_page: OpenPage) -> None:
    accounts = make_member(here, "zoe", tests="viewer", Zoology="member")
    cast_id = here.cast("greet", {"name": "Zoe"})["cast_id"]
    page = open_page(f"{here.url}/home/?account={accounts['Zoology']}", quiet=False)  # it complains of a 404
    log_in(page, "zoe")
    expect(page.get_by_role("heading", name="Nothing was cast yet")).to_be_visible()
    page.get_by_text("Account: Zoology").click()
    page.get_by_role("link", name="tests", exact=True).click()
    expect(page.locator(f"#cast-{cast_id}")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("live")
    gone = "Membership.objects.get(user__username='zoe', role='viewer').delete()"
    here.manage("shell", "-c", f"from accounts.models import Membership; {gone}")
    expect(page.locator("#connection")).to_contain_text("access ended")
    page.reload()
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
