from __future__ import annotations

import base64
import datetime as dt
import email.utils
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from accounts.models import Account, ApiKey
from casts.callbacks import endpoints, outbox, schedule, signing
from casts.callbacks.delivery import CallbackWork
from casts.errors import CallbackInFlight, EndpointDisabled, TooManyEndpoints
from casts.execution.steps import CastWork
from casts.lifecycle import ending
from casts.models import Artifact, Callback, CallbackAttempt, CallbackEndpoint, Cast, CastStatus, Spell
from core import safe_http
from core.queue.worker import Worker
from core.times import stamp
from tests.casts.conftest import accept_cast
from tests.casts.receivers import Receiver, claim, ended, make_due, receiver, work_off

State = Callback.State
HOUR = 3600
# The specification's schedule, written out once more: seconds after the try before.
WAITS = [5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]


@pytest.fixture
def inbox(settings: Any) -> Iterator[Receiver]:
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver() as running:
        yield running


@pytest.fixture
def endpoint(account: Account, inbox: Receiver) -> CallbackEndpoint:
    return endpoints.add_endpoint(account, url=inbox.url, types=["cast.succeeded", "cast.failed", "cast.cancelled"])


def claimed() -> Callback:
    """Take the next callback as a worker does; one must be due."""
    row = claim()
    assert row is not None
    return row


# --- what is sent ----------------------------------------------------------------------------------------------


def test_the_end_of_a_cast_reaches_its_endpoint_signed(inbox, endpoint, api_key, spell):
    cast = ended(api_key, spell, metadata={"order": "42"})
    assert work_off() == 1
    [got] = inbox.got
    message = got.verified(endpoint.secrets[0])
    assert message["type"] == "cast.succeeded"
    assert message["timestamp"] == stamp(cast.finished_at)
    data = message["data"]
    assert (data["cast_id"], data["status"], data["output"]) == (str(cast.pk), "succeeded", {"greeting": "hello"})
    assert (data["metadata"], data["cost_cents"], data["final"]) == ({"order": "42"}, 5, True)
    assert data["progress_url"].startswith(f"http://testserver/casts/{cast.pk}/?token=")
    assert "input" not in data
    callback = Callback.objects.get()
    assert (callback.state, callback.last_status, callback.last_error) == (State.DELIVERED, 204, "")
    assert callback.delivered_at is not None
    assert (callback.due_at, callback.lease_until) == (None, None)


def test_the_request_is_plain_http_as_the_standard_wants_it(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    work_off()
    [got] = inbox.got
    headers = {name.lower(): value for name, value in got.headers.items()}
    callback = Callback.objects.get()
    assert got.path == "/hook?of=mine"
    assert headers["host"] == f"127.0.0.1:{inbox.port}"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == callback.id
    assert callback.id.startswith("msg_")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5
    assert headers["webhook-signature"].startswith("v1,")
    assert "authorization" not in headers


def test_a_cast_s_own_callback_url_is_signed_with_the_account_s_secret(inbox, account, api_key, spell):
    ended(api_key, spell, CastStatus.FAILED, callback_url=inbox.url)
    work_off()
    [secret] = endpoints.secrets_of(account)
    assert inbox.got[0].verified(secret)["type"] == "cast.failed"
    account.refresh_from_db()
    assert account.callback_secrets == [secret]


def test_links_in_a_message_are_made_when_it_is_sent(inbox, endpoint, api_key, spell):
    cast = ended(api_key, spell)
    Cast.objects.update(run_finished_at=timezone.now())
    Artifact.objects.create(cast=cast, name="spell-result", remote_id=1, state=Artifact.State.STORED)
    work_off()
    data = inbox.got[0].verified(endpoint.secrets[0])["data"]
    assert data["artifact_url"].startswith(f"http://testserver/api/v1/casts/{cast.pk}/artifacts/spell-result?token=")
    assert data["artifacts"][0]["url"] == data["artifact_url"]


def test_text_of_every_kind_keeps_its_signature(inbox, endpoint, api_key, spell):
    ended(api_key, spell, metadata={"name": "Esmerelda „Granny“ Wetterwachs 🧙 \u2028"})
    work_off()
    assert inbox.got[0].verified(endpoint.secrets[0])["data"]["metadata"]["name"].endswith("🧙 \u2028")


def test_secrets_have_the_standard_s_form():
    secret = signing.new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert secret != signing.new_secret()


def test_the_standard_s_own_example_is_signed_alike():
    # From the specification's reference tests.
    signed = signing.signature(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        message="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new(inbox, endpoint, api_key, spell):
    [old] = endpoint.secrets
    new, kept = endpoints.rotate_endpoint(endpoint, drop_old=False)
    assert kept == old
    ended(api_key, spell)
    work_off()
    assert inbox.got[0].verified(old) == inbox.got[0].verified(new)
    assert endpoints.rotate_endpoint(endpoint, drop_old=True) == [new]
    ended(api_key, spell)
    work_off()
    assert inbox.got[1].verified(new)
    with pytest.raises(WebhookVerificationError):
        inbox.got[1].verified(old)


def test_a_second_rotation_drops_the_oldest(account, endpoint):
    first = endpoints.rotate_endpoint(endpoint, drop_old=False)
    second = endpoints.rotate_endpoint(endpoint, drop_old=False)
    assert len(second) == 2
    assert second[1] == first[0]
    mine = endpoints.rotate_account(account, drop_old=False)
    assert endpoints.secrets_of(account) == mine
    assert endpoints.rotate_account(account, drop_old=True) == mine[:1]


# --- what is owed ----------------------------------------------------------------------------------------------


def test_every_active_endpoint_that_wants_it_and_the_callback_url_get_one_message_each(
    inbox, endpoint, account, api_key, spell
):
    only_failures = endpoints.add_endpoint(account, url=inbox.url, types=["cast.failed"])
    off = endpoints.add_endpoint(account, url=inbox.url, types=["cast.succeeded"])
    gone = endpoints.add_endpoint(account, url=inbox.url, types=["cast.succeeded"])
    other = endpoints.add_endpoint(Account.objects.create(name="Other"), url=inbox.url, types=["cast.succeeded"])
    endpoints.disable(off, why="tests")
    endpoints.delete(gone)
    ended(api_key, spell, callback_url=inbox.url)
    assert set(Callback.objects.values_list("endpoint", flat=True)) == {endpoint.pk, None}
    ended(api_key, spell, CastStatus.FAILED)
    assert set(Callback.objects.filter(type="cast.failed").values_list("endpoint", flat=True)) == {
        endpoint.pk,
        only_failures.pk,
    }
    assert not other.callbacks.exists()


def test_a_cast_that_nobody_wants_to_hear_of_owes_nothing(api_key, spell):
    ended(api_key, spell)
    assert not Callback.objects.exists()


def test_a_cast_cancelled_before_it_was_sent_is_told_too(inbox, endpoint, api_key, spell):
    cast = accept_cast(api_key=api_key, spell=spell, input={})
    ending.cancel(cast.pk)
    ending.cancel(cast.pk)
    work_off()
    assert [got.verified(endpoint.secrets[0])["type"] for got in inbox.got] == ["cast.cancelled"]


def test_an_end_that_is_rolled_back_owes_nothing(inbox, endpoint, api_key, spell):
    cast = accept_cast(api_key=api_key, spell=spell, input={}, callback_url=inbox.url)
    with transaction.atomic():
        assert ending.cancel(cast.pk).final
        assert Callback.objects.count() == 2
        transaction.set_rollback(True)
    assert not Callback.objects.exists()
    cast.refresh_from_db()
    assert cast.status == CastStatus.QUEUED


def test_a_cast_does_not_end_without_what_it_owes(monkeypatch, endpoint, api_key, spell):
    cast = accept_cast(api_key=api_key, spell=spell, input={})

    def broken(cast: Cast) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outbox, "enqueue", broken)
    with pytest.raises(ZeroDivisionError):
        ending.cancel(cast.pk)
    cast.refresh_from_db()
    assert not cast.final


# --- tries -----------------------------------------------------------------------------------------------------


def test_ten_tries_at_the_standard_s_times_then_it_is_given_up(inbox, endpoint, api_key, spell):
    inbox.answers = [(500, {})]
    ended(api_key, spell)
    for tried, wait in enumerate(WAITS, start=1):
        before = timezone.now()
        assert work_off() == 1
        after = timezone.now()
        callback = Callback.objects.get()
        assert (callback.state, callback.attempts, callback.last_status) == (State.PENDING, tried, 500)
        assert callback.due_at is not None
        assert before + dt.timedelta(seconds=wait * 0.9) <= callback.due_at <= after + dt.timedelta(seconds=wait * 1.1)
        make_due()
    assert work_off() == 1
    callback = Callback.objects.get()
    assert (callback.state, callback.attempts, callback.due_at) == (State.FAILED, 10, None)
    assert callback.last_error == "It answered 500; only 2xx counts as delivered."
    assert len(inbox.got) == callback.tries.count() == 10
    assert {got.headers["webhook-id"] for got in inbox.got} == {callback.id}


@pytest.mark.parametrize(("tries", "seconds"), list(enumerate(WAITS, start=1)))
def test_waits_are_jittered_by_a_tenth_at_most(tries, seconds):
    waits = [wait.total_seconds() for _ in range(300) if (wait := schedule.wait_before_next(tries))]
    assert len(waits) == 300
    assert 0.9 * seconds <= min(waits) < 0.95 * seconds
    assert 1.05 * seconds < max(waits) <= 1.1 * seconds


def test_there_is_no_eleventh_try():
    assert schedule.wait_before_next(10) is None
    assert schedule.wait_before_next(10, retry_after="5") is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("²", 0),
        ("999999999999999999", 24 * HOUR),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 24 * HOUR),
    ],
)
def test_retry_after_is_read(header, seconds):
    assert schedule.asked_wait(header).total_seconds() == seconds


def test_retry_after_may_be_a_date():
    wanted = timezone.now() + dt.timedelta(hours=3)
    wait = schedule.asked_wait(email.utils.format_datetime(wanted, usegmt=True))
    assert abs(wait.total_seconds() - 3 * HOUR) < 2


def test_retry_after_postpones_but_never_hurries_the_next_try(inbox, endpoint, api_key, spell):
    inbox.answers = [(503, {"Retry-After": "3600"}), (429, {"Retry-After": "1"})]
    ended(api_key, spell)
    before = timezone.now()
    work_off()
    due = Callback.objects.get().due_at
    assert due is not None
    assert dt.timedelta(hours=1) <= due - before <= dt.timedelta(hours=1, seconds=10)
    make_due()
    work_off()
    due = Callback.objects.get().due_at
    assert due is not None
    assert due >= timezone.now() + dt.timedelta(seconds=260)


@pytest.mark.parametrize("status", [199, 204, 299])
def test_2xx_only_is_delivered(inbox, endpoint, api_key, spell, status):
    inbox.answers = [(status, {})]
    ended(api_key, spell)
    work_off()
    assert Callback.objects.get().state == (State.DELIVERED if status >= 200 else State.PENDING)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(inbox, endpoint, api_key, spell, status):
    with receiver() as elsewhere:
        inbox.answers = [(status, {"Location": elsewhere.url})]
        ended(api_key, spell)
        work_off()
        assert elsewhere.got == []
    callback = Callback.objects.get()
    assert (callback.state, callback.last_status) == (State.PENDING, status)
    assert "not followed" in callback.last_error


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500, 503])
def test_other_refusals_are_tried_again(inbox, endpoint, api_key, spell, status):
    inbox.answers = [(status, {}), (200, {})]
    ended(api_key, spell)
    work_off()
    endpoint.refresh_from_db()
    assert (Callback.objects.get().state, endpoint.active) == (State.PENDING, True)
    make_due()
    work_off()
    assert Callback.objects.get().state == State.DELIVERED


def test_410_disables_the_endpoint_and_closes_what_waits_for_it(inbox, endpoint, account, api_key, spell):
    bystander = endpoints.add_endpoint(account, url=inbox.url, types=["cast.failed"])
    inbox.answers = [(500, {}), (410, {})]
    ended(api_key, spell)
    work_off()
    waiting = Callback.objects.get()
    ended(api_key, spell)
    assert work_off() == 2
    endpoint.refresh_from_db()
    assert (endpoint.active, endpoint.disabled_reason) == (False, "Its receiver answered 410 Gone.")
    assert endpoint.disabled_at is not None
    assert list(Callback.objects.values_list("state", flat=True)) == [State.DISABLED] * 2
    waiting.refresh_from_db()
    assert waiting.last_error == "Its endpoint is disabled."
    assert len(inbox.got) == 2
    ended(api_key, spell)
    assert Callback.objects.count() == 2
    bystander.refresh_from_db()
    assert bystander.active


def test_410_to_a_callback_url_closes_that_message_only(inbox, endpoint, api_key, spell):
    inbox.answers = [(410, {})]
    endpoints.disable(endpoint, why="tests")
    ended(api_key, spell, callback_url=inbox.url)
    work_off()
    assert Callback.objects.get().state == State.DISABLED
    endpoints.enable(endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.active, endpoint.disabled_at, endpoint.disabled_reason) == (True, None, "")


def test_a_receiver_that_hangs_is_left_in_time_and_called_again(inbox, endpoint, api_key, spell, settings):
    settings.CALLBACK_TIMEOUT_SECONDS = 0.3
    inbox.hang = threading.Event()
    ended(api_key, spell)
    began = time.monotonic()
    work_off()
    assert time.monotonic() - began < 3
    inbox.hang.set()
    callback = Callback.objects.get()
    assert (callback.state, callback.last_status) == (State.PENDING, None)
    assert callback.last_error == "There was no answer within 0.3 seconds."
    assert callback.tries.get().duration_ms >= 290


def test_a_receiver_that_drips_is_left_in_time(inbox, endpoint, api_key, spell, settings):
    settings.CALLBACK_TIMEOUT_SECONDS = 0.3
    inbox.drip = True
    ended(api_key, spell)
    began = time.monotonic()
    work_off()
    assert time.monotonic() - began < 3
    assert Callback.objects.get().last_error == "There was no answer within 0.3 seconds."


def test_nobody_listening_is_tried_again(settings, account, api_key, spell):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    ended(api_key, spell, callback_url="http://127.0.0.1:9/")
    work_off()
    callback = Callback.objects.get()
    assert (callback.state, callback.last_status) == (State.PENDING, None)
    assert "refused" in callback.last_error


def test_an_address_that_is_not_allowed_fails_at_once_and_says_why(account, api_key, spell):
    ended(api_key, spell, callback_url="https://localtest.invalid.localhost/")
    ended(api_key, spell, callback_url="https://169.254.169.254/latest/meta-data/")
    work_off()
    for callback in Callback.objects.all():
        assert (callback.state, callback.due_at) == (State.FAILED, None)
        assert "Not called." in callback.last_error
        assert "public internet" in callback.last_error
        assert callback.tries.count() == 1


# --- the log ---------------------------------------------------------------------------------------------------


def test_each_try_is_in_the_log_with_the_beginning_of_the_answer(inbox, endpoint, api_key, spell):
    inbox.answers, inbox.body = [(500, {}), (200, {})], b"\x00\xff" + b"x" * 100_000
    ended(api_key, spell)
    work_off()
    make_due()
    work_off()
    first, second = CallbackAttempt.objects.all()
    assert (first.status_code, second.status_code, second.error) == (500, 200, "")
    assert first.response_excerpt.startswith("\ufffd\ufffdxxx")
    assert len(first.response_excerpt) == 1000
    assert first.at < second.at
    assert first.url == inbox.url


def test_sending_again_repeats_the_message_under_its_id(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    work_off()
    callback = outbox.send_again(Callback.objects.get())
    assert (callback.state, callback.attempts, callback.delivered_at) == (State.PENDING, 0, None)
    inbox.answers = [(500, {})]
    work_off()
    callback.refresh_from_db()
    assert (callback.state, callback.attempts) == (State.PENDING, 1)  # the schedule began anew
    first, again = inbox.got
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert again.verified(endpoint.secrets[0])["data"]["cast_id"] == str(callback.cast_id)


def test_sending_again_hurries_one_that_waits(inbox, endpoint, api_key, spell):
    inbox.answers = [(500, {}), (200, {})]
    ended(api_key, spell)
    work_off()
    outbox.send_again(Callback.objects.get())
    work_off()
    assert Callback.objects.get().state == State.DELIVERED


def test_what_is_being_sent_is_not_sent_again(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    row = claimed()
    with pytest.raises(CallbackInFlight):
        outbox.send_again(row)


def test_nothing_is_sent_again_to_a_disabled_or_deleted_endpoint(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    work_off()
    endpoints.disable(endpoint, why="tests")
    with pytest.raises(EndpointDisabled, match="disabled"):
        outbox.send_again(Callback.objects.get())
    endpoints.delete(endpoint)
    with pytest.raises(EndpointDisabled, match="deleted"):
        outbox.send_again(Callback.objects.get())
    endpoint.refresh_from_db()
    assert endpoint.secrets == []
    endpoints.enable(endpoint)
    endpoint.refresh_from_db()
    assert not endpoint.active


def test_a_changed_address_gets_what_is_still_to_be_sent(inbox, endpoint, api_key, spell):
    CallbackEndpoint.objects.update(url="http://127.0.0.1:9/")
    ended(api_key, spell)
    work_off()
    endpoints.change_endpoint(endpoint, url=inbox.url)
    make_due()
    work_off()
    callback = Callback.objects.get()
    assert (callback.state, callback.url) == (State.DELIVERED, inbox.url)


# --- the due loop ----------------------------------------------------------------------------------------------


def test_a_worker_that_lost_its_claim_sends_nothing(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    stopped = claimed()
    Callback.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))
    assert Callback.due_rows().recover() == 1
    before = Callback.objects.values().get()
    assert CallbackWork().step(stopped) is None
    assert not stopped.give_back(None)
    assert Callback.objects.values().get() == before
    assert inbox.got == []


@pytest.mark.parametrize("status", [200, 500, 410])
def test_a_worker_that_loses_its_claim_while_sending_changes_nothing(
    inbox, endpoint, api_key, spell, monkeypatch, status
):
    inbox.answers = [(status, {})]
    ended(api_key, spell)
    slow = claimed()
    really_post = safe_http.post

    def post(*args: Any, **kwargs: Any) -> safe_http.Answer:
        answer = really_post(*args, **kwargs)
        Callback.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))
        Callback.due_rows().recover()
        assert claim() is not None
        return answer

    monkeypatch.setattr(safe_http, "post", post)
    assert CallbackWork().step(slow) is None
    callback = Callback.objects.get()
    endpoint.refresh_from_db()
    assert (callback.state, callback.last_status, callback.attempts) == (State.PENDING, None, 2)
    assert endpoint.active
    assert not CallbackAttempt.objects.exists()


def test_a_callback_whose_worker_died_is_sent_by_the_next(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    claim()
    assert work_off() == 0
    Callback.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))
    CallbackWork().rows().recover()
    assert work_off() == 1
    assert Callback.objects.get().state == State.DELIVERED


def test_a_callback_that_kills_its_workers_is_given_up(inbox, endpoint, api_key, spell):
    ended(api_key, spell)
    Callback.objects.update(attempts=10)
    work_off()
    assert (Callback.objects.get().state, inbox.got) == (State.FAILED, [])


def test_one_account_gets_two_sends_at_a_time_and_others_go_first(inbox, account, api_key, spell, make_spell):
    for _ in range(3):
        ended(api_key, spell, callback_url=inbox.url)
    held = [claimed(), claimed()]
    assert claim() is None
    assert CallbackWork().rows().seconds_until_due() is None
    other = Account.objects.create(name="Other")
    ended(ApiKey.objects.create(account=other, name="o", prefix="o", digest="o"), spell, callback_url=inbox.url)
    theirs = claimed()
    assert theirs.account_id == other.pk
    held[0].give_back(None)
    mine = claimed()
    assert mine.account_id == account.pk


def test_callbacks_leave_half_of_the_threads_to_casts(db):
    worker = Worker(threads=4, lease_seconds=30)
    kinds = {type(kind): kind for kind in worker.kinds}
    worker.held = {Future(): (Callback(), 0.0) for _ in range(2)}
    assert worker.room(kinds[CallbackWork]) == 0
    assert worker.room(kinds[CastWork]) == 2
    assert worker.room(kinds[CallbackWork]) == 0
    assert Worker(threads=1, lease_seconds=30).room(kinds[CallbackWork]) == 1


def test_an_account_has_twenty_endpoints_at_most(account):
    for number in range(20):
        endpoints.add_endpoint(account, url=f"https://example.com/{number}", types=["cast.failed"])
    with pytest.raises(TooManyEndpoints):
        endpoints.add_endpoint(account, url="https://example.com/", types=["cast.failed"])


def test_an_address_stored_before_the_rules_is_not_called(account, api_key, spell: Spell):
    ended(api_key, spell, callback_url="http://example.com/")
    work_off()
    assert Callback.objects.get().last_error == "Not called. It must begin with https://."
