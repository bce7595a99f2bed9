"""What the demo shows of money: credit runs out, a card is saved, topped up by hand and by itself, and disputed.

Run with `python -m spellplatform.demo.money` it is the holder of the card, who objects to the newest payment: no page
offers that.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from spellplatform.demo import environment
from spellplatform.demo.tour import Failed

CARD = {"number": "4242 4242 4242 4242", "expiry": "12/34", "cvc": "123", "name": "Ada Lovelace"}
TOPUP_CENTS, BELOW_CENTS = 5_00, 5_00
CASTS_MOST = 50  # before the credit of the demo must be spent
WAIT_SECONDS = 60.0


@dataclass
class Money:
    """The tour, over the public API, Stripe's page and the local Stripe's own controls."""

    base: str
    key: str
    stripe: Stripe
    say: Callable[[str], object]

    def go(self) -> None:
        """Raise Failed."""
        self.spend()
        self.save_card()
        self.top_up()
        self.top_up_by_itself()
        self.dispute()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        headers["Authorization"] = f"Bearer {self.key}"
        return requests.request(method, f"{self.base}/api/v1{path}", json=body, headers=headers, timeout=60)

    def done(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.ask(method, path, body, **headers)
        if not answer.ok:
            raise Failed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def billing(self) -> dict[str, Any]:
        found: dict[str, Any] = self.done("GET", "/billing")
        return found

    def until(self, what: str, found: Callable[[], Any]) -> Any:
        """Return what is found in the end. Raise Failed."""
        end = time.monotonic() + WAIT_SECONDS
        while not (it := found()):
            if time.monotonic() > end:
                raise Failed(f"{what} did not happen within {WAIT_SECONDS:.0f} s.")
            time.sleep(0.2)
        return it

    def cast(self) -> requests.Response:
        return self.ask("POST", "/cast", {"spell_key": "greet", "input": {"name": "Merlin"}})

    def spend(self) -> None:
        self.say(f"Credit         {cents(self.billing()['credit']['remaining_cents'])}, a gift to begin with")
        accepted = 0
        while (answer := self.cast()).status_code == 201 and accepted < CASTS_MOST:
            accepted += 1
        if answer.status_code != 402:
            raise Failed(f"POST /cast answered {answer.status_code} after {accepted} casts: {answer.text}")
        problem = answer.json()
        if problem["scope"] != "credit":
            raise Failed(f"The refusal is about {problem['scope']}, not credit.")
        self.say(f"Spent          after {accepted} casts: 402 {problem['code']}\n               {problem['detail']}")

    def save_card(self) -> None:
        page = self.done("POST", "/billing/setup", {})["url"]
        # As a browser does it; of the card nothing passes our service.
        answer = requests.post(page, data=CARD, allow_redirects=False, timeout=30)
        if answer.status_code != 303:
            raise Failed(f"Stripe's page answered {answer.status_code}.")
        card = self.until("Saving a card", lambda: self.billing()["card"])
        self.say(f"Card saved     {card['brand']} ending in {card['last4']}, on Stripe's page")

    def top_up(self) -> None:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        topup = self.done("POST", "/billing/topups", {"cents": TOPUP_CENTS}, **key)
        topup = self.until("The top-up", lambda: final(self.done("GET", f"/billing/topups/{topup['id']}")))
        if topup["state"] != "succeeded":
            raise Failed(f"The top-up ended as {topup['state']}: {topup['message']}")
        self.say(f"Topped up      {cents(topup['cents'])}; credit is {cents(self.remaining())} now")
        if (answer := self.cast()).status_code != 201:
            raise Failed(f"POST /cast answered {answer.status_code} after the top-up: {answer.text}")
        self.say("Cast           accepted again")

    def remaining(self) -> int:
        left: int = self.billing()["credit"]["remaining_cents"]
        return left

    def top_up_by_itself(self) -> None:
        self.done("PATCH", "/billing", {"auto_topup": {"below_cents": BELOW_CENTS, "cents": TOPUP_CENTS}})
        topups = self.until("Topping up by itself", self.automatic)
        credit = cents(self.remaining())
        self.say(
            f"By itself      topped up {cents(topups['cents'])}, as credit was below {cents(BELOW_CENTS)}: {credit}"
        )

    def automatic(self) -> dict[str, Any] | None:
        found = self.done("GET", "/billing/topups?state=succeeded")["results"]
        return next((one for one in found if one["origin"] == "auto"), None)

    def dispute(self) -> None:
        before = self.billing()["credit"]["cap_cents"]
        disputed = self.stripe.dispute()
        after = before - disputed["amount"]
        self.until("Taking back what is disputed", lambda: self.billing()["credit"]["cap_cents"] <= after)
        self.say(f"Disputed       {cents(disputed['amount'])} taken back at once; credit is {cents(self.remaining())}")


def final(topup: dict[str, Any]) -> dict[str, Any] | None:
    return topup if topup["final"] else None


def cents(amount: int) -> str:
    return f"{amount / 100:.2f} USD"


@dataclass(frozen=True)
class Stripe:
    """The local Stripe, steered by whoever has its secret key."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self.url + path, json=body, auth=(self.key, ""), timeout=30)
        if not answer.ok:
            raise Failed(f"The local Stripe answered {answer.status_code}: {answer.text}")
        return answer.json()

    def dispute(self) -> Any:
        """Have the holder of a card object to the newest payment. Raise Failed."""
        paid = self.ask("GET", "/v1/charges?limit=100")["data"]
        charge = next((one["id"] for one in paid if one["paid"] and not one["disputed"]), None)
        if charge is None:
            raise Failed("Nothing has been paid that could be disputed.")
        return self.ask("POST", "/_local/disputes", {"charge": charge, "reason": "fraudulent"})

    def decide(self, how: str) -> Any:
        """Have the newest dispute won or lost. Raise Failed."""
        found = self.ask("GET", "/v1/disputes?limit=100")["data"]
        if not found:
            raise Failed("There is no dispute.")
        return self.ask("POST", f"/_local/disputes/{found[0]['id']}", {"status": how})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m spellplatform.demo.money", description=__doc__)
    parser.add_argument("what", choices=["dispute", "won", "lost"], help="object to the newest payment, or decide that")
    parser.add_argument("--folder", default=str(environment.ROOT / "var" / "demo-billing"), help="of the demo")
    given = parser.parse_args()
    settings = environment.read(Path(given.folder) / "settings.json")
    if not settings.get("STRIPE_SECRET_KEY"):
        raise SystemExit(f"There is no demo with billing in {given.folder}. Start one with: make demo BILLING=1")
    stripe = Stripe(settings["STRIPE_API_URL"], settings["STRIPE_SECRET_KEY"])
    try:
        dispute = stripe.dispute() if given.what == "dispute" else stripe.decide(given.what)
    except (Failed, requests.RequestException) as exc:
        raise SystemExit(str(exc)) from exc
    print(f"{dispute['id']}: {cents(dispute['amount'])}, {dispute['status']}")


if __name__ == "__main__":
    main()
