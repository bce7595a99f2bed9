"""While Stripe hangs, a web process serves others: whatever asks Stripe gives its turn back first."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

import payments
from accounts import principals
from accounts.models import Account
from core import shares
from core.shares import Shares
from payments import client, customers, paying
from payments.errors import PaymentsUnavailable
from payments.models import Customer, TopUp
from tests.core.test_worker import until
from tests.payments.paying import RETURN_URL, later, with_card, work
from tests.stripes import Stripe


def test_nothing_of_stripes_library_asks_stripe_without_stepping_aside() -> None:
    """Each call goes through `client()`, which does, whatever view it is made for."""
    folder = Path(payments.__file__).parent
    asking = re.compile(r"StripeClient\(|\b_client\(|stripe\.api_key|HTTPClient|RequestsClient\(")
    found = {file.name for file in folder.rglob("*.py") if asking.search(file.read_text())}
    assert found == {"client.py"}


def closing(work: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return run


@pytest.mark.django_db(transaction=True)
def test_while_stripe_hangs_others_are_served_and_more_than_a_few_are_told_to_come_back(
    stripe: Stripe, settings: Any, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OUTSIDE_THREADS = 2
    monkeypatch.setattr(client, "REQUEST_TIMEOUT", (60.0, 60.0))
    someone = principals.of_command("tests")
    there = settings.STRIPE_API_URL
    customer = with_card(stripe, account)
    others = [customers.begin(Account.objects.create(name=name)) for name in ("Vimes", "Nobbs")]
    # It takes connections, and answers nothing until it is gone. A worker's patience is not what requests have.
    silent = socket.create_server(("127.0.0.1", 0))
    settings.STRIPE_API_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
    monkeypatch.setattr(client, "TIMEOUT", (60.0, 0.001))

    def pay() -> TopUp:
        topup, _ = paying.top_up(someone, customer, cents=500, hosted=False, return_url=RETURN_URL)
        return topup

    def portal(whose: Customer) -> str:
        return paying.open_portal(someone, whose, return_url=RETURN_URL)

    async def scene(pool: ThreadPoolExecutor) -> tuple[Any, ...]:
        ours = Shares(1, each=1, waiting=50)
        hanging = [asyncio.create_task(ours.run(pool, "Ankh", closing(pay)))]
        hanging.append(asyncio.create_task(ours.run(pool, "Vimes", closing(lambda: portal(others[0])))))
        await asyncio.to_thread(until, lambda: shares.aside.waiting.total() == 2)
        third = ours.run(pool, "Nobbs", closing(lambda: portal(others[1])))
        refused = (await asyncio.gather(third, return_exceptions=True))[0]
        quick = await ours.run(pool, "Ankh", shares.aside.waiting.total)
        silent.close()
        return (refused, quick, *await asyncio.gather(*hanging, return_exceptions=True))

    with ThreadPoolExecutor(4) as pool:
        refused, waiting, topup, late = asyncio.run(scene(pool))
    assert waiting == 2  # at that time they waited still
    assert isinstance(refused, PaymentsUnavailable)
    assert refused.headers == {"Retry-After": "5"}
    assert isinstance(late, PaymentsUnavailable)
    assert topup.state == TopUp.State.NEW
    settings.STRIPE_API_URL = there
    monkeypatch.undo()
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    assert topup.state == TopUp.State.SUCCEEDED
    assert len(stripe.objects("payment_intent")) == 1
