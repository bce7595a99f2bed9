"""The judge of the stand-in and of our requests is judged: what is right passes, and what is wrong is named."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests import stripetypes
from tests.stripes import Judged, Stripe

METER: dict[str, Any] = {
    "id": "mtr_1",
    "object": "billing.meter",
    "created": 1,
    "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
    "default_aggregation": {"formula": "sum"},
    "display_name": "Casts",
    "event_name": "casts",
    "event_time_window": None,
    "livemode": False,
    "status": "active",
    "status_transitions": {"deactivated_at": None},
    "updated": 1,
    "value_settings": {"event_payload_key": "value"},
}
PRICE: dict[str, Any] = {
    "id": "price_1",
    "object": "price",
    "active": True,
    "billing_scheme": "per_unit",
    "created": 1,
    "currency": "usd",
    "livemode": False,
    "metadata": {"a": "b"},
    "product": "prod_1",
    "type": "recurring",
    "unit_amount": 1,
    "unit_amount_decimal": "1",
}
GONE = {"id": "prod_1", "object": "product", "deleted": True}
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": 1,
    "data": {"object": METER, "previous_attributes": {"display_name": "Old"}},
    "livemode": False,
    "pending_webhooks": 0,
    "request": {"id": "req_1", "idempotency_key": None},
    "type": "billing.meter.updated",
}
LIST: dict[str, Any] = {"object": "list", "data": [METER], "has_more": False, "url": "/v1/billing/meters"}
THIN: dict[str, Any] = {
    "id": "evt_test_1",
    "object": "v2.core.event",
    "context": None,
    "created": "2026-10-28T17:46:22.134Z",
    "livemode": False,
    "reason": None,
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    "type": "v1.billing.meter.error_report_triggered",
}
REPORT: dict[str, Any] = {
    **THIN,
    "data": {
        "developer_message_summary": "There is 1 invalid event",
        "reason": {
            "error_count": 1,
            "error_types": [
                {
                    "code": "meter_event_no_customer_defined",
                    "error_count": 1,
                    "sample_errors": [{"error_message": "No key", "request": {"identifier": "id-1"}}],
                }
            ],
        },
        "validation_end": "2026-10-28T17:46:20.000Z",
        "validation_start": "2026-10-28T17:46:10.000Z",
    },
}
ERROR = {"error": {"type": "card_error", "message": "Declined.", "code": "card_declined", "decline_code": "x"}}
CREATE = "event_name=casts&display_name=Casts&default_aggregation[formula]=sum"


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy with these changes; `a__b` is the field b of a, and ... takes a field away."""
    copy: Any = json.loads(json.dumps(base))
    for path, value in changes.items():
        *way, last = path.split("__")
        place: Any = copy
        for name in way:
            place = place[int(name)] if name.isdigit() else place[name]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return copy


@pytest.mark.parametrize(
    "good",
    [
        METER,
        PRICE,
        changed(PRICE, product=GONE),
        GONE,
        EVENT,
        LIST,
        ERROR,
        changed(METER, event_time_window="day"),
    ],
)
def test_what_stripe_gives_is_taken(good: dict[str, Any]) -> None:
    assert list(stripetypes.answer(good)) == []


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (changed(METER, created="1"), "billing.meter.created: '1' is no int"),
        (changed(METER, livemode=0), "billing.meter.livemode: 0 is no bool"),
        (changed(METER, created=True), "billing.meter.created: True is no int"),
        (changed(METER, display_name=None), "billing.meter.display_name: None is no str"),
        (changed(METER, status=...), "billing.meter.status: missing"),
        (changed(METER, status="off"), "billing.meter.status: 'off' is none of 'active', 'inactive'"),
        (changed(METER, colour="red"), "billing.meter.colour: no such field"),
        (
            changed(METER, value_settings__event_payload_key=...),
            "billing.meter.value_settings.event_payload_key: missing",
        ),
        (changed(METER, object="billing.metre"), "nothing that Stripe has is a 'billing.metre' of type None"),
        (changed(PRICE, unit_amount_decimal=1), "price.unit_amount_decimal: 1 is no decimal string"),
        (changed(PRICE, metadata={"a": 1}), "price.metadata.a: 1 is no str"),
        (changed(PRICE, product=3), "price.product: 3 is no str"),
        (changed(PRICE, product={**GONE, "x": 1}), "price.product.x: no such field"),
        (changed(PRICE, product=METER), "price.product.object: 'billing.meter' is none of 'product'"),
        (changed(LIST, has_more=...), "list.has_more: missing"),
        (changed(LIST, data__0__id=3), "list.data[0]: billing.meter.id: 3 is no str"),
        (changed(EVENT, data=3), "event.data: 3 is no object"),
        (changed(EVENT, type="billing.meter.met"), "event.type: 'billing.meter.met' is none of"),
        (changed(EVENT, data__object__id=None), "event.data: billing.meter.id: None is no str"),
        (
            changed(EVENT, data__previous_attributes={"name": "x"}),
            "event.data.previous_attributes.name: no such field",
        ),
        (changed(ERROR, error__reason="x"), "error.reason: no such field"),
        (changed(ERROR, error__message=...), "error: without type or message"),
        ([METER], "is no object"),
    ],
)
def test_what_stripe_does_not_give_is_named(bad: Any, problem: str) -> None:
    assert any(problem in found for found in stripetypes.answer(bad)), list(stripetypes.answer(bad))


@pytest.mark.parametrize(
    ("method", "target", "body", "problem"),
    [
        ("POST", "/v1/billing/meters", CREATE, ""),
        ("POST", "/v1/billing/meters", CREATE + "&expand[0]=x&expand[1]=y", ""),
        ("POST", "/v1/billing/meters", CREATE + "&color=red", "params.color: no such parameter"),
        ("POST", "/v1/billing/meters", CREATE + "&idempotency_key=x", "params.idempotency_key: no such parameter"),
        ("POST", "/v1/billing/meters", "event_name=x&display_name=y", "params.default_aggregation: required"),
        (
            "POST",
            "/v1/billing/meters",
            CREATE.replace("sum", "max"),
            "formula: 'max' is none of 'count', 'last', 'sum'",
        ),
        ("POST", "/v1/billing/meters", CREATE + "&expand=x", "params.expand: 'x' is no list"),
        ("GET", "/v1/billing/meters?limit=3&status=active", "", ""),
        ("GET", "/v1/billing/meters?limit=three", "", "params.limit: 'three' is no int"),
        ("POST", "/v1/billing/metres", CREATE, "no call of Stripe's goes to POST /v1/billing/metres"),
        ("POST", "/v1/billing/meters/mtr_1/deactivate", "", ""),
        ("POST", "/v1/prices/price_1", "lookup_key=x&metadata[a]=&active=true&nickname=", ""),
        ("POST", "/v1/prices/price_1", "active=yes", "params.active: 'yes' is no bool"),
        ("POST", "/v1/prices/price_1", "unit_amount=1", "params.unit_amount: no such parameter"),
        ("POST", "/v1/subscriptions", "customer=cus_1&items[0][price]=price_1&off_session=true", ""),
        ("POST", "/v1/subscriptions", "items[0][prices]=price_1", "params.items[0].prices: no such parameter"),
        ("POST", "/v2/core/event_destinations", '{"name": 3}', "params.name: 3 is no str"),
        ("GET", "/v2/core/events?types[0]=v1.billing.meter.error_report_triggered", "", ""),
    ],
)
def test_what_is_asked_is_held_against_the_parameters(method: str, target: str, body: str, problem: str) -> None:
    form = not body.startswith("{")
    params = stripetypes.form_of(body or target.partition("?")[2]) if form else json.loads(body)
    found = list(stripetypes.request(method, target.partition("?")[0], params, form=form))
    assert any(problem in line for line in found) if problem else found == [], found


def test_an_answer_of_another_kind_than_the_call_gives_is_named() -> None:
    given = json.dumps(PRICE).encode()
    found = list(stripetypes.exchange("GET", "/v1/billing/meters/mtr_1", b"", 200, given))
    assert "answer.object: 'price' is none of 'billing.meter'" in found


def test_events_of_api_v2_are_held_against_their_own_types() -> None:
    assert list(stripetypes.answer(REPORT, v2=True)) == []
    assert list(stripetypes.answer({"data": [REPORT], "next_page_url": None}, v2=True)) == []
    assert list(stripetypes.notification(THIN)) == []
    wrong = changed(REPORT, data__reason__error_types__0__code="bad", data__validation_end=...)
    assert len(list(stripetypes.answer(wrong, v2=True))) == 2
    assert list(stripetypes.notification(REPORT)) == ["a thin event brings no data"]
    assert len(list(stripetypes.notification(changed(THIN, type="v1.billing.meter.met")))) == 1


def call(judge: stripetypes.Judge, method: str, path: str, body: str = "") -> list[str]:
    """Return what the judge of a stand-in finds wrong with one call."""
    before = len(judge.problems)
    query = {} if method == "POST" else {"QUERY_STRING": body}
    sent = body.encode() if method == "POST" else b""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_LENGTH": str(len(sent)), **query}
    answered: list[str] = []
    given = judge(
        {**environ, "wsgi.input": io.BytesIO(sent)}, lambda status, headers, info=None: answered.append(status)
    )
    assert b"".join(given)
    assert answered
    return judge.problems[before:]


def test_a_judge_hears_all_that_goes_in_and_out_of_a_stand_in() -> None:
    def stand_in(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sent = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        status = "400 Bad Request" if "refuse" in sent else "402 Payment Required" if "decline" in sent else "200 OK"
        start_response(status, [])
        body = METER if status[0] == "2" else ERROR
        return [json.dumps(changed(body, created=None) if "break" in sent else body).encode()]

    judge = stripetypes.Judge(stand_in)
    meters = "/v1/billing/meters"
    assert call(judge, "POST", meters, CREATE) == []
    assert len(call(judge, "POST", meters, CREATE + "&expand[]=break")) == 2  # wrong by itself, and for this call
    assert call(judge, "POST", meters, "event_name=refuse") == []
    assert len(call(judge, "POST", meters, "event_name=decline")) == 2  # two parameters are missing
    assert call(judge, "GET", meters + "/mtr_1", "limit=3") == [
        "GET /v1/billing/meters/mtr_1 200: params.limit: no such parameter"
    ]
    assert call(judge, "GET", "/_local/record") == []
    judge.hear(EVENT)
    judge.hear(THIN)
    assert judge.judged == 7  # not the control plane
    judge.hear(changed(EVENT, id=3))
    assert judge.problems[-1] == "event billing.meter.updated: event.id: 3 is no str"


def test_the_local_stripe_is_judged_in_every_test(stripe_process: Judged, stripe_server: Stripe) -> None:
    client = stripe_server.client()
    made = client.v1.customers.create({"name": "Rincewind"})
    assert stripe_process.judge.judged
    assert stripe_process.found() == []
    with stripe_process.server.world.lock:
        stripe_process.server.world.store.get("customer", made.id)["created"] = "yesterday"
    client.v1.customers.retrieve(made.id)
    client.v1.customers.update(made.id, {"name": "Twoflower"})
    found = stripe_process.found()
    assert {one.partition(":")[0] for one in found} == {
        f"GET /v1/customers/{made.id} 200",
        f"POST /v1/customers/{made.id} 200",
        "event customer.updated",
    }
    stripe_process.judge.problems.clear()
    with stripe_process.server.world.lock:
        next(stripe_process.server.world.store.all("event"))["data"]["object"]["created"] = 1


def test_a_local_stripe_elsewhere_is_judged_by_its_record_and_objects(
    stripe_process: Judged, stripe_server: Stripe
) -> None:
    client = stripe_server.client()
    made = client.v1.customers.create({"name": "Rincewind", "metadata": {"a": "b"}, "expand": ["subscriptions"]})
    client.v2.core.events.list({"types": ["v1.billing.meter.no_meter_found"]})
    assert stripe_server.misfits() == []
    world = stripe_process.server.world
    with world.lock:
        world.record[0]["params"]["colour"] = "red"
        world.store.get("customer", made.id)["balance"] = "much"
    assert stripe_server.misfits() == [
        "POST /v1/customers: params.colour: no such parameter",
        "customer: customer.balance: 'much' is no int",
    ]
