"""The installation that is stormed when money is at stake: the usual one, with a local Stripe and accounts that pay."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.installation import WEBS, WORKERS, WORKFLOWS, Installation
from tests.e2e.platform import drop_database, fill, free_port, until
from tests.stripes import Stripe

HERE = Path(__file__).parent
KEY = "sk_test_storm"
SECRET = "whsec_storm-Zq4Wm9Rk2Vx7Yp1Tn6-nobodys"
SETTINGS = {
    "STRIPE_SECRET_KEY": KEY,
    "STRIPE_WEBHOOK_SECRET": SECRET,
    "STRIPE_SWEEP_SECONDS": "5",
    "BILLING_CURRENCY": "usd",
    "CAST_EXCLUSIVE_SECONDS": "3",
}
# How each account pays. `gift`: what it is granted; `auto`: below, and how much.
PREPAID: tuple[dict[str, Any], ...] = (
    {"name": "by-hand", "gift": 100},
    {"name": "by-itself", "gift": 100, "auto": (200, 500)},
    {"name": "both", "gift": 0, "auto": (60, 80)},
)
METERED: tuple[dict[str, Any], ...] = ({"name": "monthly", "limit": 10**7}, {"name": "monthly-too", "limit": 10**7})
SET_UP = """
from payments.setup import Setup
setup = Setup(print)
setup.product()
setup.price(setup.meter())
setup.portal()
"""
MAKE = """
import json, sys
from accounts import credit, keys
from accounts.models import SCOPES, Account
from payments import customers, subscriptions
from payments.models import Customer
keep = {}
for plan in json.loads(%(plans)r):
    account = Account.objects.create(name=plan["name"], monthly_cap_cents=10**9)
    customer = customers.begin(account, email=plan["name"] + "@example.com")
    if "limit" in plan:
        customers.at_stripe(customer)
        subscriptions.set_mode(customer, "metered", plan["limit"], by="the storm")
    elif plan["gift"]:
        credit.book(account.pk, "grant", plan["gift"], "grant:" + plan["name"])
    keep[plan["name"]] = [account.pk, keys.create(account, name="storm", scopes=list(SCOPES))[1]]
print(json.dumps(keep))
"""


class Shop(Installation):
    """The local Stripe is the judge's second witness: nobody kills it either."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.stripe_port = free_port()
        self.stripe = Stripe(f"http://127.0.0.1:{self.stripe_port}", KEY)
        super().__init__(folder, runs_at_a_time=6, **SETTINGS | {"STRIPE_API_URL": self.stripe.url} | settings)
        self.accounts: dict[str, tuple[int, str]] = {}  # by name: id and API key

    def command(self, name: str) -> list[str]:
        if name != "stripe":
            return super().command(name)
        paces = ["--search-lag", "1", "--meter-lag", "1", "--webhook-secret", SECRET]
        hook = ["--webhook-url", f"{self.url}/api/webhooks/stripe"]
        port = ["--port", str(self.stripe_port), "--secret-key", KEY]
        return [sys.executable, "manage.py", "localstripe", *port, *paces, *hook]

    def make_accounts(self) -> None:
        """Have Stripe set up, and accounts made that pay."""
        # Its endpoints would be told everything twice, and sign with secrets that web processes do not have.
        self.manage(
            "shell", "-v0", "-c", "from payments.setup import Setup\ns = Setup(print)\ns.product()\ns.price(s.meter())"
        )
        plans = json.dumps([*PREPAID, *METERED])
        made = self.manage("shell", "-v0", "-c", MAKE % {"plans": plans})
        self.accounts = {name: tuple(kept) for name, kept in json.loads(made.splitlines()[-1]).items()}

    def seal(self) -> None:
        """Let an hour pass, as far as reports of usage go by it."""
        self.change("UPDATE payments_subscription SET due_at = now() WHERE state = 'active' AND lease_until IS NULL")

    def change(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def shop(folder: Path, **settings: Any) -> Iterator[Shop]:
    """Start everything; end it, and drop its database, afterwards."""
    here = Shop(folder, **settings)
    try:
        fill(folder, here.database_url, (HERE / "spells.toml").read_text())
        here.publish(*WORKFLOWS)
        here.proxy.start()
        try:
            here.start("stripe")
            until(lambda: here.answers(here.stripe.url + "/v1/charges"))
            here.make_accounts()
            here.key = here.accounts["by-hand"][1]
            for name in ("github", *WEBS, *WORKERS):
                here.start(name)
            here.up()
            yield here
        finally:
            here.down()
            here.proxy.stop()
    finally:
        drop_database(here.database_url)
