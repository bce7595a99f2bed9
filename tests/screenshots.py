"""`python -m tests.screenshots`: take the documentation's pictures of the real pages anew (docs/images)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, ViewportSize, sync_playwright

from spellplatform.demo import spells_file
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.members import PASSWORD, log_in
from tests.e2e.platform import ROOT, Platform, platform

IMAGES = ROOT / "docs" / "images"
DESKTOP: ViewportSize = {"width": 1200, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 760}
TEXTS = ("the quick brown fox jumps over the lazy dog", "to be or not to be", "a rose is a rose is a rose")
PEOPLE = f"""
from django.contrib.auth.models import User
from accounts import budget
from accounts.models import Account, Membership
account = Account.objects.get()
Account.objects.filter(pk=account.pk).update(name="Editorial")
account.refresh_from_db()
budget.set_cap(account, cap_cents=500)
user = User.objects.create_superuser("ada", "ada@example.com", {PASSWORD!r})
Membership.objects.create(account=account, user=user, role="owner")
"""


def casts(here: Platform) -> tuple[str, str]:
    """Cast what the pictures show; return the links to one that succeeded and one that failed."""
    for text in TEXTS:
        for _ in range(2):
            here.ended(here.cast("count-words", {"text": text})["cast_id"])
    failed = here.cast("stumble", {})
    good = here.cast("count-words", {"text": " ".join(TEXTS), "top": 5}, metadata={"issue": "November"})
    here.ended(failed["cast_id"])
    here.ended(good["cast_id"])
    here.cast("greet", {"name": "Grace", "times": 3})
    return good["progress_url"], failed["progress_url"]


def take(page: Page, address: str, name: str, **options: Any) -> None:
    page.goto(address)
    page.wait_for_load_state("networkidle") if options.pop("quiet", True) else page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{name}.png", **options)
    print(name)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        platform(Path(folder), spells=spells_file().read_text()) as here,
        sync_playwright() as playwright,
    ):
        here.manage("shell", "-v0", "-c", PEOPLE)
        good, failed = casts(here)
        running = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = running.new_page(viewport=DESKTOP, timezone_id="UTC")
        take(page, good, "progress")
        page.goto(f"{here.url}/login/?next=/home/")
        log_in(page, "ada")
        page.wait_for_url("**/home/**")
        take(page, f"{here.url}/home/", "home", quiet=False)
        take(page, f"{here.url}/spells/count-words/", "spell")
        take(page, f"{here.url}/account/1/usage/", "usage")
        take(page, f"{here.url}/admin/", "console")
        phone = running.new_page(viewport=PHONE, timezone_id="UTC", color_scheme="dark", is_mobile=True)
        take(phone, good, "progress-phone")
        take(phone, failed, "failure-phone")
        running.close()


if __name__ == "__main__":
    main()
