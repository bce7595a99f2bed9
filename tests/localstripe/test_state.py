"""With --state-dir a restart forgets nothing, and does what fell due meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from localstripe.config import Config
from localstripe.server import LocalStripe
from tests.stripes import Receiver, Stripe


def begin(folder: Path, **options: Any) -> tuple[LocalStripe, Stripe]:
    server = LocalStripe(Config(port=0, state_dir=folder, **options))
    server.start()
    return server, Stripe(server.config.base_url)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    server, before = begin(tmp_path)
    client = before.client()
    customer = client.v1.customers.create({"metadata": {"account": "7"}}, {"idempotency_key": "k1"}).id
    card = client.v1.payment_methods.attach("pm_card_pendingRefund", {"customer": customer}).id
    wanted: Any = {"amount": 1000, "currency": "usd", "customer": customer, "payment_method": card, "confirm": True}
    wanted["allowed_payment_method_types"] = ["card"]
    paid = client.v1.payment_intents.create(wanted).id
    refund = client.v1.refunds.create({"payment_intent": paid}).id
    setup: Any = {"mode": "setup", "customer": customer, "currency": "usd", "success_url": "https://example.com/"}
    session = client.v1.checkout.sessions.create(setup).id
    before.advance(3600)
    events = [event["id"] for event in before.objects("event")]
    server.stop()
    assert (tmp_path / "stripe.json").stat().st_mode & 0o777 == 0o600

    with Receiver() as receiver:
        server, after = begin(tmp_path, webhook_url=receiver.url)
        client = after.client()
        assert [event["id"] for event in after.objects("event")] == events
        assert client.v1.refunds.retrieve(refund).status == "succeeded"
        made = client.v1.customers.create({"metadata": {"account": "7"}}, {"idempotency_key": "k1"})
        assert (made.id, len(after.objects("customer"))) == (customer, 1)
        assert client.v1.customers.search({"query": "metadata['account']:'7'"}).data[0].id == customer
        after.advance(23 * 3600)
        assert client.v1.checkout.sessions.retrieve(session).status == "expired"
        receiver.wait_for(2)
        assert {event["type"] for event in receiver.events()} == {"setup_intent.canceled", "checkout.session.expired"}
        server.stop()

        server, _ = begin(tmp_path, webhook_url=receiver.url, webhook_secret="whsec_new")
        (endpoint,) = server.world.store.all("webhook_endpoint")
        assert endpoint["_secret"] == "whsec_new"
        server.stop()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stripe.json").write_text("{}")
    with pytest.raises(SystemExit, match="delete it"):
        begin(tmp_path)
