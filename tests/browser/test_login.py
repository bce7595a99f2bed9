"""Logging in with a passkey, in a Chromium whose device has one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from subprocess import run

from playwright.sync_api import Page, expect

from tests.e2e.platform import ROOT, Platform

OpenPage = Callable[..., Page]
PASSWORD = "correct horse battery"


def with_device(page: Page) -> None:
    """Give the browser a device that keeps passkeys and whose owner agrees to everything."""
    protocol = page.context.new_cdp_session(page)
    protocol.send("WebAuthn.enable")
    device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options = device | {"isUserVerified": True, "automaticPresenceSimulation": True}
    protocol.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey_logs_in_alone_and_after_the_password(here: Platform, open_page: OpenPage):
    environment = here.environment | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    make = [
        sys.executable,
        "manage.py",
        "createsuperuser",
        "--noinput",
        "--username",
        "ann",
        "--email",
        "a@example.com",
    ]
    run(make, cwd=ROOT, env=environment, check=True, capture_output=True)
    site = here.url.replace("127.0.0.1", "localhost")  # passkeys are for names

    def log_in() -> None:
        page.get_by_label("User name or mail address").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()

    page = open_page(f"{site}/account/second-factor/passkeys/add/")
    with_device(page)
    log_in()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    page.goto(f"{site}/account/second-factor/")
    expect(page.get_by_role("link", name="Remove Passkey 1")).to_be_visible()
    for asked in ("Log in with a passkey", "Use a passkey"):
        page.goto(f"{site}/account/")
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{site}/account/sessions/")
        if asked == "Use a passkey":
            log_in()
        page.get_by_role("button", name=asked).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your sessions")  # where it was going
        expect(page.get_by_role("listitem")).to_have_count(1)


def test_under_an_address_no_passkey_is_offered(here: Platform, open_page: OpenPage):
    page = open_page(f"{here.url}/login/")
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Log in with a passkey")).to_be_hidden()
