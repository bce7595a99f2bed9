"""Spells and open casts from before there were versions."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from django.apps.registry import Apps
from django.db import transaction
from django.utils import timezone

from accounts import budget, keys
from accounts.models import Account, LedgerEntry
from casts import versions
from casts.execution.steps import CastWork
from casts.models import Cast, Spell, SpellVersion
from casts.runtime import Observation, runtime_for
from tests.casts.fake import FakeRuntime, jobs_of

NEWEST = ""
# What is about accounts is written by today's code, which knows its newest tables only.
AT = [("casts", "0023_metadata_marks"), ("github_integration", "0007_turns_of_accounts"), ("accounts", NEWEST)]
NAME, BARE = "versions", "versions-bare"


def begin(old: Apps) -> None:
    def model(label: str) -> Any:
        app, _, name = label.partition(".")
        return old.get_model(app, name)

    account = Account.objects.create(name=NAME, monthly_cap_cents=1000)
    key, _ = keys.create(account, name="old", scopes=["casts:write"])
    spell = model("casts.Spell").objects.create(
        key=NAME, name="Greet", price_cents=5, input_schema={"zeta": 1, "a": 1e22}, timeout_seconds=60
    )
    where = {"repository": "demo/spells", "workflow_file": "cast.yml", "ref": "v1", "installation_id": 2**40}
    model("github_integration.WorkflowTarget").objects.create(spell=spell, **where)
    model("casts.Spell").objects.create(key=BARE, name="Bare", runtime="repository_dispatch")
    now = timezone.now()
    sent = {"dispatch_started_at": now, "dispatched_at": now, "run_key": "7", "dispatch_attempts": 1}
    for number, fields in ((1, {}), (2, sent)):
        with transaction.atomic():
            cast = model("casts.Cast").objects.create(
                **{"id": uuid.UUID(int=number), "account_id": account.pk, "api_key_id": key.pk, "spell": spell},
                **{"input": {"name": "Ada"}, "cost_cents": 5, "created_at": now, "due_at": now, "last_seq": 1},
                **{"expires_at": now + dt.timedelta(hours=1), "run_scope": "demo/spells"},
                **fields,
            )
            model("casts.CastEvent").objects.create(cast=cast, seq=1, kind="accepted", data={}, at=now)
            budget.hold(account, cast_id=cast.pk, cents=5, at=now, api_key_id=key.pk, spell_key=NAME)


def check() -> None:
    """The spells have become version one, and say what the code says."""
    assert [versions.keep(spell) for spell in Spell.objects.filter(key__in=[NAME, BARE])] == [1, 1]
    assert set(Cast.objects.filter(spell__key=NAME).values_list("spell_version", flat=True)) == {None}
    greet, bare = (SpellVersion.objects.get(spell__key=key) for key in (NAME, BARE))
    assert greet.number == bare.number == 1
    told = greet.definition
    assert (told["repository"], told["ref"], told["installation_id"]) == ("demo/spells", "v1", 2**40)
    assert (told["price_cents"], told["input_mapping"], told["declared_inputs"]) == (5, "envelope", None)
    assert (bare.definition["runtime"], bare.definition["repository"]) == ("repository_dispatch", "")


def check_order() -> None:
    """Keys have kept their order, until the way back: the columns of before are jsonb, which keeps none."""
    told = SpellVersion.objects.get(spell__key=NAME).definition
    assert list(told["input_schema"]) == ["zeta", "a"]


def check_back() -> None:
    """The way back is open."""


def work() -> None:
    """The casts run to their end, at their old price. In a process in which every runtime is a fake one."""
    spell = Spell.objects.get(key=NAME)
    spell.price_cents = 9
    spell.save()
    runtime = runtime_for("workflow_dispatch")
    assert isinstance(runtime, FakeRuntime)
    runtime.answers["observe"] = lambda cast: Observation(
        cast.run_scope, cast.run_key, status="completed", conclusion="success", jobs=jobs_of("completed", "success")
    )
    casts = Cast.objects.filter(spell=spell)
    Cast.objects.exclude(pk__in=casts).update(due_at=None)
    for _ in range(8):
        casts.exclude(due_at=None).update(due_at=timezone.now())
        for row in Cast.due_rows().claim(limit=10, lease=dt.timedelta(seconds=30)):
            row.give_back(CastWork().step(row))
    assert list(casts.values_list("status", "charged_cents")) == [("succeeded", 5), ("succeeded", 5)]
    assert spell.version == 2
    assert LedgerEntry.objects.filter(kind="capture").count() == 2
