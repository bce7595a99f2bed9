"""People in the browser tests, made by a command: the tests' own process keeps Django's ORM out."""

from __future__ import annotations

import json

from playwright.sync_api import Page

from tests.e2e.platform import Platform

PASSWORD = "correct horse battery"


def make_member(here: Platform, name: str, **roles: str) -> dict[str, int]:
    """Make a user with these roles in accounts, by their names; return the accounts' ids.

    The account of the platform's own key is named tests.
    """
    script = f"""
import json
from django.contrib.auth.models import User
from accounts.models import Account, Membership
user = User.objects.create_user({name!r}, password={PASSWORD!r})
made = {{}}
for account, role in {roles!r}.items():
    found, _ = Account.objects.get_or_create(name=account)
    Membership.objects.create(account=found, user=user, role=role)
    made[account] = found.pk
print(json.dumps(made))
"""
    made: dict[str, int] = json.loads(here.manage("shell", "-v0", "-c", script).splitlines()[-1])
    return made


def log_in(page: Page, name: str) -> None:
    page.get_by_label("User name or mail address").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
