"""The page "Needs attention": each trouble shows, what is healthy does not, and each button fixes its rows."""

from __future__ import annotations

import datetime as dt
import html
import re
import uuid
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Account
from casts import casting, pricing
from casts.attention import ROUND_WORDS
from casts.callbacks import endpoints
from casts.lifecycle import dispatching, ending
from casts.models import Artifact, Callback, CallbackEndpoint, Cast, CastStatus, Round
from core.ids import first_id
from github_integration.models import Installation
from github_integration.words import WORDS
from tests.casts.conftest import accept_cast
from tests.console import HOSTILE, claimed, ended_cast, listed, page, queries, running_cast, shown
from webhooks.models import Delivery, DeliverySweep

PAGE = "/admin/attention/"


def ago(**time):
    return timezone.now() - dt.timedelta(**time)


@pytest.fixture
def make_stuck(api_key, spell):
    """Accept a cast that is queued since an hour, and is to be looked at in a minute; any column may be given."""

    def make(spell=spell, **columns):
        cast = accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})
        usual = {"created_at": ago(hours=1), "due_at": ago(minutes=-1), "message": "GitHub said so."}
        Cast.objects.filter(pk=cast.pk).update(**usual | columns)
        return Cast.objects.get(pk=cast.pk)

    return make


@pytest.fixture
def make_artifact(api_key, spell):
    def make(state="failed", *, ended=None, **columns):
        cast = ended_cast(api_key, spell)
        cast.artifacts.all().delete()
        Cast.objects.filter(pk=cast.pk).update(finished_at=ended or ago(hours=1))
        usual = {"name": "report", "remote_id": 7, "error": "Too large." if state == "failed" else ""}
        return Artifact.objects.create(**{"cast_id": cast.pk, "state": state} | usual | columns)

    return make


@pytest.fixture
def make_delivery(db):
    def make(**columns):
        guid = f"guid-{Delivery.objects.count()}"
        usual = {"guid": guid, "event": "ping", "body": "{}", "received_at": ago(hours=2), "attempts": 20}
        return Delivery.objects.create(**usual | {"error": "ValueError: no such thing"} | columns)

    return make


@pytest.fixture
def make_callback(api_key, spell):
    def make(account=None, **columns):
        cast = ended_cast(api_key, spell)
        cast.artifacts.all().delete()
        usual = {"account": account or cast.account, "cast": cast, "url": "https://example.com/hook"}
        usual |= {"type": "cast.succeeded", "created_at": ago(hours=6), "attempts": 5, "state": "failed"}
        return Callback.objects.create(**usual | {"last_error": "It answered 500."} | columns)

    return make


def pressed(client, label, *, number=0):
    """Press one of the page's buttons, and confirm what is asked; return what the page then reports."""
    forms = re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', page(client, PAGE), re.DOTALL)
    path, form = [(path, form) for path, form in forms if f">{label}</button>" in form][number]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    answer = client.post(html.unescape(path), fields, follow=True)
    if not answer.redirect_chain:
        answer = client.post(html.unescape(path), fields | {"confirmed": "1"}, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    told = re.search(r'<ul class="messagelist">(.*?)</ul>', answer.content.decode(), re.DOTALL)
    assert told is not None
    return shown(told[1])


def seen(client):
    return shown(page(client, PAGE))


def staff(django_user_model, *permissions):
    """Return a client of somebody on the staff who may do just this."""
    user = django_user_model.objects.create_user(f"staff-{len(permissions)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


# --- the page --------------------------------------------------------------------------------------------------------


def test_it_is_for_staff(client, django_user_model, db):
    client.force_login(django_user_model.objects.create_user("visitor"))
    assert client.get(PAGE).headers["Location"] == f"/admin/login/?next={PAGE}"
    assert client.post(PAGE).status_code == 302


def test_it_is_linked_from_the_index_and_from_every_page_of_the_admin(admin_client):
    for path in ("/admin/", "/admin/casts/cast/", "/admin/casts/spell/add/"):
        header = re.search(r'<div id="user-tools">.*?</div>', page(admin_client, path), re.DOTALL)
        assert header is not None
        assert f'<a href="{PAGE}">Needs attention</a>' in header[0]
    assert "what fixes it" in page(admin_client, "/admin/")
    assert PAGE not in Client().get("/admin/login/").content.decode()


def test_without_trouble_all_is_clear(
    admin_client, make_stuck, make_artifact, make_delivery, make_callback, api_key, spell
):
    make_stuck(status_reason="accepted", created_at=ago(seconds=1))
    make_stuck(status_reason="waiting_for_slot")
    make_stuck(status_reason="waiting_for_turn")
    make_stuck(status_reason="waiting_for_approval", dispatched_at=ago(hours=1))
    make_stuck(status_reason="waiting_for_runner", dispatched_at=ago(minutes=20))
    make_stuck(status_reason="rate_limited", created_at=ago(minutes=2))
    make_stuck(due_at=ago(minutes=1))
    make_stuck(due_at=None, lease_until=ago(seconds=-20))
    make_stuck(cancel_requested_at=ago(minutes=2), cancel_reason="cancelled_by_caller")
    running_cast(api_key, spell)
    Cast.objects.filter(pk=running_cast(api_key, spell).pk).update(run_finished_at=ago(minutes=1))
    make_artifact("stored")
    make_artifact("expired")
    make_artifact("pending", ended=ago(minutes=2))
    make_artifact("failed", ended=ago(days=8))
    for columns in ({"outcome": "applied", "error": ""}, {"outcome": "not_ours"}, {"received_at": ago(days=8)}):
        make_delivery(**columns)
    make_delivery(error="", attempts=3, due_at=ago(seconds=-5))
    make_callback(state="delivered")
    make_callback(state="disabled")
    make_callback(state="pending", attempts=1, due_at=ago(minutes=-3))
    make_callback(created_at=ago(days=30))
    Installation.objects.create(pk=1, paused_until=ago(minutes=1), pause_reason="rate_limited", failures=1)
    Installation.objects.create(pk=77, removed_at=ago(days=3))  # no spell needs it
    text = seen(admin_client)
    assert "All clear" in text
    for title in ("Workers", "Casts", "Installations", "Artifacts", "Deliveries", "Callbacks", "Refused requests"):
        assert f"{title}: nothing" in text
    assert "<title>Needs attention | Spell Platform</title>" in page(admin_client, PAGE)


def test_the_title_counts_what_is_broken_and_not_the_hints(admin_client, make_stuck, make_delivery):
    make_stuck(status_reason="waiting_for_runner", dispatched_at=ago(minutes=40))
    text = seen(admin_client)
    assert "All clear" in text
    assert "Below is 1 hint." in text
    assert "Cast waiting for a runner on GitHub" in text
    make_delivery()
    assert "1 thing needs attention" in seen(admin_client)
    make_stuck(status_reason="rate_limited")
    assert "<title>Needs attention (2) |" in page(admin_client, PAGE)
    assert "2 things need attention" in seen(admin_client)


def test_who_may_see_nothing_is_not_told_that_all_is_clear(django_user_model, make_stuck):
    make_stuck(status_reason="rate_limited")
    text = seen(staff(django_user_model))
    assert "You may not look at anything" in text
    assert "All clear" not in text
    assert "rate limited" not in text
    some = seen(staff(django_user_model, "view_delivery"))
    assert "Nothing that you may see is stuck" in some
    assert "9 kinds of trouble you may not see" in some


def test_who_may_see_everything_is_not_told_that_there_is_more(admin_client):
    assert "you may not see" not in seen(admin_client)


# --- workers ---------------------------------------------------------------------------------------------------------


def test_without_a_worker_it_says_so_first(admin_client, make_stuck, make_delivery):
    for _ in range(3):
        make_stuck(due_at=ago(minutes=3))
    make_stuck(due_at=None, lease_until=ago(minutes=4))
    make_delivery(due_at=ago(minutes=5), attempts=1, error="")
    for name in Round.Name:
        Round.objects.update_or_create(name=name, defaults={"due_at": ago(minutes=3)})
    text = seen(admin_client)
    assert "No worker is running" in text
    assert "4 casts are due, and no worker takes them" in text
    assert "One delivery is due, and no worker takes it" in text
    for word in ROUND_WORDS.values():
        assert f"{word} is due, and no worker does it" in text
    assert listed(admin_client, "/admin/casts/cast/", trouble="unclaimed") == 4


def test_workers_that_do_not_keep_up_are_no_missing_worker(admin_client, make_stuck):
    make_stuck(due_at=ago(minutes=3))
    make_stuck(due_at=None, lease_until=ago(seconds=-20))
    text = seen(admin_client)
    assert "The workers don't keep up" in text
    assert "No worker is running" not in text


# --- casts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", WORDS.remedies)
def test_casts_that_wait_are_grouped_by_reason_and_installation(admin_client, make_stuck, make_spell, reason):
    other = make_spell("elsewhere", installation_id=42)
    for _ in range(7):
        make_stuck(status_reason=reason)
    for minutes in (9, 8):
        make_stuck(other, status_reason=reason, created_at=ago(minutes=minutes), message="Another's trouble.")
    text = seen(admin_client)
    words = reason.replace("_", " ")
    assert f"7 casts waiting: {words}, installation 1" in text
    assert "The oldest 3, of all 7" in text
    assert f"2 casts waiting: {words}, installation 42" in text
    assert "(9\xa0minutes)" in text or "(9 minutes)" in text
    assert "Another's trouble." in text
    query = {"trouble": "waiting", "status_reason": reason}
    assert f"/admin/casts/cast/?trouble=waiting&amp;status_reason={reason}&amp;installation=42" in page(
        admin_client, PAGE
    )
    assert listed(admin_client, "/admin/casts/cast/", **query, installation=42) == 2
    assert listed(admin_client, "/admin/casts/cast/", **query, installation=1) == 7
    assert listed(admin_client, "/admin/casts/cast/", **query, installation=0) == 0
    assert listed(admin_client, "/admin/casts/cast/", installation="1 or 2") == 0


@pytest.mark.parametrize(
    ("trouble", "words", "columns"),
    [
        ("cancelling", "cancelled, but not ended", {"cancel_requested_at": ago(minutes=6)}),
        ("collecting", "whose run has ended, still open", {"status": "running", "run_finished_at": ago(minutes=6)}),
        (
            "no_runner",
            "for a runner on GitHub",
            {"status_reason": "waiting_for_runner", "dispatched_at": ago(minutes=31)},
        ),
        ("asleep", "not scheduled, a bug", {"due_at": None}),
    ],
)
def test_other_stuck_casts_are_shown(admin_client, make_stuck, trouble, words, columns):
    cast = make_stuck(**columns)
    text = page(admin_client, PAGE)
    assert words in shown(text)
    assert f"/admin/casts/cast/{cast.pk}/change/" in text
    assert listed(admin_client, "/admin/casts/cast/", trouble=trouble) == 1
    assert listed(admin_client, "/admin/casts/cast/", trouble="anything") == 0


def test_longer_deadlines_of_ours_are_respected(admin_client, make_stuck, settings):
    settings.CAST_ARTIFACT_WAIT_SECONDS = settings.CAST_CANCEL_GRACE_SECONDS = 600
    make_stuck(run_finished_at=ago(minutes=6))
    make_stuck(cancel_requested_at=ago(minutes=6))
    assert "All clear" in seen(admin_client)


def test_looking_now_wakes_a_whole_group_and_nothing_else(admin_client, make_stuck):
    waiting = [make_stuck(status_reason="rate_limited", due_at=ago(hours=-1)) for _ in range(4)]
    other = make_stuck(status_reason="waiting_for_slot", due_at=ago(hours=-1))
    held = make_stuck(status_reason="rate_limited", due_at=None, lease_until=ago(seconds=-20), claim_number=5)
    assert pressed(admin_client, "Look at all now") == "Casts that a worker looks at now: 5 of 5."
    for cast in waiting:
        cast.refresh_from_db()
        assert cast.due_at <= timezone.now()
        assert (cast.lease_until, cast.claim_number) == (None, 0)
    other.refresh_from_db()
    assert other.due_at > timezone.now()
    held.refresh_from_db()  # its holder goes on, and it becomes due when the holder gives it back
    assert held.lease_until is not None
    assert held.claim_number == 5
    assert held.give_back(ago(hours=-1))
    held.refresh_from_db()
    assert held.due_at <= timezone.now()


def test_what_has_moved_on_meanwhile_is_left_alone(admin_client, make_stuck):
    cast = make_stuck(status_reason="rate_limited")
    text = page(admin_client, PAGE)
    assert f"/admin/casts/cast/?id__exact={cast.pk}" in text
    ending.cancel(cast.pk)
    before = Cast.objects.values().get()
    form = {"select_across": 1, "index": 0, "_selected_action": "all", "back": "attention"}
    one, group = (
        f"/admin/casts/cast/?id__exact={cast.pk}",
        "/admin/casts/cast/?trouble=waiting&status_reason=rate_limited",
    )
    for path, action, said in (
        (one, "look_now", "0 of 1. The others have ended."),
        (one, "copy_artifacts_again", "There was nothing left to do"),
        (group, "look_now", "There was nothing left to do"),
    ):
        answer = admin_client.post(path, form | {"action": action}, follow=True)
        assert said in shown(answer.content.decode())
    assert Cast.objects.values().get() == before


def test_a_stuck_cast_is_cancelled_from_the_page(admin_client, make_stuck):
    cast = make_stuck(status_reason="github_not_configured")
    assert pressed(admin_client, "Cancel") == "Casts cancelled, or their runs asked to end: 1 of 1."
    cast.refresh_from_db()
    assert (cast.status, cast.status_reason) == ("cancelled", "cancelled_by_operator")
    assert "All clear" in seen(admin_client)


def test_no_button_cancels_more_than_one_cast(admin_client, make_stuck):
    for _ in range(5):
        make_stuck(status_reason="rate_limited")
    forms = re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', page(admin_client, PAGE), re.DOTALL)
    cancelling = [path for path, form in forms if 'value="cancel"' in form]
    assert len(cancelling) == 3
    assert all("id__exact=" in path for path in cancelling)


def given_up(cast):
    error = {"reason": "internal_error", "message": "Given up."}
    ending.end(
        claimed(cast), CastStatus.FAILED, reason="internal_error", message="Given up.", error=error, charge=False
    )


def test_a_cast_that_was_given_up_is_shown_until_it_is_cast_again(admin_client, make_stuck, api_key):
    cast = make_stuck()
    given_up(cast)
    Cast.objects.update(failed_steps=5, failure="its worker died, or stood still")
    text = seen(admin_client)
    assert "Cast given up after 5 steps that failed" in text
    assert "The last time: its worker died, or stood still." in text
    assert listed(admin_client, "/admin/casts/cast/", trouble="given_up") == 1
    assert pressed(admin_client, "Cast again") == "Cast again: 1 of 1."
    assert "All clear" in seen(admin_client)
    again = Cast.objects.get(retry_of=cast)
    assert (again.status, again.input, again.api_key, again.failed_steps) == ("queued", cast.input, api_key, 0)
    assert not casting.cast_again(cast.pk, by="operator")  # pressed twice


def test_a_cast_whose_key_is_gone_is_not_cast_again(admin_client, make_stuck, api_key):
    cast = make_stuck()
    given_up(cast)
    api_key.revoked_at = timezone.now()
    api_key.save()
    assert pressed(admin_client, "Cast again").startswith("Cast again: 0 of 1. The others are open, were cast again")
    assert Cast.objects.count() == 1


def test_casts_whose_runs_did_not_report_their_price_are_shown_by_spell_until_they_are_left_so(
    admin_client, make_stuck, make_spell
):
    spell = make_spell("silent", price_kind="reported", price_cents=50)
    for report in (pricing.Report(None, "Its result has no charge_cents."), pricing.Report(7)):
        cast, left = claimed(make_stuck(spell)), ending.Left(report=report)
        assert ending.end(cast, CastStatus.SUCCEEDED, reason="succeeded", message="Done.", charge=True, left=left)
    text = seen(admin_client)
    assert "Cast of “silent” whose run did not report what it costs" in text
    assert "so nothing is charged. Its result has no charge_cents." in text
    assert listed(admin_client, "/admin/casts/cast/", trouble="uncharged", spell__id__exact=spell.pk) == 1
    assert pressed(admin_client, "Leave uncharged") == "Casts that stay uncharged: 1 of 1."
    assert "All clear" in seen(admin_client)


# --- spells ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_sent(api_key, spell):
    """Send casts of a spell to GitHub one after the other: `y` is accepted, `n` refused, `?` lost."""

    def make(answers, spell=spell):
        for answer in answers:
            cast = claimed(accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"}))
            dispatching.intend_dispatch(cast)
            if answer == "y":
                dispatching.dispatched(cast, None)
            else:
                reason = "dispatch_refused" if answer == "n" else "dispatch_lost"
                message = f"GitHub said {Cast.objects.count()}"
                ending.end(cast, CastStatus.FAILED, reason=reason, message=message, charge=False)

    return make


@pytest.mark.parametrize("answers", ["", "nn", "nnny", "nnyn", "n?n", "???", "yynn"])
def test_a_spell_that_github_takes_now_and_then_is_no_trouble(admin_client, make_sent, answers):
    make_sent(answers)
    assert "Spells: nothing" in seen(admin_client)
    assert listed(admin_client, "/admin/casts/spell/", trouble="refused") == 0


@pytest.mark.parametrize(("answers", "times"), [("nnn", 3), ("ynnnn", 4), ("nnynnn", 3), ("n?nn", 3)])
def test_a_spell_that_github_refuses_every_time_shows_until_one_is_accepted(
    admin_client, make_sent, make_spell, answers, times
):
    make_sent("y", make_spell("other"))
    make_sent(answers)
    text = seen(admin_client)
    assert f"{times} casts of “greet” refused by GitHub one after the other, and none accepted since" in text
    assert f"GitHub said {len(answers) + 1}" in text
    assert "manage.py doctor --spell greet" in text
    assert listed(admin_client, "/admin/casts/spell/", trouble="refused") == 1
    make_sent("n")
    assert f"{times + 1} casts of “greet”" in seen(admin_client)
    make_sent("y")
    assert "Spells: nothing" in seen(admin_client)


def test_a_run_that_a_webhook_told_of_counts_as_accepted(admin_client, make_sent):
    make_sent("nnn?")
    Cast.objects.filter(status_reason="dispatch_lost").update(run_key=7)
    assert "Spells: nothing" in seen(admin_client)


def test_a_spell_that_is_switched_off_or_was_refused_long_ago_is_left_out(admin_client, make_sent, make_spell):
    off, old = make_spell("off"), make_spell("old")
    make_sent("nnn", off)
    assert "casts of “off”" in seen(admin_client)
    type(off).objects.filter(pk=off.pk).update(active=False)
    assert "Spells: nothing" in seen(admin_client)
    make_sent("nnn", old)
    assert "casts of “old”" in seen(admin_client)
    for cast in Cast.objects.filter(spell=old):
        cast.events.all().delete()
        Cast.objects.filter(pk=cast.pk).update(id=uuid.UUID(int=first_id(ago(days=8)).int + cast.pk.int % 2**70))
    assert "Spells: nothing" in seen(admin_client)


def test_who_may_not_see_spells_sees_nothing_of_them(django_user_model, make_sent):
    make_sent("nnn")
    assert "“greet”" not in seen(staff(django_user_model, "view_cast"))
    assert "“greet”" in seen(staff(django_user_model, "view_cast", "view_spell"))


# --- artifacts -------------------------------------------------------------------------------------------------------


def test_missing_artifacts_are_shown_and_copied_again(admin_client, make_artifact):
    failed = [make_artifact(due_at=None, attempts=4) for _ in range(2)]
    pending = make_artifact("pending", due_at=ago(minutes=-50), attempts=9)
    text = seen(admin_client)
    assert "2 artifacts could not be copied" in text
    assert "Artifact still not copied" in text
    assert "Too large." in text
    assert pressed(admin_client, "Copy all again") == "Artifacts to be copied now: 2 of 2."
    for artifact in failed:
        artifact.refresh_from_db()
        assert (artifact.state, artifact.error, artifact.attempts) == ("pending", "", 0)
        assert artifact.due_at <= timezone.now()
    assert pressed(admin_client, "Copy again", number=-1) == "Artifacts to be copied now: 1 of 1."
    pending.refresh_from_db()
    assert pending.due_at <= timezone.now()


def test_the_artifacts_of_whole_casts_are_copied_again(admin_client, make_artifact):
    failed, other = make_artifact(), make_artifact()
    stored = make_artifact("stored", cast_id=failed.cast_id, name="kept")
    chosen = {"action": "copy_artifacts_again", "_selected_action": [str(failed.cast_id)]}
    told = shown(admin_client.post("/admin/casts/cast/", chosen, follow=True).content.decode())
    assert "Artifacts to be copied now: 1 of 2. The others are here already" in told
    states = {one.pk: one.state for one in Artifact.objects.all()}
    assert states == {failed.pk: "pending", other.pk: "failed", stored.pk: "stored"}


# --- deliveries ------------------------------------------------------------------------------------------------------


def test_failing_deliveries_are_shown_and_applied_again(admin_client, make_delivery):
    given_up = [make_delivery() for _ in range(5)]
    make_delivery(event="workflow_job", attempts=2, due_at=ago(minutes=-9))
    make_delivery(event="workflow_run", attempts=10, due_at=ago(minutes=-9), error="")
    text = seen(admin_client)
    assert "5 deliveries of ping given up" in text
    assert "Delivery of workflow_job failing" in text
    assert "Delivery of workflow_run failing" in text
    assert "2 things need attention" in text  # the one without an error only waits for its run
    assert listed(admin_client, "/admin/webhooks/delivery/", trouble="given_up", event="ping") == 5
    assert listed(admin_client, "/admin/webhooks/delivery/", trouble="failing") == 2
    assert pressed(admin_client, "Apply all again") == "Deliveries to be applied now: 5 of 5."
    for delivery in given_up:
        delivery.refresh_from_db()
        assert delivery.due_at <= timezone.now()
        assert delivery.attempts == 0


# --- installations ---------------------------------------------------------------------------------------------------


def test_installations_in_trouble_are_shown_and_resumed(admin_client, make_spell, make_stuck):
    make_spell("other", installation_id=2)
    asleep = make_spell("asleep", installation_id=3)
    until = ago(minutes=-20)
    Installation.objects.create(pk=0, paused_until=until, pause_reason="rate_limited", pause_message="Slow down.")
    Installation.objects.create(
        pk=1, account_login="acme", paused_until=until, pause_reason="waiting_for_github", failures=9
    )
    Installation.objects.create(pk=2, removed_at=ago(hours=1))
    Installation.objects.create(
        pk=3, suspended_at=ago(hours=3), paused_until=until, pause_reason="installation_suspended"
    )
    waits = make_stuck(asleep, status_reason="installation_suspended", due_at=until)
    text = seen(admin_client)
    for said in (
        f"The personal token is rate limited until {until.astimezone(dt.UTC):%H:%M:%S} UTC",
        "Slow down.",
        "Installation 1 (acme) got no answer from GitHub 9 times in a row",
        "Installation 2 is gone",
        "Installation 3 is suspended",
    ):
        assert said in text
    assert listed(admin_client, "/admin/github_integration/installation/", trouble="any") == 4
    said = "Installations resumed, with {} casts that waited for them: 1 of 1."
    for woken in (1, 0, 0, 1):  # the personal token serves every spell
        assert pressed(admin_client, "Resume") == said.format(woken)
    waits.refresh_from_db()
    assert waits.due_at <= timezone.now()
    held = Installation.objects.exclude(paused_until=None, suspended_at=None, removed_at=None, failures=0)
    assert not held.exists()


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_failing_callbacks_are_shown_by_account_and_sent_again(admin_client, make_callback):
    given_up = [make_callback() for _ in range(4)]
    other = Account.objects.create(name="Elsewhere")
    make_callback(other, state="pending", due_at=ago(hours=-1))
    text = seen(admin_client)
    assert "4 callbacks given up, for Unseen University" in text
    assert "Callback failing, for Elsewhere" in text
    assert "It answered 500." in text
    assert listed(admin_client, "/admin/casts/callback/", trouble="failed") == 4
    assert listed(admin_client, "/admin/casts/callback/", trouble="pending") == 1
    assert pressed(admin_client, "Send all again") == "4 will be sent again."
    for callback in given_up:
        callback.refresh_from_db()
        assert (callback.state, callback.attempts) == ("pending", 0)
    assert pressed(admin_client, "Send again") == "1 will be sent again."


def test_an_endpoint_that_switched_itself_off_is_a_hint(admin_client, account):
    made = endpoints.add_endpoint(account, url="https://example.com/hook", types=["cast.failed"])
    endpoints.disable(made, why="Switched off by an operator.")
    assert "hint" not in seen(admin_client)
    endpoints.enable(made)
    endpoints.disable(made, why=endpoints.ANSWERED_GONE)
    assert "Endpoint was disabled: the receiver answered 410 Gone" in seen(admin_client)
    assert pressed(admin_client, "Enable") == "Enabled 1 endpoints."
    assert CallbackEndpoint.objects.get().active


def test_a_sweep_that_was_given_up_is_shown_and_goes_on(admin_client):
    DeliverySweep.objects.create(failed_steps=6, failure="KeyError in step, line 3", error="Given up.")
    assert "GitHub's log of deliveries is not read any more" in seen(admin_client)
    assert pressed(admin_client, "Sweep again") == "Sweeps that go on now: 1 of 1."
    assert "All clear" in seen(admin_client)


# --- who may, what others wrote, and how much it costs ---------------------------------------------------------------


@pytest.fixture
def all_trouble(make_stuck, make_artifact, make_delivery, make_callback, make_spell, spell):
    """Make some trouble of every kind, of so many rows each."""

    def fill(count, text="Ada"):
        for _ in range(count):
            make_stuck(status_reason="rate_limited", message=f"Slow down {text}")
            make_stuck(status_reason="waiting_for_runner", dispatched_at=ago(hours=1))
            make_stuck(due_at=ago(hours=1))
            make_artifact(name=text, error=text)
            make_artifact("pending")
            make_delivery(error=text, repository=text, action=text[:40])
            make_callback(last_error=text, url=f"https://x/{text}")
            endpoints.disable(
                CallbackEndpoint.objects.create(account_id=Account.objects.earliest("pk").pk, url=text),
                why=endpoints.ANSWERED_GONE,
            )
        for number in range(100, 100 + count):
            soon = ago(minutes=-5)
            Installation.objects.get_or_create(
                pk=number, defaults={"paused_until": soon, "account_login": text, "pause_message": text, "failures": 7}
            )

    return fill


def test_buttons_are_for_who_may_press_them(django_user_model, all_trouble):
    all_trouble(2)
    views = (
        "view_cast",
        "view_artifact",
        "view_delivery",
        "view_callback",
        "view_callbackendpoint",
        "view_installation",
    )
    looks_on = staff(django_user_model, *views)
    text = page(looks_on, PAGE)
    assert "2 casts waiting: rate limited" in shown(text)
    assert text.count("<form") == 1  # to log out
    lists = {
        "casts/cast/?trouble=waiting": ("look_now", "cancel", "copy_artifacts_again"),
        "casts/artifact/?trouble=failed": ("copy_again",),
        "webhooks/delivery/?trouble=given_up": ("apply_again",),
        "github_integration/installation/?trouble=any": ("resume",),
        "casts/callback/?trouble=failed": ("send_again",),
    }
    models = (Cast, Artifact, Delivery, Installation, Callback)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    form = {"select_across": 1, "index": 0, "_selected_action": "all", "back": "attention"}
    for path, actions in lists.items():
        for action in actions:
            looks_on.post(f"/admin/{path}", form | {"action": action})
            assert Client().post(f"/admin/{path}", form | {"action": action}).status_code == 302
            nobody = staff(django_user_model)
            django_user_model.objects.filter(username="staff-0").delete()
            assert nobody.post(f"/admin/{path}", form | {"action": action}).status_code in (302, 403)
    assert [list(model.objects.order_by("pk").values()) for model in models] == before


def test_buttons_need_a_token_against_forged_requests(django_user_model, make_stuck):
    cast = make_stuck(status_reason="rate_limited")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(django_user_model.objects.create_superuser("root"))
    form = {"action": "cancel", "select_across": 1, "index": 0, "_selected_action": "all"}
    assert strict.post(f"/admin/casts/cast/?id__exact={cast.pk}", form).status_code == 403
    cast.refresh_from_db()
    assert cast.status == "queued"


def test_what_others_wrote_is_text(admin_client, all_trouble, make_spell, make_stuck):
    all_trouble(2, HOSTILE)
    Account.objects.update(name=HOSTILE)
    text = page(admin_client, PAGE)
    assert "<script>alert" not in text
    assert shown(text).count("<script>alert(1)</script>") > 8


def test_it_needs_as_many_queries_for_many_rows(admin_client, all_trouble):
    all_trouble(2)
    few = queries(admin_client, PAGE)
    all_trouble(20)
    assert queries(admin_client, PAGE) == few < 50


def test_many_groups_are_cut_and_counted(admin_client, db):
    soon = ago(minutes=-5)
    Installation.objects.bulk_create(
        Installation(pk=number, paused_until=soon, pause_reason="rate_limited") for number in range(1, 101)
    )
    text = seen(admin_client)
    assert "100 things need attention" in text
    assert "And 60 more like these." in text


def test_every_path_on_the_page_opens(admin_client, all_trouble):
    all_trouble(2)
    paths = {html.unescape(path) for path in re.findall(r'(?:href|action)="(/admin/[^"]+)"', page(admin_client, PAGE))}
    assert len(paths) > 20
    for path in paths:
        if "logout" not in path and "password_change" not in path:  # these lead elsewhere
            assert admin_client.get(path).status_code == 200, path
    assert not [path for path in paths if urlsplit(path).netloc]
