"""One row of every model of ours, each with what a database most easily changes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models

from accounts.audit.models import AuditEntry, AuditPurge
from accounts.members.models import Invitation
from accounts.models import (
    Account,
    AccountEvent,
    ApiKey,
    BudgetCap,
    BudgetPeriod,
    Credit,
    LedgerEntry,
    Membership,
    OpenCasts,
    Session,
)
from accounts.proof.models import LedgerCheck
from accounts.rationing.models import FailedTries, Ration, Refusal
from casts.models import (
    AccountPrice,
    Alarm,
    AlarmMessage,
    Artifact,
    ArtifactContents,
    Callback,
    CallbackAttempt,
    CallbackEndpoint,
    Cast,
    CastEvent,
    CastTally,
    IdempotencyRecord,
    LooseFile,
    MetadataMark,
    RetentionMark,
    RetentionRule,
    Round,
    SlotOrder,
    Spell,
    SpellHistory,
    SpellVersion,
    WorkerProcess,
)
from core.sealing import seal
from github_integration.models import (
    AccountTurns,
    ExclusiveStart,
    Installation,
    RecentRuns,
    RepositoryList,
    SpellRepository,
    WorkflowTarget,
)
from payments.models import (
    Books,
    CardSetup,
    Customer,
    Dispute,
    EventSweep,
    Invoice,
    MeterReport,
    Refund,
    StripeEvent,
    Subscription,
    TopUp,
    Verification,
)
from webhooks.models import Delivery, DeliverySweep

OURS = ("core", "accounts", "casts", "payments", "github_integration", "webhooks")
# A zone that is not UTC, and microseconds.
MOMENT = dt.datetime(2026, 3, 1, 1, 2, 3, 456789, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
TEXT = 'it\'s 100 % "so" \\ ☃ %s'
INVITED = dict.fromkeys(("sent_at", "expires_at", "accepted_at", "revoked_at"), MOMENT)
SESSION_TIMES = ("expire_date", "started_at", "last_seen_at")
DOCUMENT = {"zeta": 1, "b": [2.5, None, True, 1e22], "aa": TEXT, "a": {"": -0.0, "10": 2**70, "9": 5e-324}}


def every_model() -> list[type[models.Model]]:
    """Return all models of ours that are tables."""
    return [model for app in OURS for model in apps.get_app_config(app).get_models(include_auto_created=True)]


def one_of_each(account: Account, api_key: ApiKey, spell: Spell) -> dict[type[Any], Any]:
    """Save one row of every model, with every foreign key set, and return them by model."""
    user = get_user_model().objects.create(username="rincewind")
    api_key.created_by_key, api_key.created_by_user = api_key, user
    api_key.save()
    spell.account = account
    spell.save()
    first = make(Cast, **cast_fields(account, api_key, spell), run_scope="owner/first")
    cast = make(Cast, **cast_fields(account, api_key, spell), run_scope="owner/name", retry_of=first)
    period = make(BudgetPeriod, account=account, month=dt.date(2026, 3, 1), scope="key", ref="7", cap_cents=2**62)
    endpoint = make(CallbackEndpoint, account=account, url="https://example.com/?q=%s", sealed_secrets=seal(["b", "a"]))
    due = {"due_at": MOMENT, "lease_until": MOMENT, "attempts": 3, "claim_number": 2**40}
    callback = make(Callback, account=account, cast=cast, endpoint=endpoint, url=TEXT, created_at=MOMENT, **due)
    installation = make(Installation, id=2**40, account=account, paused_until=MOMENT)
    repository = make(
        SpellRepository,
        **{
            "number": 2**53 + 1,
            "installation": installation,
            "name": "o/n",
            "problems": [{"file": ".github/spells.toml", "line": 1, "message": "m"} | DOCUMENT],
            "report": DOCUMENT,
        },
        **dict.fromkeys(("pushed_at", "gone_at", "named_at", "looked_at", "applied_at"), MOMENT),
        **due,
    )
    target = WorkflowTarget.of(spell)
    target.defined_in, target.left_at, target.declared_inputs = repository, MOMENT, DOCUMENT
    target.save()
    artifact = make(Artifact, cast=cast, name=TEXT, remote_id=2**53 + 1, size_bytes=2**40, expires_at=MOMENT, **due)
    rows: list[Any] = [
        *(account, api_key, spell, target, cast, period, endpoint, callback),
        make(Membership, account=account, user=user),
        make(Invitation, account=account, email=TEXT, alike=TEXT, role="viewer", by=user, accepted_by=user, **INVITED),
        make(OpenCasts, account=account, number=7),
        make(Session, session_key="k", user=user, browser=TEXT, **dict.fromkeys(SESSION_TIMES, MOMENT)),
        make(BudgetCap, account=account, scope="key", ref="7", cap_cents=0),
        make(LedgerEntry, period=period, cast_id=cast.pk, kind="hold", cents=3, hold_cents=3, booked_on=period.month),
        make(Credit, account=account, kind="grant", cents=-(2**53) - 1, source=TEXT, note=TEXT, by=TEXT),
        make(AccountEvent, account=account, kind="budget_threshold", dedupe="x", data=DOCUMENT),
        make(AuditEntry, at=MOMENT, account_id=2**53 + 1, actor=TEXT, before=DOCUMENT, after=DOCUMENT),
        make(AuditPurge, before=MOMENT),
        make(RetentionRule, account=account, spell=spell, kind="input", days=7),
        make(RetentionMark, source="casts", days=7, rules=TEXT, place=TEXT, waiting=[TEXT]),
        make(Ration, name=TEXT, minute=2**40, used=2**53 + 1),
        make(FailedTries, name=TEXT, count=1, last_ms=2**60),
        make(Refusal, allowance="address", subject=TEXT, first_at=MOMENT, last_at=MOMENT),
        make(SlotOrder, spell=spell, account=account, served_at=MOMENT),
        make(ExclusiveStart, repository=TEXT, event="e", workflow_file=TEXT, cast=cast),
        make(AccountPrice, spell=spell, account=account, price_cents=2**31 - 1, note=TEXT),
        make(SpellHistory, spell=spell, ends=DOCUMENT),
        make(SpellVersion, spell=spell, number=2**31 - 1, definition=DOCUMENT, created_at=MOMENT),
        make(MetadataMark, cast=cast, mark=2**63 - 1),
        make(CastTally, span="hour", start=MOMENT, spell=spell, open=1, counted=DOCUMENT),
        make(WorkerProcess, name=TEXT, threads=1, started_at=MOMENT, seen_at=MOMENT),
        make(Round, name="tallies", **due),
        make(Alarm, key=TEXT, what=TEXT, since=MOMENT, **dict.fromkeys(("began_at", "seen_at", "told_at"), MOMENT)),
        make(AlarmMessage, channel="mail", type="alarms.test", news=DOCUMENT, created_at=MOMENT, **due),
        make(CastEvent, cast=cast, seq=1, kind="accepted", data=DOCUMENT, at=MOMENT),
        artifact,
        make(LooseFile, name=f"{cast.pk}/file", **due),
        make(ArtifactContents, artifact=artifact, files=1, members=[{"name": TEXT, "size": 2**40}]),
        make(IdempotencyRecord, account=account, route="cast", key="k", body=DOCUMENT, created_at=MOMENT),
        make(CallbackAttempt, callback=callback, at=MOMENT, url=TEXT, duration_ms=1),
        installation,
        repository,
        make(RepositoryList, installation=installation, listed_at=MOMENT, **due),
        make(AccountTurns, installation=installation, account=account, turn_at=MOMENT, behind_seconds=0.1),
        make(RecentRuns, installation=2**40, repository="o/n", event="push", runs=[{"id": 1}], listed_at=MOMENT),
        make(Delivery, guid="g", event="ping", body=TEXT, received_at=MOMENT, run_id=2**53 + 1, **due),
        make(LedgerCheck, ended_at=MOMENT, differences="one", difference_cents=3, **due),
        make(DeliverySweep, swept_to=MOMENT, progress={"page": 1}, **due),
        *payments_of(account, due),
    ]
    found = {type(row): row for row in rows}
    assert set(found) == set(every_model()), "a model is missing here, or is no longer there"
    return found


def cast_fields(account: Account, api_key: ApiKey, spell: Spell) -> dict[str, Any]:
    moments = {f.attname: MOMENT for f in Cast._meta.concrete_fields if isinstance(f, models.DateTimeField)}
    return {
        **moments,
        **{"finished_at": None, "account": account, "api_key": api_key, "spell": spell, "cost_cents": 7},
        **{
            "input": DOCUMENT,
            "metadata": {"b": TEXT, "a": ""},
            "message": TEXT,
            "run_key": TEXT,
            "claim_number": 2**40,
        },
        **{"jobs": [{"id": 1}], "output": [1e22, "x"], "error": {"z": 1, "a": 2}, "observation": {}},
    }


def payments_of(account: Account, due: dict[str, Any]) -> list[Any]:
    customer = make(
        Customer, account=account, stripe_id="cus_1", auto_topup_below_cents=0, auto_topup_cents=2**40, **due
    )
    topup = make(TopUp, customer=customer, cents=2**53 + 1, origin="auto", intent_id="pi_1", message=TEXT, **due)
    after = {"after_entry": 2**40, "upto_entry": 2**41}
    return [
        *(customer, topup),
        make(CardSetup, customer=customer, session_id="cs_1", return_url=TEXT, expires_at=MOMENT),
        make(Refund, topup=topup, cents=1, reason=TEXT, by=TEXT, refund_id="re_1", **due),
        make(Dispute, id="du_1", topup=topup, cents=2**40, reason=TEXT, status="won", opened_at=MOMENT),
        make(Subscription, customer=customer, stripe_id="sub_1", message=TEXT, started_at=MOMENT, **due),
        make(MeterReport, customer=customer, hour=MOMENT, happened_at=MOMENT, cents=2**53 + 1, **after, **due),
        make(Verification, at=MOMENT, months="2026-03", differences=TEXT, under_way=TEXT),
        make(
            Invoice,
            **{"id": "in_1", "customer": customer, "status": "paid", "usage_cents": 2**53 + 1, "page_url": TEXT},
            **dict.fromkeys(("period_start", "period_end", "paid_at", "created_at"), MOMENT),
        ),
        make(StripeEvent, id="evt_1", type="ping", created=MOMENT, received_at=MOMENT, error=TEXT, **due),
        make(EventSweep, read_upto=MOMENT, **due),
        make(Books, currency="kwd", livemode=True),
    ]


def make(model: Any, **fields: Any) -> Any:
    """Save a row."""
    return model.objects.create(**fields)
