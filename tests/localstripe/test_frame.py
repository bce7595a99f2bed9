"""What all of the local Stripe's routes share, driven by the official SDK."""

import threading
import time
from typing import Any

import pytest
import requests
import stripe

from tests.stripes import Judged, Receiver, Stripe


@pytest.fixture
def client(stripe_server: Stripe) -> stripe.StripeClient:
    return stripe_server.client()


def test_a_request_without_a_key_or_with_another_is_unauthorized(stripe_server: Stripe) -> None:
    answer = requests.get(f"{stripe_server.url}/v1/customers", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["Request-Id"].startswith("req_")
    other = Stripe(stripe_server.url, "sk_test_wrong_and_long_enough")
    with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: sk_test_\*+ough"):
        other.client().v1.customers.list()
    basic = requests.get(f"{stripe_server.url}/v1/customers", auth=(stripe_server.key, ""), timeout=10)
    assert basic.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "form", "code", "param"),
    [
        ("POST", "/v1/customers", {"colour": "blue"}, "parameter_unknown", "colour"),
        ("POST", "/v1/customers", {"address[planet]": "Earth"}, "parameter_unknown", "address[planet]"),
        ("POST", "/v1/customers", {"address": "Earth"}, None, "address"),
        ("POST", "/v1/customers", {"metadata[k]": "v" * 501}, None, "metadata[k]"),
        ("GET", "/v1/customers", {"limit": "many"}, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/customers", {"limit": "101"}, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/customers", {"limit": ""}, "parameter_invalid_empty", "limit"),
        ("GET", "/v1/customers", {"starting_after": "cus_none"}, "resource_missing", "starting_after"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_with_its_name(
    stripe_server: Stripe, method: str, path: str, form: dict[str, str], code: str | None, param: str
) -> None:
    sent: dict[str, Any] = {"params": form} if method == "GET" else {"data": form}
    answer = stripe_server.session.request(method, stripe_server.url + path, timeout=10, **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error.get("code"), error["param"]) == (400, code, param)
    assert stripe_server.objects("customer") == []


def test_an_address_that_stripe_does_not_have_is_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"Unrecognized request URL \(GET: /v1/unicorns\)") as caught:
        client.raw_request("get", "/v1/unicorns")
    assert caught.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'") as caught:
        client.v1.customers.retrieve("cus_none")
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (404, "resource_missing", "id")


def test_metadata_is_merged_and_an_empty_value_removes_its_key(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"metadata": {"a": "1", "b": "2", "0": "zero"}})
    changed = client.v1.customers.update(made.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.to_dict()["metadata"] == {"b": "2", "c": "3", "0": "zero"}
    assert client.v1.customers.update(made.id, {"metadata": ""}).to_dict()["metadata"] == {}


def test_lists_come_newest_first_in_pages(client: stripe.StripeClient) -> None:
    made = [client.v1.customers.create({"name": str(number)}).id for number in range(5)]
    newest = made[::-1]
    page = client.v1.customers.list({"limit": 2})
    assert ([one.id for one in page.data], page.has_more) == (newest[:2], True)
    assert [one.id for one in page.auto_paging_iter()] == newest
    page = client.v1.customers.list({"limit": 2, "ending_before": newest[4]})
    assert ([one.id for one in page.data], page.has_more) == (newest[2:4], True)
    assert client.v1.customers.list({"created": {"gt": 2_000_000_000_0}}).data == []


def test_a_key_replays_the_first_answer_for_24_hours(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    keyed: Any = {"idempotency_key": "k1"}
    first = client.v1.customers.create({"name": "Rincewind"}, keyed)
    again = client.v1.customers.create({"name": "Rincewind"}, keyed)
    assert first.last_response
    assert again.last_response
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.headers["Request-Id"]
    with pytest.raises(stripe.IdempotencyError, match="can only be used with the same parameters"):
        client.v1.customers.create({"name": "Twoflower"}, keyed)
    stripe_server.advance(24 * 3600 - 60)
    assert client.v1.customers.create({"name": "Rincewind"}, keyed).id == first.id
    stripe_server.advance(61)
    assert client.v1.customers.create({"name": "Rincewind"}, keyed).id != first.id
    assert [one["replayed"] for one in stripe_server.record("/v1/customers")] == [False, True, False, True, False]


def test_what_never_began_is_not_kept_under_its_key(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    keyed: Any = {"idempotency_key": "k1"}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"address": "Earth"}, keyed)  # type: ignore[arg-type]
    stripe_server.faults(api={"rate_limit": 1, "times": 1})
    with pytest.raises(stripe.RateLimitError):
        client.v1.customers.create({"name": "Rincewind"}, keyed)
    stripe_server.faults(api={"rate_limit": 0, "error_5xx": 1, "times": 1})
    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "Rincewind"}, keyed)
    assert client.v1.customers.create({"name": "Rincewind"}, keyed).name == "Rincewind"


@pytest.mark.parametrize(("fault", "made"), [("error_500_kept", 0), ("error_500_kept_after", 1)])
def test_a_500_is_kept_under_its_key(stripe_server: Stripe, client: stripe.StripeClient, fault: str, made: int) -> None:
    stripe_server.faults(api={fault: 1, "times": 1})
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            client.v1.customers.create({"name": "Rincewind"}, {"idempotency_key": "k1"})
        assert caught.value.http_status == 500
    assert len(stripe_server.objects("customer")) == made


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "error_5xx", "error_5xx_after", "rate_limit"])
def test_the_sdks_own_retry_makes_one_object_whatever_is_lost(
    stripe_server: Stripe, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    stripe_server.faults(api={fault: 1, "times": 1})
    client = stripe_server.client(max_network_retries=0 if fault == "rate_limit" else 2)
    if fault == "rate_limit":
        with pytest.raises(stripe.RateLimitError):
            client.v1.customers.create({}, {"idempotency_key": "k1"})
    made = client.v1.customers.create({}, {"idempotency_key": "k1"})
    assert [one["id"] for one in stripe_server.objects("customer")] == [made.id]


def test_a_twin_of_a_request_under_way_is_409(stripe_process: Judged, stripe_server: Stripe) -> None:
    statuses: list[int] = []

    def ask() -> None:
        headers = {"Authorization": f"Bearer {stripe_server.key}", "Idempotency-Key": "k1"}
        statuses.append(requests.post(f"{stripe_server.url}/v1/customers", headers=headers, timeout=30).status_code)

    world = stripe_process.server.world
    first = threading.Thread(target=ask)
    with world.lock:  # what is carried out waits for it
        first.start()
        while "k1" not in world.idempotency._kept:
            time.sleep(0.01)
        ask()
    first.join()
    assert statuses == [409, 200]
    ask()
    assert statuses[-1] == 200
    assert len(stripe_server.objects("customer")) == 1


def test_events_tell_what_was_and_who_asked(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"name": "Rincewind"}, {"idempotency_key": "k1"})
    client.v1.customers.update(made.id, {"name": "Twoflower", "metadata": {"a": "1"}})
    client.v1.customers.update(made.id, {"name": "Twoflower"})
    updated, created = client.v1.events.list({"types": ["customer.created", "customer.updated"]}).data
    assert created.request
    assert created.request.idempotency_key == "k1"
    assert created.data.object["name"] == "Rincewind"
    assert updated.to_dict()["data"]["previous_attributes"] == {"name": "Rincewind", "metadata": {"a": None}}
    assert client.v1.events.retrieve(updated.id).data.object["name"] == "Twoflower"
    assert [one.type for one in client.v1.events.list({"type": "customer.*"}).data] == [updated.type, created.type]


def test_the_control_plane_wants_the_key_and_knows_its_faults(stripe_server: Stripe) -> None:
    assert requests.get(f"{stripe_server.url}/_local/record", timeout=10).status_code == 401
    answer = stripe_server.session.post(f"{stripe_server.url}/_local/faults", json={"api": {"eror": 1}}, timeout=10)
    assert (answer.status_code, answer.json()) == (422, {"error": "no such fault: api.eror"})
    answer = stripe_server.session.get(
        f"{stripe_server.url}/_local/state", headers={"Host": "evil.example"}, timeout=10
    )
    assert answer.status_code == 421


def test_webhooks_are_signed_and_tried_again(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    with Receiver(answers=[500, 500]) as receiver:
        stripe_server.add_endpoint(receiver.url)
        made = client.v1.customers.create({"name": "Rincewind"})
        for count in (1, 2, 3):
            receiver.wait_for(count)
            stripe_server.advance(10)
        bodies = [
            stripe.Webhook.construct_event(body, headers["stripe-signature"], stripe_server.webhook_secret, 60)
            for headers, body in receiver.got
        ]
    assert {(event.type, event.data.object["id"]) for event in bodies} == {("customer.created", made.id)}
    assert len({event.id for event in bodies}) == 1
    assert len(bodies) == 3


@pytest.mark.parametrize(("fault", "times"), [("drop", 0), ("duplicate", 2)])
def test_a_webhook_may_be_lost_or_doubled(
    stripe_server: Stripe, client: stripe.StripeClient, fault: str, times: int
) -> None:
    stripe_server.faults(webhooks={fault: 1})
    with Receiver() as receiver:
        stripe_server.add_endpoint(receiver.url)
        made = client.v1.customers.create({})
        stripe_server.faults(webhooks={fault: 0})
        client.v1.customers.update(made.id, {"name": "last"})
        receiver.wait_for(times + 1)
        kinds = [event["type"] for event in receiver.events()]
    assert sorted(kinds) == ["customer.created"] * times + ["customer.updated"]


def test_webhooks_may_be_there_before_the_answer(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    stripe_server.faults(webhooks={"before_answer": True, "delay_ms": [50, 50]})
    with Receiver() as receiver:
        stripe_server.add_endpoint(receiver.url)
        client.v1.customers.create({})
        assert [event["type"] for event in receiver.events()] == ["customer.created"]


def test_a_deleted_customer_is_gone_but_known(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"metadata": {"account": "7"}})
    client.v1.customers.delete(made.id)
    assert client.v1.customers.retrieve(made.id).deleted
    assert client.v1.customers.list().data == []
    stripe_server.advance(60)
    assert client.v1.customers.search({"query": "metadata['account']:'7'"}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such customer") as caught:
        client.v1.payment_intents.create({"amount": 100, "currency": "usd", "customer": made.id})
    assert (caught.value.http_status, caught.value.param) == (400, "customer")


def test_events_can_be_read_for_30_days(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    client.v1.customers.create({})
    (event,) = client.v1.events.list().data
    stripe_server.advance(30 * 24 * 3600 + 1)
    assert client.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        client.v1.events.retrieve(event.id)


def test_what_is_unreadable_is_refused_and_breaks_nothing(stripe_server: Stripe) -> None:
    for body in ("a[b" + "[c]" * 100_000, "a[=1", "%ff%fe=%00", "metadata=x", "name[]=a", "=", "metadata[a][b]=c"):
        answer = stripe_server.session.post(f"{stripe_server.url}/v1/customers", body, timeout=10)
        assert answer.status_code == 400, body[:20]
    answer = stripe_server.session.post(f"{stripe_server.url}/v1/customers", "a" * 1_100_000, timeout=10)
    assert answer.status_code == 413
    assert stripe_server.objects("customer") == []


def test_a_seed_repeats_the_same_faults(stripe_server: Stripe) -> None:
    def statuses() -> list[int]:
        stripe_server.faults(reset=True, seed=7, api={"error_5xx": 0.3, "rate_limit": 0.3, "paths": "balance"})
        url = f"{stripe_server.url}/v1/balance"
        return [stripe_server.session.get(url, timeout=10).status_code for _ in range(12)]

    first = statuses()
    assert first == statuses()
    assert set(first) == {200, 429, 503}
