"""/livez and /readyz: what is wrong makes the answer, and is for operators alone."""

import json
import threading
import time

import pytest
from django.db.migrations.recorder import MigrationRecorder

from casts.models import WorkerProcess
from core.queue import wakeups
from core.telemetry import health, kept
from tests.core.telemetry.test_page import TOKEN, asked

pytestmark = pytest.mark.django_db(transaction=True)
SHOWN = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _anew(settings, monkeypatch):
    settings.METRICS_TOKENS = [TOKEN]
    monkeypatch.setattr(health, "DATABASE", kept.Kept(health.check_all, seconds=0, patience=60))
    monkeypatch.setattr(health, "STORAGE", kept.Kept(health.storage, seconds=0, patience=60))
    monkeypatch.setattr(wakeups, "heard", {})


@pytest.fixture
def worker():
    from django.utils import timezone

    return WorkerProcess.objects.create(name="w", threads=1, started_at=timezone.now(), seen_at=timezone.now())


def wrong():
    """Return what an operator is told to be wrong."""
    status, body = asked("/readyz", **SHOWN)
    told = {name: check["why"] for name, check in json.loads(body)["checks"].items() if not check["ok"]}
    assert status == (503 if told else 200)
    return told


def test_a_process_with_all_it_needs_is_ready(worker):
    assert asked("/livez") == (200, b"ok\n")
    assert asked("/readyz") == (200, b"ok\n")
    assert wrong() == {}


def test_without_a_worker(worker):
    worker.delete()
    assert asked("/readyz", client="198.51.100.7") == (503, b"not ready\n")
    assert asked("/readyz?exclude=worker") == (200, b"ok\n")
    assert wrong().keys() == {"worker"}


def test_without_a_migration(worker):
    recorder = MigrationRecorder.Migration.objects
    last = recorder.filter(app="casts").latest("id")
    recorder.create(app="casts", name="9999_of_a_later_release")
    assert wrong() == {}
    last.delete()
    try:
        assert wrong() == {"migrations": "1 are missing. Run: manage.py migrate"}
    finally:
        recorder.filter(name="9999_of_a_later_release").delete()
        last.pk = None
        last.save()


def test_without_a_listener_that_was_there(worker):
    wakeups.heard["cast_news"] = time.monotonic() - health.SILENT - 1
    assert wrong() == {"listener": "nothing heard for 30 seconds on: cast_news"}


def test_without_storage(worker, settings):
    folder = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": "/proc/nothing"}}
    settings.STORAGES = settings.STORAGES | {"default": folder}
    assert wrong().keys() == {"storage"}


def test_while_the_database_hangs_the_answer_comes_all_the_same(worker, monkeypatch):
    go_on, hanging = threading.Event(), []

    def hangs():
        hanging.append(threading.current_thread())
        go_on.wait(60)
        return {}

    monkeypatch.setattr(health, "DATABASE", kept.Kept(hangs, seconds=0, patience=0.05))
    try:
        for _ in range(3):
            assert wrong().keys() == {"database", "migrations", "worker", "listener"}
        assert len(hanging) == 1
    finally:
        go_on.set()


def test_who_shows_a_session_is_answered_where_sessions_are_known(worker, client, admin_user, django_user_model):
    worker.delete()
    assert asked("/readyz", cookie="sessionid=anything") is None
    assert asked("/metrics", cookie="sessionid=anything") is not None
    assert client.get("/readyz").content == b"not ready\n"
    client.force_login(django_user_model.objects.create_user("member"))
    assert client.get("/readyz").content == b"not ready\n"
    client.force_login(admin_user)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["worker"]["ok"]) == (503, False)
    assert client.get("/readyz?exclude=worker").json()["ready"]


def test_a_thread_that_could_not_be_started_is_missed_once_and_not_for_ever(monkeypatch):
    asked_for = kept.Kept(lambda: "made", seconds=0, patience=60)

    def no_room(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_room)
        with pytest.raises(RuntimeError):
            asked_for.begin()
    assert asked_for.begin().result(timeout=60) == "made"
