"""What Stripe's errors mean to us."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from payments import client


def test_who_asks_for_the_same_while_it_is_under_way_asks_again_later(stripe):
    """It is no reuse of the key for something else, after which nothing may be asked again."""
    stripe.faults(api={"hold_ms": [300, 300]})

    def ask(name: str) -> str:
        try:
            with client.errors():
                return client.client().v1.customers.create({"name": name}, {"idempotency_key": "k"}).id
        except client.StripeTrouble as exc:
            return type(exc).__name__

    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(ask, ["Moist", "Moist"]))
    assert (first, second[:4]) == ("Unavailable", "cus_")
    assert ask("Moist") == second
    assert ask("Adora") == "KeyReused"


@pytest.mark.parametrize("name", ["unreachable"])
def test_who_does_not_answer_may_have_acted(stripe, name):
    stripe.faults(**{name: True})
    with pytest.raises(client.Unavailable), client.errors():
        client.client().v1.customers.list()
