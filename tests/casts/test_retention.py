"""What was kept for long enough is gone, wherever it was; what another rule keeps is not touched."""

from __future__ import annotations

import datetime as dt
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts import principals
from accounts.audit import log
from accounts.audit import retention as audit
from accounts.audit.models import AuditEntry
from accounts.models import Account, ApiKey, LedgerEntry
from casts.access import About
from casts.callbacks import outbox
from casts.callbacks.delivery import message
from casts.execution.artifacts import ArtifactWork
from casts.execution.files import FileWork
from casts.live import openings
from casts.models import (
    Artifact,
    Callback,
    CallbackAttempt,
    CallbackEndpoint,
    Cast,
    CastEvent,
    CastStatus,
    IdempotencyRecord,
    Kept,
    MetadataMark,
    RetentionMark,
    RetentionRule,
    Spell,
)
from casts.retention import rules, work
from casts.runtime import Annotation, Failure, Job, JobStep, Observation, RemoteArtifact
from tests.casts.client import Api
from tests.casts.conftest import Clock, step
from tests.casts.fake import FakeRuntime
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db

WORD = "xyzzy-canary-{}"
IN, OUT, LOG, FILE = (WORD.format(name) for name in ("in", "out", "log", "file"))


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return packed.getvalue()


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}},
    }
    return tmp_path


@pytest.fixture
def ended(runtime: FakeRuntime, storage: Path, api: Api, api_key: ApiKey) -> Callable[..., Cast]:
    """Cast over the API, have the run do it, and end; with all that it leaves."""

    def end(*, spell: Spell, by: Api = api, fails: bool = False, **body: Any) -> Cast:
        asked = {"spell_key": spell.key, "input": {"name": IN}, "metadata": {"for": IN}} | body
        answer = by.post("/cast", asked, idempotency_key=f"key-{Cast.objects.count()}")
        assert answer.status_code == 201, answer.content
        cast = Cast.objects.get(pk=answer.json()["cast_id"])
        moment = timezone.now()
        steps = (JobStep(LOG, 1, "completed", "success", moment, moment),)
        job = Job(1, LOG, "completed", "success", started_at=moment, steps=steps, runner="r")
        runtime.answers |= {
            "artifacts": [RemoteArtifact(1, "spell-result", 9), RemoteArtifact(2, "other", 9)],
            "download": {
                "spell-result": zipped(result__json=json.dumps({"said": OUT}), summary__md=OUT),
                "other": zipped(file__txt=FILE) + FILE.encode(),
            },
            "failure": Failure(step=LOG, log_tail=(LOG,), annotations=(Annotation(LOG, "error"),)),
            "remarks": (Annotation(LOG, "error"),),
            "observe": lambda cast: Observation(
                *(cast.run_scope, cast.run_key, 1, "completed", "failure" if fails else "success"),
                title=f"run {IN}",
                jobs=(job,),
            ),
        }
        for _ in range(10):
            step(cast)
            if cast.final:
                break
        assert cast.status == (CastStatus.FAILED if fails else CastStatus.SUCCEEDED), cast.message
        Delivery.objects.create(
            guid=f"g{cast.pk}",
            event="workflow_run",
            repository=cast.run_scope.upper(),
            run_id=int(cast.run_key or 0),
            body=json.dumps({"title": IN, "step": LOG}),
            received_at=timezone.now(),
            applied_at=timezone.now(),
            outcome=Delivery.Outcome.APPLIED,
        )
        for callback in Callback.objects.filter(cast=cast):
            CallbackAttempt.objects.create(
                callback=callback, at=timezone.now(), url=callback.url, duration_ms=1, response_excerpt=f"got {OUT}"
            )
        Callback.objects.filter(cast=cast).update(due_at=None, state=Callback.State.DELIVERED)
        return cast

    return end


def rule(kind: str, days: int, account: Account | None = None, spell: Spell | None = None) -> None:
    RetentionRule.objects.create(account=account, spell=spell, kind=kind, days=days)


def purge() -> None:
    """Do what a worker does: a round, and what it has left to others."""
    while work.purge(seconds=60):
        pass
    for row in Artifact.due_rows().claim(limit=100, lease=dt.timedelta(seconds=30)):
        row.give_back(ArtifactWork().step(row))
    for loose in FileWork().rows().claim(limit=100, lease=dt.timedelta(seconds=30)):
        loose.give_back(FileWork().step(loose))


def tables() -> Iterator[tuple[str, str]]:
    """Yield each row of the whole database as text, with its table."""
    for model in apps.get_models():
        for row in model._base_manager.values():
            yield model._meta.db_table, repr(row)


def where(word: str, storage: Path) -> set[str]:
    """Return the tables, and files, in which a word is found."""
    found = {table for table, text in tables() if word in text}
    files = [path for path in storage.rglob("*") if path.is_file()]
    return found | {"storage" for path in files if word.encode() in path.read_bytes()}


@pytest.fixture
def endpoint(account: Account) -> CallbackEndpoint:
    return CallbackEndpoint.objects.create(account=account, url="https://example.com/hook")


def everywhere(storage: Path) -> dict[str, set[str]]:
    return {word: where(word, storage) for word in (IN, OUT, LOG, FILE)}


@pytest.mark.parametrize("fails", [False, True])
def test_no_word_of_it_is_left_in_the_database_or_the_storage(
    ended: Callable[..., Cast],
    spell: Spell,
    account: Account,
    endpoint: CallbackEndpoint,
    clock: Clock,
    storage: Path,
    fails: bool,
    settings: Any,
) -> None:
    cast = ended(spell=spell, fails=fails)
    before = everywhere(storage)
    assert {"casts_cast", "casts_idempotencyrecord", "webhooks_delivery"} <= before[IN]
    assert {"casts_cast", "casts_castevent", "casts_callbackattempt"} <= before[OUT]
    assert {"casts_cast", "casts_castevent", "webhooks_delivery"} <= before[LOG]
    assert before[FILE] == {"storage"}
    for kind in Kept:
        rule(kind, 3, account)
    clock.forward(days=2.9)
    purge()
    assert everywhere(storage) == before
    clock.forward(days=0.2)
    purge()
    assert everywhere(storage) == {IN: set(), OUT: set(), LOG: set(), FILE: set()}
    cast.refresh_from_db()
    # What remains: that it was cast, how it ended and what it cost.
    assert set(cast.removed or {}) == {kind.value for kind in Kept if kind != Kept.AUDIT}
    assert cast.status in ("failed", "succeeded")
    assert cast.charged_cents is not None
    assert LedgerEntry.objects.filter(cast_id=cast.pk).count() == 2
    assert not CastEvent.objects.exists()
    assert not Callback.objects.exists()
    assert not MetadataMark.objects.exists()
    assert set(Artifact.objects.values_list("state", flat=True)) == {"expired"}


KINDS: dict[str, Callable[[Cast], bool]] = {
    # Whether what is of this kind is there.
    "input": lambda cast: IN in json.dumps([cast.input, cast.metadata]),
    "output": lambda cast: OUT in json.dumps([cast.output, cast.summary]),
    "log": lambda cast: LOG in json.dumps([cast.jobs, cast.annotations, cast.error]),
    "artifact": lambda cast: cast.artifacts.filter(state="stored").exists(),
    "event": lambda cast: cast.events.exists(),
    "delivery": lambda cast: Delivery.objects.filter(run_id=int(cast.run_key or 0)).exclude(body="").exists(),
    "callback": lambda cast: cast.callbacks.exists(),
    "idempotency": lambda cast: any(
        record["cast_id"] == str(cast.pk) for record in IdempotencyRecord.objects.values_list("body", flat=True)
    ),
}
WITH = {"input": {"delivery", "idempotency"}, "log": {"delivery"}}  # copies go along


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_goes_by_its_own_rule_and_the_shortest_counts(
    ended: Callable[..., Cast], spell: Spell, account: Account, endpoint: CallbackEndpoint, clock: Clock, kind: str
) -> None:
    other_spell = Spell.objects.get(pk=spell.pk)
    other_spell.pk, other_spell.key, other_spell._state.adding = None, "other", True
    other_spell.save()
    mine, other = ended(spell=spell), ended(spell=other_spell)
    rule(kind, 6, account)
    rule(kind, 3, account, spell)
    rule(kind, 5, None, spell)
    purge()
    clock.forward(days=3.1)
    purge()
    gone = {kind, *WITH.get(kind, ())}
    for cast, lost in ((mine, gone), (other, set())):
        cast.refresh_from_db()
        assert {name for name, there in KINDS.items() if not there(cast)} == lost
    clock.forward(days=3)
    purge()
    other.refresh_from_db()
    assert {name for name, there in KINDS.items() if not there(other)} == gone


def test_the_setting_counts_where_no_rule_does_and_a_spell_may_say_its_own(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, settings: Any
) -> None:
    settings.OUTPUT_RETENTION_DAYS = 4
    known = rules.load()
    assert known.days(Kept.OUTPUT, account.pk, spell.pk) == 4
    assert known.days(Kept.INPUT, account.pk, spell.pk) is None
    rule(Kept.OUTPUT, 40, account)  # longer than the setting, as it is a rule
    assert rules.load().days(Kept.OUTPUT, account.pk, spell.pk) == 40
    spell.retention = {"output": 9, "delivery": 90}
    spell.full_clean()
    spell.save()
    assert rules.load().days(Kept.OUTPUT, account.pk, spell.pk) == 9
    assert rules.load().days(Kept.DELIVERY, account.pk, spell.pk) == settings.DELIVERY_RETENTION_DAYS
    assert rules.load().days(Kept.OUTPUT, account.pk + 1, spell.pk + 1) == 4


def test_a_rule_that_comes_later_counts_for_what_ended_before(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock
) -> None:
    cast = ended(spell=spell)
    rule(Kept.INPUT, 20, account)
    clock.forward(days=10)
    purge()
    cast.refresh_from_db()
    assert cast.removed is None
    RetentionRule.objects.update(days=5)
    purge()
    now = Cast.objects.get(pk=cast.pk)
    assert now.removed["input"]["days"] == 5
    assert now.input == {}


def test_what_is_open_stays(
    make_cast: Callable[..., Cast],
    ended: Callable[..., Cast],
    account: Account,
    spell: Spell,
    clock: Clock,
    endpoint: CallbackEndpoint,
) -> None:
    for kind in Kept:
        rule(kind, 1, account)
    running, cast = make_cast(input={"name": IN}), ended(spell=spell)
    Callback.objects.filter(cast=cast).update(due_at=timezone.now())
    Delivery.objects.filter(run_id=int(cast.run_key or 0)).update(due_at=timezone.now(), applied_at=None)
    clock.forward(days=9)
    purge()
    running.refresh_from_db()
    cast.refresh_from_db()
    assert running.input == {"name": IN}
    assert running.events.exists()
    assert cast.callbacks.exists()
    assert KINDS["delivery"](cast)
    assert not {"callback", "delivery"} & set(cast.removed or {})
    assert {mark.waiting[0] for mark in RetentionMark.objects.filter(source="casts", days=1)} == {str(cast.pk)}
    Callback.objects.update(due_at=None)
    Delivery.objects.update(due_at=None)
    purge()
    assert not cast.callbacks.exists()
    assert not KINDS["delivery"](cast)


def test_readers_are_told_and_a_retry_is_refused(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, api: Api, endpoint: CallbackEndpoint
) -> None:
    cast = ended(spell=spell)
    path = f"/casts/{cast.pk}"
    rule(Kept.INPUT, 7, account)
    rule(Kept.OUTPUT, 8, account)
    clock.forward(days=9)
    purge()
    shown = api.get(path).json()
    assert shown["input"] == {}
    assert shown["output"] is None
    assert shown["summary"] is None
    assert {kind: told["days"] for kind, told in shown["removed"].items()} == {
        "input": 7,
        "output": 8,
        "delivery": 7,
    }
    assert api.get(f"/spells/{spell.key}").json()["retention_days"]["input"] == 7
    refused = api.post(f"{path}/retry", {})
    assert refused.status_code == 410
    assert refused.json()["code"] == "INPUT_REMOVED"
    assert "7 days" in refused.json()["detail"]
    callback = outbox.send_again(Callback.objects.get(cast=cast))
    told = json.loads(message(callback))["data"]
    assert told["output"] is None
    assert told["removed"]["output"]["days"] == 8


def test_the_audit_log_loses_what_is_over_by_the_purge_alone(
    account: Account, api_key: ApiKey, clock: Clock, settings: Any
) -> None:
    if connection.vendor == "sqlite":  # tests have taken its trigger away, see conftest
        made_by = import_module("accounts.migrations.0018_retention").REFUSE["sqlite"][0]
        connection.cursor().execute(made_by[made_by.index("CREATE") :])
    other_account = Account.objects.create(name="Others")
    clock.now -= dt.timedelta(days=400)
    for whose in (account, other_account):
        log.record(principals.of_command("test"), f"of.{whose.pk}", account_id=whose.pk)
    clock.now += dt.timedelta(days=400)
    log.record(principals.of_command("test"), "of.today", account_id=account.pk)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete()
    rule(Kept.AUDIT, 365, account)
    purge()
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {f"of.{other_account.pk}", "of.today"}
    assert audit.delete(list(AuditEntry.objects.values_list("pk", flat=True)), before=timezone.now()) == 1
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.update(action="other")


def test_who_may_set_rules_does_not_have_the_traces_of_that_deleted_a_day_later(
    account: Account, api_key: ApiKey, clock: Clock, settings: Any
) -> None:
    log.record(principals.of_command("test"), "retention.change", account_id=account.pk)
    with pytest.raises(ValidationError, match="30 days at least"):
        RetentionRule(account=account, kind=Kept.AUDIT, days=29).full_clean()
    RetentionRule(account=account, kind=Kept.AUDIT, days=30).full_clean()
    clock.forward(days=29)
    assert audit.delete(list(AuditEntry.objects.values_list("pk", flat=True)), before=timezone.now()) == 0
    for days, wrong in ((29, ["spell.E021"]), (1, ["spell.E021"]), (30, []), (0, [])):
        settings.AUDIT_RETENTION_DAYS = days
        assert [found.id for found in run_checks() if found.id == "spell.E021"] == wrong


def test_callbacks_about_accounts_go_too(account: Account, endpoint: CallbackEndpoint, clock: Clock) -> None:
    tested = outbox.enqueue_test(endpoint)
    rule(Kept.CALLBACK, 10, account)
    clock.forward(days=11)
    purge()
    assert Callback.objects.filter(pk=tested.pk).exists()  # still to be sent
    Callback.objects.update(due_at=None, state="delivered")
    RetentionMark.objects.all().delete()
    purge()
    assert not Callback.objects.exists()


def test_what_came_out_of_order_is_passed_by_by_no_mark(
    ended: Callable[..., Cast], spell: Spell, account: Account, endpoint: CallbackEndpoint, clock: Clock
) -> None:
    """The second of three is the newest: the process that wrote the third had a clock that is behind."""
    casts = []
    for minutes in (0, 20, -10):
        clock.now += dt.timedelta(minutes=minutes)
        casts.append(ended(spell=spell))
        outbox.enqueue_test(endpoint)
        log.record(principals.of_command("test"), "of.test", account_id=account.pk)
    Callback.objects.update(due_at=None, state="delivered")
    for kind in (Kept.INPUT, Kept.CALLBACK, Kept.AUDIT):
        rule(kind, 30, account)

    def left() -> list[int]:
        return [
            Cast.objects.filter(removed=None).count(),
            Callback.objects.filter(cast=None).count(),
            AuditEntry.objects.filter(action="of.test").count(),
        ]

    clock.forward(days=30, minutes=5)
    purge()
    assert left() == [2, 2, 2]
    clock.forward(minutes=20)
    purge()
    assert left() == [0, 0, 0]


def test_all_is_looked_at_anew_when_rules_change_and_not_for_a_new_spell(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, monkeypatch: Any
) -> None:
    ended(spell=spell)
    rule(Kept.INPUT, 1, account)
    clock.forward(days=2)
    purge()
    begun: list[str] = []

    def look(mark: RetentionMark, known: rules.Rules) -> bool:
        if mark.days == 1:
            begun.append(mark.place)
        return False

    monkeypatch.setattr(work, "casts", look)
    another = Spell.objects.create(key="another", name="Another", retention={"input": 1})
    purge()
    purge()
    assert begun == [begun[0]] * 2
    assert begun[0]
    Spell.objects.filter(pk=another.pk).update(retention={"input": 3})
    purge()
    assert begun[2:] == [""]


def broken(*_: Any) -> int:
    raise RuntimeError("a bug")


def test_what_can_not_be_deleted_keeps_nothing_else(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, settings: Any, monkeypatch: Any
) -> None:
    ended(spell=spell)
    log.record(principals.of_command("test"), "of.test", account_id=account.pk)
    rule(Kept.INPUT, 30, account)
    rule(Kept.AUDIT, 30, account)
    clock.forward(days=31)
    with monkeypatch.context() as bug:
        bug.setattr(work, "casts", broken)
        with pytest.raises(RuntimeError):  # so that its row counts as one that fails, which operators see
            work.purge(seconds=60)
    assert not AuditEntry.objects.filter(action="of.test").exists()
    assert not Cast.objects.exclude(removed=None).exists()
    settings.PURGES = [f"{__name__}.broken"]
    with pytest.raises(RuntimeError):
        work.purge(seconds=60)
    assert Cast.objects.exclude(removed=None).exists()


def test_the_rules_of_an_account_are_those_of_all_that_count_for_it(account: Account, spell: Spell) -> None:
    others = Account.objects.create(name="Others")
    another = Spell.objects.create(key="another", name="Another", retention={"output": 3}, artifact_retention_days=2)
    for number, whose in enumerate(((account, None), (None, spell), (account, spell), (others, None), (None, another))):
        for kind in (Kept.INPUT, Kept.ARTIFACT):
            rule(kind, 20 - number, *whose)
    every = rules.load()
    for one in (account, others):
        for spells in ([spell], [another], [spell, another]):
            known = rules.load_for(one.pk, spells)
            for asked in spells:
                for kind in Kept:
                    assert known.days(kind, one.pk, asked.pk) == every.days(kind, one.pk, asked.pk)
            assert known.days(Kept.INPUT, one.pk) == every.days(Kept.INPUT, one.pk)


def test_one_whose_clock_was_far_ahead_holds_up_nobody() -> None:
    at = [timezone.now() + dt.timedelta(days=days) for days in (0, 400, 1, 9)]
    assert work.old_enough(at, at[2], lambda one: one) == [at[0], at[2]]


def test_an_artifacts_file_goes_though_the_worker_that_expired_it_died(
    ended: Callable[..., Cast], spell: Spell, clock: Clock, storage: Path
) -> None:
    ended(spell=spell)
    clock.forward(days=spell.artifact_retention_days + 1)
    for row in Artifact.due_rows().claim(limit=9, lease=dt.timedelta(seconds=30)):
        ArtifactWork().step(row)  # and no more: whoever did that is gone
    assert set(Artifact.objects.values_list("state", flat=True)) == {"expired"}
    assert where(FILE, storage)
    purge()
    assert not where(FILE, storage)


def test_one_worker_at_a_time_and_a_round_that_was_cut_off_goes_on(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = [ended(spell=spell) for _ in range(3)]
    rule(Kept.INPUT, 1, account)
    monkeypatch.setattr(work, "CHUNK", 1)
    clock.forward(days=2)
    assert work.purge(seconds=0)  # one chunk, and more to do
    assert [Cast.objects.get(pk=cast.pk).removed is None for cast in casts] == [False, True, True]
    purge()
    assert not Cast.objects.filter(removed=None).exists()
    work.ensure()
    work.ensure()
    held = work.RetentionWork().rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    assert held
    assert not work.RetentionWork().rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    assert (again := work.RetentionWork().step(held[0])) is not None
    assert again > timezone.now()


def test_a_stream_of_a_cast_without_its_history_tells_its_end(
    ended: Callable[..., Cast], spell: Spell, account: Account, clock: Clock, api: Api
) -> None:
    cast = ended(spell=spell)
    rule(Kept.EVENT, 2, account)
    clock.forward(days=3)
    purge()
    assert not cast.events.exists()
    seen = list(openings.starts_of(*asked(cast, None)))
    assert [(frame.seq, frame.final) for frame in seen[0].first] == [(cast.last_seq, True)]
    assert OUT.encode() in seen[0].first[0].data
    assert openings.starts_of(*asked(cast, 1))[0].first == seen[0].first
    assert openings.starts_of(*asked(cast, cast.last_seq))[0].over


def asked(cast: Cast, after: int | None) -> tuple[Any, Any, Any]:
    cast.refresh_from_db()
    about = About(cast.pk, cast.account_id, cast.spell.key)
    head = openings.CastHead(about, cast.status, cast.last_seq, cast.links_epoch, cast.removed)
    return [openings.StreamRequest(cast.pk, None, after)], {cast.pk: head}, {}


def test_operators_set_rules_on_an_accounts_page_and_members_read_them(
    admin_client: Any, client: Any, django_user_model: Any, account: Account, spell: Spell
) -> None:
    path = f"/admin/accounts/account/{account.pk}/change/"
    empty = {f"{name}-{part}_FORMS": 0 for name in ("membership_set", "caps") for part in ("TOTAL", "INITIAL")}
    row = {"kind": "input", "spell": spell.pk, "days": 7, "account": account.pk}
    fields = {"retention_rules-TOTAL_FORMS": 1, "retention_rules-INITIAL_FORMS": 0, "name": account.name}
    sent = empty | fields | {f"retention_rules-0-{name}": value for name, value in row.items()}
    wrong = admin_client.post(path, sent | {"retention_rules-0-days": 0})
    assert wrong.status_code == 200
    assert admin_client.post(path, sent).status_code == 302
    assert RetentionRule.objects.values_list("account", "spell", "kind", "days").get() == (
        account.pk,
        spell.pk,
        "input",
        7,
    )
    entry = AuditEntry.objects.get(action="retention.change")
    assert (entry.account_id, entry.after and entry.after["days"]) == (account.pk, 7)
    owner = django_user_model.objects.create_user("owner", password="x")
    account.members.add(owner, through_defaults={"role": "owner"})
    client.force_login(owner)
    page = client.get(f"/account/{account.pk}/settings/").content.decode()
    assert f"for good; {spell.key}: 7 days" in page
