"""`stripesetup` makes what is missing at Stripe, once, and puts right what is otherwise."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from payments import catalog
from payments.client import client, errors
from payments.folding import SNAPSHOT_TYPES, THIN_TYPES
from payments.setup import WEBHOOK_PATH
from tests.stripes import Stripe

KINDS = (
    "product",
    "billing.meter",
    "price",
    "webhook_endpoint",
    "v2.core.event_destination",
    "billing_portal.configuration",
)


@pytest.fixture(autouse=True)
def public(stripe: Stripe, settings: Any) -> None:
    settings.PUBLIC_URL = "https://spells.example"


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("stripesetup", *arguments, stdout=out)
    return out.getvalue()


def made(stripe: Stripe) -> dict[str, list[Any]]:
    """Return what was made; a portal's configuration is there from the beginning."""
    return {kind: [one for one in stripe.objects(kind) if not one.get("is_default")] for kind in KINDS}


def test_all_is_made_once_and_found_again(stripe):
    with pytest.raises(CommandError, match="without --check"):
        run("--check")
    assert not any(made(stripe).values()), "--check only tells"
    told = run()
    there = made(stripe)
    assert [len(there[kind]) for kind in KINDS] == [1] * 6
    [price], [endpoint] = there["price"], there["webhook_endpoint"]
    assert (price["unit_amount"], price["currency"], price["lookup_key"]) == (1, "usd", "spell_platform_usage_usd")
    assert price["recurring"]["meter"] == there["billing.meter"][0]["id"] == catalog.price().meter_id
    assert endpoint["url"] == "https://spells.example" + WEBHOOK_PATH
    assert endpoint["api_version"] == "2026-10-28.endive"
    assert set(endpoint["enabled_events"]) == SNAPSHOT_TYPES
    assert set(there["v2.core.event_destination"][0]["enabled_events"]) == THIN_TYPES
    assert catalog.portal_configuration() == there["billing_portal.configuration"][0]["id"]
    assert told.count("whsec_") == 3, "two new secrets, and the one of before"
    again = run()
    assert made(stripe) == there
    assert "whsec_" not in again
    assert again.count("✓") == 6
    assert run("--check").count("✓") == 6


@pytest.mark.parametrize(
    ("currency", "name"), [("jpy", "JPY"), ("kwd", "KWD")], ids=["without cents", "with thousandths"]
)
def test_a_unit_is_the_smallest_of_the_currency(stripe, settings, currency, name):
    run()
    settings.BILLING_CURRENCY = currency
    told = run()
    assert f"the price in {name}" in told
    catalog.forget()
    prices = {one["id"]: one for one in stripe.objects("price")}
    mine = prices[catalog.price().id]
    assert (mine["currency"], mine["unit_amount"], len(prices)) == (currency, 1, 2)
    assert len(stripe.objects("billing.meter")) == 1


def test_what_is_otherwise_is_put_right(stripe):
    run()
    there = made(stripe)
    v1 = client().v1
    with errors():
        v1.products.update(catalog.PRODUCT_ID, {"active": False, "name": "Magic"})
        v1.webhook_endpoints.update(
            there["webhook_endpoint"][0]["id"], {"enabled_events": ["charge.succeeded"], "disabled": True}
        )
        client().v2.core.event_destinations.disable(there["v2.core.event_destination"][0]["id"])
        v1.billing_portal.configurations.update(there["billing_portal.configuration"][0]["id"], {"active": False})
        v1.billing.meters.deactivate(there["billing.meter"][0]["id"])
        v1.prices.update(there["price"][0]["id"], {"active": False})
    with pytest.raises(CommandError):
        run("--check")
    told = run()
    assert told.count("~") + told.count("+ Made") == 6
    now = made(stripe)
    assert now["product"][0]["name"] == "Magic", "an operator's own name for it stays"
    assert now["webhook_endpoint"][0]["status"] == now["v2.core.event_destination"][0]["status"] == "enabled"
    assert set(now["webhook_endpoint"][0]["enabled_events"]) == SNAPSHOT_TYPES
    assert [one["active"] for one in now["price"]] == [True]
    assert run("--check").count("✓") == 6


def test_a_price_that_is_not_a_unit_is_replaced(stripe):
    run()
    [old] = stripe.objects("price")
    with errors():
        wrong = client().v1.prices.create(
            {
                "product": catalog.PRODUCT_ID,
                "currency": "usd",
                "unit_amount": 2,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": old["recurring"]["meter"]},
                "lookup_key": catalog.lookup_key(),
                "transfer_lookup_key": True,
            }
        )
    assert f"Price {wrong.id} is 2 USD a unit" in run()
    catalog.forget()
    assert catalog.price().id not in (wrong.id, old["id"])
    assert run("--check").count("✓") == 6


def test_an_endpoint_that_was_deleted_is_made_with_a_new_secret(stripe):
    first = run()
    with errors():
        client().v1.webhook_endpoints.delete(stripe.objects("webhook_endpoint")[0]["id"])
    second = run()
    assert "+ Made: the webhook endpoint" in second
    assert second.split("STRIPE_WEBHOOK_SECRET=")[1].split(",")[0] not in first


def test_two_at_once_make_one_of_each(stripe):
    stripe.faults(api={"hold_ms": [50, 150]})
    with ThreadPoolExecutor(2) as pool:
        for told in pool.map(lambda _: run(), range(2)):
            assert "Stripe" in told
    assert [len(found) for found in made(stripe).values()] == [1] * 6


def test_secrets_are_written_beside_those_of_before(stripe, settings, tmp_path):
    env = tmp_path / ".env"
    env.write_text("DEBUG=0\nSTRIPE_WEBHOOK_SECRET=whsec_old\n")
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_old"]
    assert "Restart web and workers" in run("--write", "--env-file", str(env))
    *_, line = env.read_text().splitlines()
    name, _, value = line.partition("=")
    assert (name, len(value.split(",")), value.split(",")[-1]) == ("STRIPE_WEBHOOK_SECRET", 3, "whsec_old")
    assert "DEBUG=0" in env.read_text()


def test_where_stripe_does_not_reach_there_are_no_webhooks(stripe, settings, monkeypatch):
    monkeypatch.setattr("payments.setup.reachable", lambda url: False)
    assert "stripe listen --forward-to" in run()
    assert not stripe.objects("webhook_endpoint")


def test_it_says_what_is_wrong_with_the_key_or_with_stripe(stripe, settings, monkeypatch):
    monkeypatch.setattr("payments.setup.WAITS", ())
    stripe.faults(unreachable=True)
    with pytest.raises(CommandError, match="goes on from here"):
        run()
    stripe.faults(reset=True)
    settings.STRIPE_SECRET_KEY = "sk_test_wrong_and_long_enough"
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY"):
        run()
    settings.BILLING = False
    with pytest.raises(CommandError, match="there is no billing"):
        run()
