"""The page about money in a Chromium, with the pages of the local Stripe that it leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.platform import Platform, platform
from tests.stripes import ALWAYS_AUTHENTICATES, DECLINED, SECRET_KEY, VISA, Stripe

OpenPage = Callable[..., Page]
PASSWORD = "correct horse battery"
A_MEMBER = f"""
from django.contrib.auth.models import User
from accounts.models import Account, Membership
from payments import customers
account = Account.objects.get()
customers.begin(account, email="pay@example.com")
user = User.objects.create_user("ann", password={PASSWORD!r})
Membership.objects.create(account=account, user=user, role="owner")
"""


@pytest.fixture
def billed(browser: Browser, stripe_server: Stripe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"STRIPE_SECRET_KEY": SECRET_KEY, "STRIPE_API_URL": stripe_server.url, "STRIPE_SWEEP_SECONDS": "0"}
    with platform(
        tmp_path_factory.mktemp("billed"), spells="", STRIPE_WEBHOOK_SECRET="whsec_of-nobody-Zq4Wm9Rk2Vx7", **settings
    ) as one:
        one.manage("shell", "-v0", "-c", A_MEMBER)
        yield one


def fill_in(page: Page, number: str) -> None:
    """Fill in Stripe's page, with a card that is typed."""
    page.wait_for_url(re.compile("/c/pay/"))
    if (other := page.get_by_label(re.compile("another|new card", re.IGNORECASE))).count():
        other.first.check()
    page.get_by_label("Card number").fill(number)
    page.get_by_label(re.compile("expir", re.IGNORECASE)).first.fill("12/40")
    page.get_by_label(re.compile("cvc", re.IGNORECASE)).first.fill("123")
    page.get_by_role("button", name=re.compile("^(Save|Pay)")).first.click()


def log_in(page: Page) -> None:
    page.get_by_label("User name or mail address").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_a_card_is_saved_and_charged_declined_and_confirmed(billed: Platform, open_page: OpenPage):
    page = open_page(f"{billed.url}/account/money/", java_script_enabled=False, quiet=False)
    log_in(page)
    amount = page.locator(".balance .amount")
    expect(amount).to_have_text("0.00 USD")
    page.get_by_role("button", name="Save a card").click()
    fill_in(page, VISA)
    page.get_by_role("button", name="Charge Visa ending 4242").click()
    expect(amount).to_have_text("25.00 USD")

    # Stripe's page answers 402 to a declined card, which a browser notes; ours must have nothing to note.
    page, noted = open_page(f"{billed.url}/account/money/", quiet=False), []
    page.on("console", lambda told: noted.append(told.text) if "status of 402" not in told.text else None)
    log_in(page)
    page.get_by_label("Amount in USD").fill("12.50")
    page.get_by_role("button", name="Pay with another card").click()
    fill_in(page, DECLINED)
    expect(page.get_by_text(re.compile("declined", re.IGNORECASE)).first).to_be_visible()
    fill_in(page, ALWAYS_AUTHENTICATES)
    page.get_by_role("button", name=re.compile("Complete", re.IGNORECASE)).click()
    amount = page.locator(".balance .amount")
    expect(amount).to_have_text("37.50 USD")
    page.get_by_label("When less is left than").fill("40")
    page.get_by_label("Take from the card").fill("20")
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_text("20.00 USD are taken")).to_be_visible()
    paid = page.get_by_role("listitem").filter(has_text="by itself").filter(has_text="paid")
    for _ in range(100):  # a worker takes it up
        if paid.count():
            break
        page.wait_for_timeout(200)
        page.reload()
    expect(paid).to_have_count(1)
    expect(amount).to_have_text("57.50 USD")
    assert noted == []
