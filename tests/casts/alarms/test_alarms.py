"""Operators are told of each trouble once when it begins and once when it is over, whoever dies in between."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from unittest import mock

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from accounts.models import BudgetPeriod, month_of
from casts.alarms import failing, messages, texts, watch
from casts.callbacks.signing import new_secret
from casts.models import Alarm, AlarmMessage, Cast, Round
from core.admin.attention import Section, Trouble
from core.queue.worker import Worker
from tests.casts.conftest import accept_cast
from tests.casts.dashboard.conftest import make_cast  # noqa: F401 - a fixture
from tests.casts.receivers import LEASE, receiver
from tests.console import HOSTILE, page, shown

SECRET = new_secret()
found: list[Trouble] = []  # what the only source tells of


def source(user: object) -> Section:
    assert user.has_perm("anything at all")  # type: ignore[attr-defined]
    return Section("Casts", tuple(found))


def broken(user: object) -> Section:
    raise ValueError("a mistake of ours")


def trouble(what: str = "casts waiting: rate limited", count: int = 7, **more: object) -> Trouble:
    usual = {"since": timezone.now() - dt.timedelta(minutes=5), "path": "/admin/casts/cast/?trouble=waiting"}
    usual |= {"advice": "It goes on by itself.", "why": "GitHub's own words."}
    return Trouble(what, count, **usual | more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _one_source(settings, db):
    settings.ATTENTION, settings.ALARMS = [f"{__name__}.source"], []
    settings.ALARM_MAIL, settings.ALARM_URL, settings.ALARM_SECRETS = (
        ["ops@example.com", "more@example.com"],
        "",
        [SECRET],
    )
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.PUBLIC_URL = "https://spells.example"
    found.clear()
    watch.ensure()
    yield
    found.clear()


def claimed() -> Round:
    Round.objects.update(due_at=timezone.now())
    [row] = watch.AlarmWork().rows().claim(limit=1, lease=LEASE)
    return row


def look() -> None:
    row = claimed()
    row.give_back(watch.AlarmWork().step(row))


def send() -> int:
    """Send what is due, as the worker does; return how many."""
    rows = messages.AlarmMessageWork().rows().claim(limit=9, lease=LEASE)
    for row in rows:
        row.give_back(messages.AlarmMessageWork().step(row))
    return len(rows)


def minutes_pass(minutes: float) -> None:
    """Let that time pass: everything that was noted is so much longer ago."""
    for alarm in Alarm.objects.all():
        for name in ("began_at", "seen_at", "told_at", "over_at"):
            if (at := getattr(alarm, name)) is not None:
                setattr(alarm, name, at - dt.timedelta(minutes=minutes))
        alarm.save()


def test_a_trouble_is_told_when_it_begins_and_when_it_is_over_and_not_in_between():
    found[:] = [trouble(), trouble("hint", mild=True, path="/hint")]
    look()
    assert send() == 1
    found[:] = [trouble(count=9000)]
    for _ in range(3):
        look()
    assert (send(), len(mail.outbox)) == (0, 1)
    first = mail.outbox[0]
    assert first.to == ["ops@example.com", "more@example.com"]
    assert first.subject == "[spells.example] 1 new: 7 casts waiting: rate limited"
    for part in ("Since 20", "It goes on by itself.", "https://spells.example/admin/casts/cast/?trouble=waiting"):
        assert part in first.body
    assert "GitHub's own words" not in first.body
    assert "hint" not in first.body
    found.clear()
    look()
    assert not AlarmMessage.objects.filter(state="pending").exists(), "it may come back"
    minutes_pass(11)
    look()
    assert send() == 1
    assert mail.outbox[1].subject.startswith("[spells.example] All clear: 1 over: 9,000 casts waiting")
    look()
    assert send() == 0


def test_all_news_of_one_look_are_one_mail():
    found[:] = [trouble(f"kind {letter} fails", path=f"/admin/{letter}/?x=1") for letter in "abcd"]
    look()
    found[:] = [*found[2:], trouble("kind e fails", path="/admin/e/?x=1")]
    minutes_pass(11)
    look()
    send()
    assert [re.sub(r": \d.*", "", str(one.subject)) for one in mail.outbox] == [
        "[spells.example] 4 new",
        "[spells.example] 1 new, 2 over",
    ]


def test_what_comes_and_goes_all_day_is_told_a_few_times():
    for _ in range(100):  # there for a minute, away for thirteen: a day
        found[:] = [trouble()]
        look()
        minutes_pass(1)
        found.clear()
        look()
        minutes_pass(13)
        look()
    assert Alarm.objects.count() == 1
    assert AlarmMessage.objects.count() <= 5


def test_one_is_reminded_of_what_lasts_after_a_day(settings):
    found[:] = [trouble()]
    look()
    minutes_pass(23 * 60)
    look()
    assert AlarmMessage.objects.count() == 1
    minutes_pass(61)
    look()
    send()
    assert [one.subject.split(":")[0] for one in mail.outbox] == [
        "[spells.example] 1 new",
        "[spells.example] 1 still there",
    ]
    settings.ALARM_REMIND_HOURS = 0
    minutes_pass(72 * 60)
    look()
    assert AlarmMessage.objects.count() == 2


def test_a_worker_that_was_held_to_be_dead_tells_nothing():
    found[:] = [trouble()]
    late = claimed()
    Round.due_rows().update(lease_until=timezone.now() - LEASE)
    Round.due_rows().recover()
    look()
    watch.AlarmWork().step(late)
    assert (Alarm.objects.count(), AlarmMessage.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_tell_once(settings):
    settings.KEEP_CONNECTIONS = False
    watch.ensure()
    found[:] = [trouble(), trouble("another", path="/admin/other/?x=1")]
    ready = threading.Barrier(2)

    def work() -> None:
        ready.wait()
        for _ in range(3):
            Round.objects.filter(lease_until=None).update(due_at=timezone.now())
            for row in watch.AlarmWork().rows().claim(limit=1, lease=LEASE):
                row.give_back(watch.AlarmWork().step(row))
            send()
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Alarm.objects.count() == 2
    assert (AlarmMessage.objects.count(), len(mail.outbox)) == (1, 1)


def test_a_worker_killed_between_sending_and_noting_sends_again_with_the_same_id(settings):
    with receiver() as there:
        settings.ALARM_URL = there.url
        found[:] = [trouble(f"account {HOSTILE} fails")]
        look()
        for row in messages.AlarmMessageWork().rows().claim(limit=9, lease=LEASE):
            with mock.patch.object(messages, "note", side_effect=SystemExit), pytest.raises(SystemExit):
                messages.AlarmMessageWork().step(row)
        AlarmMessage.due_rows().update(lease_until=timezone.now() - LEASE)
        assert AlarmMessage.due_rows().recover() == 2
        assert send() == 2
        assert not AlarmMessage.objects.exclude(state="delivered").exists()
        first, again = there.got
        told = first.verified(SECRET)
        assert again.verified(SECRET) == told
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        [one] = told["data"]["new"]
        assert told["type"] == "alarms.news"
        assert one["count"] == 7
        assert one["url"] == "https://spells.example/admin/casts/cast/?trouble=waiting"
        assert "path" not in one
    assert len({one.extra_headers["Message-ID"] for one in mail.outbox}) == 1
    assert len(mail.outbox) == 2


def test_mail_server_and_endpoint_that_are_down_are_tried_again(settings):
    with receiver() as there:
        settings.ALARM_URL, there.answers = there.url, [(503, {}), (204, {})]
        found[:] = [trouble()]
        look()
        with mock.patch.object(mail.EmailMessage, "send", side_effect=OSError("no route to host")):
            assert send() == 2
        waiting = {one.channel: one for one in AlarmMessage.objects.filter(state="pending")}
        assert waiting["mail"].last_error == "OSError: no route to host"
        assert "503" in waiting["url"].last_error
        assert all(one.due_at and one.due_at > timezone.now() for one in waiting.values())
        AlarmMessage.objects.update(due_at=timezone.now())
        assert send() == 2
        assert set(AlarmMessage.objects.values_list("state", flat=True)) == {"delivered"}


def test_a_source_that_fails_hides_no_other_and_ends_no_alarm(settings):
    found[:] = [trouble()]
    settings.ATTENTION = [f"{__name__}.source"]
    look()
    settings.ATTENTION = [f"{__name__}.broken"]
    Alarm.objects.update(source=f"{__name__}.broken")
    minutes_pass(60)
    look()
    assert list(Alarm.objects.filter(over_at=None).order_by("pk").values_list("section", flat=True)) == [
        "Casts",
        "Alarms",
    ]


def test_without_anybody_to_tell_nothing_is_looked_for(settings):
    settings.ALARM_MAIL = []
    found[:] = [trouble()]
    look()
    assert not Alarm.objects.exists()
    with pytest.raises(CommandError, match="Nobody is to be told"):
        call_command("testalarm")


def test_a_subject_is_one_line_whatever_names_hold():
    found[:] = [trouble("spell “a\r\nBcc: x@example.com” " + "x" * 300, count=1)]
    look()
    send()
    assert "\n" not in mail.outbox[0].subject
    assert len(mail.outbox[0].subject) <= 120
    assert mail.outbox[0].message()["Bcc"] is None


# --- what else is trouble --------------------------------------------------------------------------------------------


def test_a_spell_that_keeps_failing_is_one_until_a_cast_succeeds(settings, make_cast, make_spell):  # noqa: F811
    settings.ATTENTION, settings.ALARMS = [], ["casts.alarms.failing.failing_spells"]
    now = timezone.now()
    other = make_spell("other")
    make_cast(now - dt.timedelta(hours=2))
    for minutes in range(1, 5):
        make_cast(now - dt.timedelta(minutes=minutes), "failed")
        make_cast(now - dt.timedelta(minutes=minutes), "cancelled", spell=other)
    assert failing.failing() == []
    make_cast(now - dt.timedelta(minutes=30), "failed")
    look()
    [alarm] = Alarm.objects.all()
    assert alarm.what == "5 casts of “greet” failed one after the other, and none succeeded since"
    make_cast(now)
    minutes_pass(11)
    look()
    assert Alarm.objects.get().over_at is not None
    settings.ALARM_FAILURES = 0
    for number in range(20):
        make_cast(now, "failed" if number % 2 else "succeeded", spell=other)
    [row] = failing.failing()
    assert failing.trouble(row).what == "of 20 casts of “other” failed in the last 24 hours"
    settings.ALARM_FAILURE_PERCENT = 51
    assert failing.failing() == []


def test_a_budget_is_told_at_its_threshold_and_when_it_is_used_up(settings, account):
    settings.ATTENTION, settings.ALARMS = [], ["accounts.alarms.budgets"]
    period = BudgetPeriod.objects.create(
        account=account, month=month_of(timezone.now()), cap_cents=1000, held_cents=799
    )
    look()
    assert not Alarm.objects.exists()
    for held, captured in ((800, 0), (300, 500), (300, 700), (0, 1000)):
        BudgetPeriod.objects.filter(pk=period.pk).update(held_cents=held, captured_cents=captured)
        look()
    send()
    assert [one.subject for one in mail.outbox] == [
        f"[spells.example] 1 new: Unseen University has used {level} % of its cap of 10.00 USD in {period.month:%B %Y}"
        for level in (80, 100)
    ]
    BudgetPeriod.objects.update(cap_cents=100_000)
    minutes_pass(11)
    look()
    send()
    assert mail.outbox[2].subject.startswith("[spells.example] All clear: 2 over")


def test_every_section_there_is_can_be_looked_at(settings, api_key, spell):
    from spellplatform import settings as real

    settings.ATTENTION, settings.ALARMS = real.ATTENTION, real.ALARMS
    cast = accept_cast(api_key=api_key, spell=spell, input={"name": "a secret"})
    Cast.objects.filter(pk=cast.pk).update(due_at=timezone.now() - dt.timedelta(minutes=9), message="a secret")
    look()
    seen, failed = watch.look()
    assert failed == set()
    assert any("due, and no worker takes it" in one.trouble.what for one in seen.values())
    send()
    assert "a secret" not in mail.outbox[0].body


# --- for operators ---------------------------------------------------------------------------------------------------


def test_the_command_tests_every_way_and_says_what_came_of_it(settings, capsys):
    with receiver() as there:
        settings.ALARM_URL, there.answers = there.url, [(204, {}), (500, {})]
        call_command("testalarm")
        assert capsys.readouterr().out == "mail: taken\nurl: taken\n"
        assert there.got[0].verified(SECRET)["type"] == "alarms.test"
        with pytest.raises(CommandError, match="Not all"):
            call_command("testalarm")
        assert "url: It answered 500" in capsys.readouterr().out
    assert list(AlarmMessage.objects.values_list("state", flat=True).order_by("pk")) == ["delivered"] * 3 + ["failed"]


def test_the_button_has_a_worker_send_a_test(admin_client, settings, client, django_user_model):
    listing = "/admin/casts/alarmmessage/"
    assert "Send a test" in page(admin_client, listing)
    assert admin_client.get(f"{listing}test/").status_code == 405
    answer = admin_client.post(f"{listing}test/", follow=True)
    assert "A worker sends the test now" in answer.content.decode()
    assert send() == 1
    assert "asked for by admin" in mail.outbox[0].body
    client.force_login(django_user_model.objects.create_user("staff", is_staff=True))
    assert client.post(f"{listing}test/").status_code == 403
    found[:] = [trouble(f"{HOSTILE} fails")]
    look()
    alarm, message = Alarm.objects.get(), AlarmMessage.objects.latest("pk")
    for path in ("/admin/casts/alarm/", f"/admin/casts/alarm/{alarm.pk}/change/", f"{listing}{message.pk}/change/"):
        text = page(admin_client, path)
        assert HOSTILE not in text
    assert "fails" in shown(page(admin_client, "/admin/casts/alarm/", state="on"))
    assert "fails" not in shown(page(admin_client, "/admin/casts/alarm/", state="over"))


@pytest.mark.django_db(transaction=True)
def test_a_worker_looks_sends_and_says_that_it_is_alive(settings):
    from casts.models import WorkerProcess

    settings.SWEEPS, settings.KEEP_CONNECTIONS = ["casts.alarms.watch.ensure"], False
    found[:] = [trouble()]
    worker = Worker(threads=2, lease_seconds=30)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        from tests.e2e.platform import until

        until(lambda: len(mail.outbox) == 1 and WorkerProcess.objects.exists())
    finally:
        worker.stop()
        running.join()
        connection.close()
    assert not WorkerProcess.objects.exists(), "it takes its row along"
    assert json.loads(json.dumps(AlarmMessage.objects.get().news))["on"] == 1


def test_a_message_leads_to_all_that_are_on_and_the_all_clear_to_what_needs_attention():
    # An account near its cap is on, and not on “Needs attention”.
    one = {
        "section": "Budgets",
        "what": "x",
        "since": "2026-11-26T06:00:00+00:00",
        "over_at": None,
        "advice": "",
        "path": "/x/",
    }
    news = {"new": [one], "back": [], "still": [], "over": [], "on": 3}
    assert "All that are on, 3: http" in texts.mail("alarms.news", news)
    assert texts.data(news)["url"].endswith("/admin/casts/alarm/?state=on")
    assert texts.data({**news, "on": 0})["url"].endswith("/admin/attention/")
