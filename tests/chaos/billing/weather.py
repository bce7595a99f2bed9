"""What goes wrong while accounts pay: Stripe's faults, objections, refunds behind our back, and kills."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import stripe as sdk

from tests.chaos.billing.shop import Shop
from tests.chaos.storm import Storm, Trouble

API = {
    "reset_after": 0.05,  # acted, and the answer is lost
    "error_5xx": 0.05,
    "error_5xx_after": 0.03,
    "error_500_kept": 0.005,
    "reset_before": 0.02,
    "rate_limit": 0.01,
    "latency_ms": [0, 60],
}
WEBHOOKS = {"drop": 0.3, "duplicate": 0.2, "reorder": True, "delay_ms": [0, 1000]}
GUSTS: list[dict[str, Any]] = [
    {"unreachable": True},
    {"api": {"reset_after": 0.5}},
    {"api": {"latency_ms": [0, 8000]}},
    {"api": {"rate_limit": 0.5}},
    {"webhooks": {"drop": 1.0}},
    {"api": {"error_5xx": 0.5, "error_5xx_after": 0.3}},
]
SEAL_EVERY, OBJECT_EVERY = (4.0, 9.0), (6.0, 14.0)  # seconds


class BillingStorm(Storm):
    """The storm over money. GitHub behaves well: its own storm is another."""

    where: Shop

    def __init__(self, where: Shop, *, seed: int, kill_every: tuple[float, float]) -> None:
        self.seals = self.disputes = self.refunds = 0
        super().__init__(where, seed=seed, kill_every=kill_every)

    def troubles(self) -> tuple[Trouble, ...]:
        return self._kill, self._freeze, self._sever, self._blow, self._hours, self._object

    def end(self) -> None:
        super().end()
        self.where.stripe.faults(reset=True)

    def _weather(self, gust: dict[str, Any] | None = None) -> None:
        gust = gust or {}
        api, webhooks = API | gust.get("api", {}), WEBHOOKS | gust.get("webhooks", {})
        self.where.stripe.faults(api=api, webhooks=webhooks, unreachable=gust.get("unreachable", False))

    def _blow(self, dice: random.Random) -> Generator[float, None, None]:
        while True:
            yield dice.uniform(5, 10)
            self.gusts += 1
            self._weather(dice.choice(GUSTS))
            yield dice.uniform(1.5, 4)
            self._weather()

    def _hours(self, dice: random.Random) -> Generator[float, None, None]:
        """Let hours pass for the reports of usage."""
        while True:
            yield dice.uniform(*SEAL_EVERY)
            self.where.seal()
            self.seals += 1

    def _object(self, dice: random.Random) -> Generator[float, None, None]:
        """Have holders of cards object, banks decide, and somebody refund in Stripe's Dashboard."""
        while True:
            yield dice.uniform(*OBJECT_EVERY)
            paid = [one for one in self.where.stripe.objects("charge") if one["paid"] and not one["disputed"]]
            whole = [one for one in paid if not one["amount_refunded"]]
            if not whole:
                continue
            charge = dice.choice(whole)
            if dice.random() < 0.5:
                asked = {"charge": charge["id"], "reason": "fraudulent"}
                dispute = self.where.stripe.local("POST", "disputes", asked)
                self.disputes += 1
                yield dice.uniform(0, 4)
                if dice.random() < 0.7:
                    how = {"status": dice.choice(("won", "lost"))}
                    self.where.stripe.local("POST", f"disputes/{dispute['id']}", how)
            else:
                self._refund(charge["id"], dice.randint(1, charge["amount"]))

    def _refund(self, charge: str, cents: int) -> None:
        try:
            self.where.stripe.client().v1.refunds.create({"charge": charge, "amount": cents})
        except sdk.StripeError:
            return  # a fault, or it has been disputed meanwhile
        self.refunds += 1
