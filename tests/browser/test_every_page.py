"""Every page, for everybody who comes to it: axe-core finds nothing, the console is quiet, and nothing is too wide.

What is looked at is held against the list of all pages (tests/matrix/rules.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from tests.browser.members import PASSWORD, log_in
from tests.e2e.platform import Platform
from tests.matrix.rules import ADMIN, PAGES

OpenPage = Callable[..., Page]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
# Without reading the styles by itself, for which axe would write some into the page.
# The first column of Django's rows of related things has no title, and holds none of ours.
# What passes is not described: that takes longer than to find out that it does, and megabytes for us to read.
RUN = """axe.run(document, {preload: false, resultTypes: ["violations"], rules: {
  "empty-table-header": {enabled: !document.querySelector("th.original")},
}}).then(({violations}) => ({
  violations,
  wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
}))"""
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1360, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "color_scheme": "dark"},
}
# One of everything that pages are about.
ROWS = f"""
import json
from django.contrib.auth.models import User
from accounts import keys
from accounts.models import Account, ApiKey, Membership
account = Account.objects.get()
user = User.objects.create_superuser("boss", "boss@example.com", {PASSWORD!r})
other = User.objects.create_user("colleague", "colleague@example.com", {PASSWORD!r})
for one, role in ((user, "owner"), (other, "viewer")):
    membership = Membership.objects.create(account=account, user=one, role=role)
key = ApiKey.objects.first()
print(json.dumps({{"account": account.pk, "key": key.pk, "member": other.pk}}))
"""


@pytest.fixture(scope="module")
def made(here: Platform) -> dict[str, Any]:
    """Ids of rows that the pages below are about."""
    rows: dict[str, Any] = json.loads(here.manage("shell", "-v0", "-c", ROWS).splitlines()[-1])
    endpoint = here.call("POST", "/api/v1/callbacks/endpoints", json={"url": "https://example.com/hooks"}).json()
    good, bad = here.cast("greet", {"name": "Ada"}), here.cast("stumble", {})
    here.ended(good["cast_id"])
    here.ended(bad["cast_id"])
    return rows | {"endpoint": endpoint["id"], "good": good, "bad": bad}


def paths_of(made: dict[str, Any]) -> dict[str, list[str]]:
    """Return the pages to look at, by the names of their URLs."""
    account = {"account_id": made["account"]}
    plain = {
        *("home", "spells-page", "account", "sessions", "account_change_password", "mfa_index"),
        *("problems", "guides", "api:docs"),
        *("attention", "import-spells", "github-connect", "admin:index", "admin:password_change"),
        *("mfa_activate_totp", "mfa_add_webauthn"),
    }
    of_account = {
        *("account-usage", "account-budget", "account-keys", "account-keys-new", "account-members", "account-audit"),
        *("account-callbacks", "account-settings"),
    }
    found = {name: [reverse(name)] for name in plain} | {name: [reverse(name, kwargs=account)] for name in of_account}
    found |= {
        "spell-times": [reverse("spell-times", args=[1])],
        "guide": [reverse("guide", args=["reference/api.md"])],
        "problem": [reverse("problem", args=["budget-cap-exceeded"])],
        "spell-page": [reverse("spell-page", kwargs={"spell_key": "greet"})],
        "account-keys-one": [reverse("account-keys-one", kwargs=account | {"key_id": made["key"]})],
        "account-members-one": [reverse("account-members-one", kwargs=account | {"user_id": made["member"]})],
        "account-callbacks-endpoint": [
            reverse("account-callbacks-endpoint", kwargs=account | {"endpoint_id": made["endpoint"]})
        ],
        "cast-page": [reverse("cast-page", kwargs={"cast_id": made[one]["cast_id"]}) for one in ("good", "bad")],
        "admin": [
            *(reverse(f"admin:{model.replace('.', '_')}_changelist") for model in ADMIN if "payments" not in model),
            *(reverse("admin:casts_cast_change", args=[made[one]["cast_id"]]) for one in ("good", "bad")),
            reverse("admin:accounts_account_change", args=[made["account"]]),
            reverse("admin:casts_spell_change", args=[1]),
            reverse("admin:casts_spell_add"),
        ],
    }
    return found


# For whoever has not logged in.
OUTSIDE = {
    "account_login": "/login/",
    "account_reset_password": "/password/",
    "reset_sent": "/password/sent/",
    "cast-page": "",  # by its link
    "nowhere": "/nowhere/",
}
# Why a page is not looked at here.
ELSEWHERE = {
    "start": "leads on",
    "readyz": "for programs",
    **{f"cast-page-{deed}": "a button" for deed in ("again", "cancel", "links")},
    "home-events": "a stream",
    "account-usage-file": "a file",
    **dict.fromkeys(("money", "money-accounts", "money-to-stripe"), "needs a Stripe: test_money.py"),
    **dict.fromkeys(("github-connected", "github-installed"), "needs GitHub's answer: test_connect.py"),
    **dict.fromkeys(("account_reauthenticate", "mfa_reauthenticate"), "the login's form: test_login.py"),
    "account_logout": "a question",
    "mfa_reauthenticate_webauthn": "needs a passkey: test_login.py",
    **dict.fromkeys(
        ("mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes"), "needs a second factor"
    ),
}


def test_no_page_is_forgotten(made: dict[str, Any]) -> None:
    assert set(PAGES) - set(paths_of(made)) - set(OUTSIDE) - set(ELSEWHERE) == set()


def wrong_with(page: Page) -> list[str]:
    """Return what axe-core finds on a page, and whether one has to scroll sideways."""
    page.evaluate(AXE)
    found = page.evaluate(RUN)
    told = [
        f"{one['id']} ({one['impact']}): {node['html'][:200]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
    headings = page.locator("h1").count()
    return told + ["wider than the screen"] * found["wide"] + [f"{headings} first headings"] * (headings != 1)


def told(found: dict[str, list[str]]) -> str:
    return "\n".join(f"{path}\n    {one}" for path, wrong in found.items() for one in wrong)


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_are_for_everybody(here: Platform, made: dict[str, Any], open_page: OpenPage, screen: str) -> None:
    page = open_page(f"{here.url}/login/", **SCREENS[screen])
    log_in(page, "boss")
    page.wait_for_url(lambda url: "/login" not in url)
    found = {}
    for paths in paths_of(made).values():
        for path in paths:
            page.goto(here.url + path)
            found[path] = wrong_with(page)
    assert told(found) == ""


@pytest.mark.parametrize("screen", SCREENS)
def test_so_are_those_that_need_no_login(
    here: Platform, made: dict[str, Any], open_page: OpenPage, screen: str
) -> None:
    page = open_page(f"{here.url}/login/", quiet=False, **SCREENS[screen])  # a 404 is told on the console
    found = {}
    for path in (*filter(None, OUTSIDE.values()), *(made[one]["progress_url"] for one in ("good", "bad"))):
        page.goto(path if path.startswith("http") else here.url + path)
        found[path] = wrong_with(page)
    assert told(found) == ""
