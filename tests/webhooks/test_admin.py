"""The operator's console: deliveries."""

import json
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from casts.lifecycle import dispatching
from tests.casts.conftest import accept_cast
from tests.console import HOSTILE, claimed, delivered, listed, page, queries, refuses_changes, running_cast, shown
from webhooks.models import Delivery, DeliverySweep

LIST = "/admin/webhooks/delivery/"
SAMPLES = Path(__file__).parents[1] / "data" / "github" / "samples"


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text())


@pytest.fixture
def run_delivery(db):
    return delivered(sample("workflow_run.completed"), event="workflow_run")


def test_a_delivery_shows_its_payload_and_what_came_of_it(admin_client, run_delivery):
    text = page(admin_client, f"{LIST}{run_delivery.pk}/change/")
    read = shown(text)
    assert run_delivery.guid in read
    assert "not ours" in read
    assert f"\n    &quot;id&quot;: {run_delivery.run_id},\n" in text
    assert f"/admin/casts/cast/?q={run_delivery.run_id}" in text


def test_a_casts_deliveries_are_found_from_its_page(admin_client, api_key, spell, run_delivery):
    cast = running_cast(api_key, spell)
    whose = {"full_name": cast.run_scope}
    body = sample("workflow_run.in_progress.derived")
    own = delivered(body, event="workflow_run", run_id=int(cast.run_key or 0), repository=body["repository"] | whose)
    assert own.outcome in ("applied", "nothing_new")
    assert f"{LIST}?q={cast.run_key}" in page(admin_client, f"/admin/casts/cast/{cast.pk}/change/")
    assert own.guid in page(admin_client, LIST, q=cast.run_key)
    assert listed(admin_client, LIST, q=cast.run_key) == 1
    assert listed(admin_client, "/admin/casts/cast/", q=own.run_id) == 1


def test_a_delivery_that_failed_shows_why(admin_client, api_key, spell, monkeypatch):
    def broken(payload):
        raise ValueError(f"Bad {HOSTILE}")

    monkeypatch.setitem(__import__("webhooks.handlers").handlers.HANDLERS, "ping", broken)
    failed = delivered(sample("ping.repository"), event="ping")
    for path in (LIST, f"{LIST}{failed.pk}/change/"):
        assert "ValueError: Bad &lt;script&gt;" in page(admin_client, path)


def test_every_sample_opens(admin_client):
    for file in sorted(SAMPLES.glob("*.json")):
        event = file.name.split(".")[0]
        Delivery.objects.create(guid=file.name[:64], event=event, body=file.read_text(), received_at=timezone.now())
    for delivery in Delivery.objects.all():
        page(admin_client, f"{LIST}{delivery.pk}/change/")


@pytest.mark.parametrize("body", ["", "no json", "[" * 100_000, f'"{HOSTILE}"', '{"a": "' + "x" * 900_000 + '"}'])
def test_a_strange_body_opens(admin_client, body):
    strange = Delivery.objects.create(guid="g", event="ping", body=body, received_at=timezone.now())
    text = page(admin_client, f"{LIST}{strange.pk}/change/")
    assert len(text) < 400_000


def test_deliveries_are_found_and_filtered(admin_client, run_delivery):
    delivered(sample("ping.repository"), event="ping")
    delivered(sample("installation.created"), event="installation")
    for query, found in (
        ({}, 3),
        ({"q": run_delivery.guid}, 1),
        ({"q": run_delivery.guid[:8]}, 1),
        ({"q": str(run_delivery.run_id)}, 1),
        ({"q": "9" * 40}, 0),
        ({"q": f"https://github.com/o/r/actions/runs/{run_delivery.run_id}/attempts/2"}, 1),
        ({"q": run_delivery.repository}, Delivery.objects.filter(repository=run_delivery.repository).count()),
        ({"event": "ping"}, 1),
        ({"action": "completed"}, 1),
        ({"outcome__exact": "not_ours"}, 1),
        ({"outcome__exact": "nothing_new"}, 1),
        ({"received_at__gte": "2020-01-01 00:00:00+00:00"}, 3),
    ):
        assert listed(admin_client, LIST, **query) == found, query


def test_nobody_changes_a_delivery(admin_client, run_delivery):
    before = Delivery.objects.values().get()
    refuses_changes(admin_client, "webhooks.delivery", run_delivery.pk)
    assert Delivery.objects.values().get() == before


def test_the_list_leaves_bodies_alone_and_needs_as_many_queries_for_many_rows(admin_client, db):
    def fill(count):
        for _ in range(count):
            delivered(sample("workflow_run.completed"), event="workflow_run")

    fill(3)
    few = queries(admin_client, LIST)
    fill(27)
    with CaptureQueriesContext(connection) as asked:
        page(admin_client, LIST)
    assert len(asked) == few < 10
    assert not [query["sql"] for query in asked if '"webhooks_delivery"."body"' in query["sql"]]


def test_a_delivery_may_come_before_its_run_is_known(admin_client, api_key, spell):
    cast = claimed(accept_cast(api_key=api_key, spell=spell, input={}))
    dispatching.intend_dispatch(cast)
    body = sample("workflow_job.queued")
    body["workflow_job"]["created_at"] = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    waiting = delivered(body, event="workflow_job", repository=body["repository"] | {"full_name": cast.run_scope})
    assert waiting.outcome == "pending"
    assert "pending" in shown(page(admin_client, f"{LIST}{waiting.pk}/change/"))


def test_the_console_is_for_staff(client, django_user_model, db):
    client.force_login(django_user_model.objects.create_user("visitor"))
    assert client.get(LIST).headers["Location"] == f"/admin/login/?next={LIST}"


def test_the_sweep_shows_how_far_it_came_and_what_went_wrong(admin_client):
    now = timezone.now()
    DeliverySweep.objects.create(
        swept_to=now, recovered=123, unreadable=4, error=f"Server Error {HOSTILE}", progress={"put_off": [HOSTILE]}
    )
    path = "/admin/webhooks/deliverysweep/"
    for text in (page(admin_client, path), page(admin_client, f"{path}1/change/")):
        read = shown(text)
        assert f"{now:%Y-%m-%d %H:%M:%S}" in read
        assert "123" in read
        assert "Server Error <script>" in read
    refuses_changes(admin_client, "webhooks.deliverysweep", 1)
    assert DeliverySweep.objects.count() == 1
