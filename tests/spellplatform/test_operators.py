"""What an operator does in the admin is recorded with who did it, and told apart from what callers do."""

from __future__ import annotations

import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from casts.callbacks import endpoints
from casts.execution import finish
from casts.lifecycle import dispatching, observing, waking
from casts.models import Artifact, Callback, Cast, CastEvent
from casts.runtime import Failure, Observation, Run
from github_integration.models import Installation
from github_integration.quota import pause
from tests.casts.client import Api
from tests.casts.conftest import accept_cast
from tests.console import claimed, ended_cast, page, running_cast, shown
from webhooks.models import Delivery

WHO = "rincewind"


@pytest.fixture
def operator(django_user_model, db) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser(WHO))
    return client


def press(client: Client, model: str, action: str, *keys: object) -> str:
    """Do an action of an admin list with some rows; return the page that follows."""
    sent = {"action": action, "_selected_action": [str(key) for key in keys], "confirmed": "1"}
    answer = client.post(f"/admin/{model}/", sent, follow=True)
    assert answer.status_code == 200
    return shown(answer.content.decode())


def log() -> list[tuple[str, str, str | None, str]]:
    """Return who did what to which rows, the oldest first."""
    entries = LogEntry.objects.order_by("pk").select_related("user", "content_type")
    return [
        (e.user.get_username(), str(e.content_type and e.content_type.model), e.object_id, e.change_message)
        for e in entries
    ]


def by_operators(cast: Cast) -> list[tuple[str, str]]:
    events = list(CastEvent.objects.filter(cast=cast).order_by("seq"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert Cast.objects.get(pk=cast.pk).last_seq == len(events)
    return [(event.kind, event.by) for event in events if event.by]


def accepted(api_key, spell) -> Cast:
    return accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})


def test_a_cast_that_waits_is_cancelled_by_the_operator_and_says_so(operator, api_key, spell, secret):
    cast = accepted(api_key, spell)
    press(operator, "casts/cast", "cancel", cast.pk)
    told = Api(secret).get(f"/casts/{cast.pk}").json()
    assert (told["status"], told["status_reason"]) == ("cancelled", "cancelled_by_operator")
    assert (told["message"], told["charged_cents"]) == ("Cancelled by the operator.", 0)
    assert by_operators(cast) == [("ended", WHO)]
    assert log() == [(WHO, "cast", str(cast.pk), "Cancel.")]


def test_a_running_cast_is_cancelled_by_the_operator_and_ends_so(operator, api_key, spell, secret):
    cast = running_cast(api_key, spell)
    press(operator, "casts/cast", "cancel", cast.pk)
    press(operator, "casts/cast", "cancel", cast.pk)  # the second press does nothing
    told = Api(secret).get(f"/casts/{cast.pk}").json()
    assert (told["status_reason"], told["message"]) == ("cancelling", "Cancelling, as the operator asked.")
    assert by_operators(cast) == [("cancel_requested", WHO)]
    assert len(log()) == 1
    told = shown(page(operator, f"/admin/casts/cast/{cast.pk}/change/"))
    assert re.search(rf"cancel requested Cancelling, as the operator asked. running: cancelling, \d+ % {WHO}", told)
    assert f"{WHO} Cancel." in shown(page(operator, f"/admin/casts/cast/{cast.pk}/history/"))

    assert cast.run_key is not None
    end = Observation(cast.run_scope, cast.run_key, status="completed", conclusion="cancelled")
    observing.observe(cast.pk, end)
    finish.finish(claimed(cast), Failure(), finish.no_remarks, ran=True)
    told = Api(secret).get(f"/casts/{cast.pk}").json()
    assert (told["status"], told["status_reason"]) == ("cancelled", "cancelled_by_operator")
    assert WHO not in json.dumps(list(CastEvent.objects.values_list("data", flat=True)))


def test_the_callers_own_cancel_stays_the_callers(operator, api_key, spell, secret):
    cast = running_cast(api_key, spell)
    Api(secret).post(f"/casts/{cast.pk}/cancel")
    press(operator, "casts/cast", "cancel", cast.pk)
    assert by_operators(cast) == []
    assert log() == []
    assert Cast.objects.get(pk=cast.pk).cancel_reason == "cancelled_by_caller"


def test_looking_now_is_noted_for_casts_that_are_open(operator, api_key, spell):
    still_open, ended = accepted(api_key, spell), ended_cast(api_key, spell)
    press(operator, "casts/cast", "look_now", still_open.pk, ended.pk)
    assert by_operators(still_open) == [("looked_now", WHO)]
    assert by_operators(ended) == []
    assert log() == [(WHO, "cast", str(still_open.pk), "Look now.")]


def test_copying_again_is_noted_at_the_artifact_and_the_cast(operator, api_key, spell):
    cast, other = ended_cast(api_key, spell), ended_cast(api_key, spell)
    Cast.objects.update(run_finished_at=timezone.now())
    failed = cast.artifacts.get(state="failed")
    press(operator, "casts/artifact", "copy_again", failed.pk, cast.artifacts.get(state="stored").pk)
    assert log() == [(WHO, "artifact", str(failed.pk), "Copy again.")]
    press(operator, "casts/cast", "copy_artifacts_again", other.pk)
    assert log()[1:] == [(WHO, "cast", str(other.pk), "Copy missing artifacts again.")]
    for one in (cast, other):
        assert by_operators(one) == [("artifacts_copied_again", WHO)]
        last = CastEvent.objects.filter(cast=one).latest("seq")
        assert (last.data["final"], last.data["status"]) == (True, "succeeded")
        assert [a["state"] for a in last.data["artifacts"]] == ["pending", "stored"]


def test_sending_again_is_noted_at_the_callback_and_the_cast(operator, api_key, spell, account):
    endpoint = endpoints.add_endpoint(account, url="https://example.com/hook", types=["cast.succeeded"])
    cast, other = ended_cast(api_key, spell), ended_cast(api_key, spell)
    free, under_way = Callback.objects.get(cast=cast), Callback.objects.get(cast=other)
    Callback.objects.filter(pk=under_way.pk).update(lease_until=timezone.now())
    assert "It is being sent at this moment" in press(operator, "casts/callback", "send_again", free.pk, under_way.pk)
    assert by_operators(cast) == [("callback_sent_again", WHO)]
    assert by_operators(other) == []
    press(operator, "casts/callbackendpoint", "disable", endpoint.pk)
    press(operator, "casts/callbackendpoint", "disable", endpoint.pk)
    press(operator, "casts/callbackendpoint", "enable", endpoint.pk)
    press(operator, "casts/callbackendpoint", "enable", endpoint.pk)
    switched = [(WHO, "callbackendpoint", endpoint.pk, did) for did in ("Disable.", "Enable.")]
    assert log() == [(WHO, "callback", free.pk, "Send again."), *switched]


def test_resuming_is_noted_at_the_installation_and_the_casts_that_waited(operator, api_key, spell):
    waiting, other = accepted(api_key, spell), accepted(api_key, spell)
    Cast.objects.filter(pk=waiting.pk).update(status_reason="installation_suspended")
    pause(1, until=timezone.now(), reason=Installation.Pause.SUSPENDED, message="no")
    press(operator, "github_integration/installation", "resume", 1)
    press(operator, "github_integration/installation", "resume", 1)  # nothing kept it back any more
    assert log() == [(WHO, "installation", "1", "Resume.")]
    assert by_operators(waiting) == [("installation_resumed", WHO)]
    assert by_operators(other) == []


def test_applying_again_is_noted_at_the_delivery(operator, db):
    rows = [
        Delivery.objects.create(guid=guid, event="ping", body="{}", received_at=timezone.now(), attempts=20, **more)
        for guid, more in (("a", {"error": "ValueError"}), ("b", {"outcome": "applied"}))
    ]
    press(operator, "webhooks/delivery", "apply_again", *(row.pk for row in rows))
    assert log() == [(WHO, "delivery", str(rows[0].pk), "Apply again.")]


def test_many_are_noted_without_a_query_for_each(operator, api_key, spell, django_assert_max_num_queries):
    casts = [accepted(api_key, spell) for _ in range(40)]
    with django_assert_max_num_queries(40):
        assert "40 of 40" in press(operator, "casts/cast", "look_now", *(cast.pk for cast in casts))
    assert all(by_operators(cast) == [("looked_now", WHO)] for cast in casts)


def test_a_worker_is_not_an_operator(api_key, spell):
    cast = claimed(accepted(api_key, spell))
    dispatching.intend_dispatch(cast)
    dispatching.dispatched(cast, Run("5", "https://github.example/runs/5"))
    waking.wake_all([cast.pk])
    assert by_operators(cast) == []
    assert Artifact.objects.count() == LogEntry.objects.count() == 0
