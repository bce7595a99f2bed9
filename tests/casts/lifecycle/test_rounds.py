"""Casts that come together: accepted in one transaction, each with the verdict that it would have had alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import uuid
from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from accounts import credit, keys, open_casts
from accounts.audit.models import AuditEntry
from accounts.models import Account, AccountEvent, BudgetPeriod, LedgerEntry
from accounts.principals import of_key
from casts import casting
from casts.casting import Accepted, CastOrder, Placement, accept_all, check
from casts.lifecycle import accepting
from casts.lifecycle.idempotency import Once
from casts.live import placing
from casts.models import Cast, CastEvent, IdempotencyRecord, MetadataMark
from core.errors import SpellError
from tests.casts.client import asked
from tests.spells import stored_spell

PRICES = (0, 3, 5, 40)
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # which takes minutes
NUMBERS = itertools.count(1)


class House:
    """An account with two keys and a spell of each price; caps for some of them, maybe credit."""

    def __init__(self, given_: dict[str, Any]) -> None:
        self.name = f"house-{next(NUMBERS)}"
        account = Account.objects.create(name=self.name, monthly_cap_cents=given_["cap"], max_open=given_["open"])
        self.account = account
        self.keys = [keys.create(account, name=f"{self.name}-{i}", scopes=["casts:write"])[0] for i in range(2)]
        common = {"repository": "demo/spells", "workflow_file": "cast.yml"}
        self.spells = [stored_spell(key=f"{self.name}.{c}", name="x", price_cents=c, **common) for c in PRICES]
        if given_["key_cap"] is not None:
            account.caps.create(scope="key", ref=str(self.keys[0].pk), cap_cents=given_["key_cap"])
        if given_["spell_cap"] is not None:
            account.caps.create(scope="spell", ref=self.spells[2].key, cap_cents=given_["spell_cap"])
        if given_["credit"] is not None:
            credit.begin_billing(account)
            credit.book(account.pk, "grant", given_["credit"], f"{self.name}-gift")
            credit.set_low(account.pk, 9)

    def order(self, which_key: int, which_spell: int, once: tuple[int, int] | None, number: int) -> Placement:
        key = self.keys[which_key]
        key.account = self.account
        spell = self.spells[which_spell]
        order = CastOrder.of_key(
            key, spell_key=spell.key, input={"n": number}, metadata={"number": number}, principal=of_key(key)
        )
        twin = None if once is None else Once(self.account, "cast", f"key-{once[0]}", f"print-{once[1]}")
        checked = check(order, twin)
        assert isinstance(checked, Placement)
        return checked

    def rows(self, placements: list[Placement]) -> Any:
        """All that is stored, with names of this house's alone left out."""
        number = {one.cast.pk: place for place, one in enumerate(placements)}
        of_month = BudgetPeriod.objects.filter(account=self.account).order_by("scope", "ref")
        events = AccountEvent.objects.filter(account=self.account).order_by("pk")
        return {
            "counters": list(of_month.values_list("scope", "ref", "cap_cents", "held_cents", "captured_cents")),
            "ledger": [
                (number[e.cast_id], e.kind, e.cents, e.hold_cents, e.on_credit, e.api_key_id, e.spell_key, e.settles)
                for e in LedgerEntry.objects.filter(period__account=self.account).order_by("pk")
            ],
            # Of credit its last movement, whose number a house that was undone has used up.
            "told": [(e.kind, re.sub(r"^(credit\.low:\d+):\d+$", r"\1", e.dedupe), e.data) for e in events],
            "open": open_casts.of(self.account),
            "casts": sorted(
                number[pk] for pk in Cast.objects.filter(account=self.account).values_list("pk", flat=True)
            ),
            "events": sorted(
                (number[e.cast_id], e.seq, e.kind) for e in CastEvent.objects.filter(cast__account=self.account)
            ),
            "answers": sorted(
                (r.key, r.fingerprint, number[uuid.UUID(r.body["cast_id"])])
                for r in IdempotencyRecord.objects.filter(account=self.account)
            ),
            "audit": sorted(
                (number[uuid.UUID(a.object_id)], a.action, a.after)
                for a in AuditEntry.objects.filter(account_id=self.account.pk)
            ),
            "marks": sorted(
                number[pk]
                for pk in MetadataMark.objects.filter(cast__account=self.account).values_list("cast", flat=True)
            ),
        }

    def said(self, verdict: Accepted | Exception, placements: list[Placement]) -> Any:
        if isinstance(verdict, Accepted):
            number = {str(one.cast.pk): place for place, one in enumerate(placements)}
            return "accepted", number[verdict.body["cast_id"]], verdict.replayed
        assert isinstance(verdict, SpellError), repr(verdict)
        return type(verdict).__name__, str(verdict), sorted(verdict.headers), verdict.extra


class UndoneError(Exception):
    pass


def came_of(house_of: dict[str, Any], drawn: list[Any], sizes: list[int]) -> str:
    """Accept what was drawn in rounds of these sizes; return what came of it. Nothing stays."""
    try:
        with transaction.atomic():
            house = House(house_of)
            placements = [house.order(key, spell, once, n) for n, (key, spell, once) in enumerate(drawn)]
            verdicts: list[Accepted | Exception] = []
            left = list(placements)
            for size in itertools.cycle(sizes):
                if not left:
                    break
                verdicts += accept_all(left[:size])
                left = left[size:]
            came = [house.said(one, placements) for one in verdicts], house.rows(placements)
            text = json.dumps(came, default=str, sort_keys=True).replace(house.name, "house")
            for place, key in enumerate(house.keys):
                text = text.replace(f'"{key.pk}"', f'"key {place}"').replace(f":key:{key.pk}:", f":key:k{place}:")
            # Of the newest booking, whose number Postgres gives no other, also after a rollback.
            raise UndoneError(re.sub(r"credit\.low:9:\d+", "credit.low:9:n", text))
    except UndoneError as undone:
        return str(undone)


@pytest.mark.django_db
@given(
    house=st.fixed_dictionaries(
        {
            "cap": st.sampled_from([None, None, 11, 25, 100, 0]),
            "open": st.sampled_from([None, None, 3, 6]),
            "key_cap": st.sampled_from([None, None, 8, 50]),
            "spell_cap": st.sampled_from([None, None, 5, 50]),
            "credit": st.sampled_from([None, None, 14, 100]),
        }
    ),
    drawn=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([0, 1, 1, 2, 2, 3]),
            st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 0, 1]))),
        ),
        min_size=2,
        max_size=9,
    ),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
@example(  # all of them fit, and each cap is about some of them
    house={"cap": 100, "open": None, "key_cap": 50, "spell_cap": 50, "credit": None},
    drawn=[(0, 2, None), (1, 1, None), (1, 2, None), (0, 1, None)],
    sizes=[9],
)
@settings(max_examples=40, deadline=None, phases=WITHOUT_SHRINKING, suppress_health_check=list(HealthCheck))
def test_rounds_come_to_the_same_as_one_cast_after_the_other(
    house: dict[str, Any], drawn: list[Any], sizes: list[int]
) -> None:
    assert came_of(house, drawn, sizes) == came_of(house, drawn, [1])


@pytest.mark.django_db
def test_a_round_costs_as_many_statements_as_one_cast() -> None:
    plenty = {"cap": 10_000, "open": None, "key_cap": None, "spell_cap": None, "credit": None}
    house = House(plenty)
    accept_all([house.order(0, 1, None, 0)])  # opens the month
    costs = []
    for size in (1, 8):
        some = [house.order(0, 1, (10 * size + n, 0), n) for n in range(size)]
        with CaptureQueriesContext(connection) as told:
            verdicts = accept_all(some)
        assert all(isinstance(one, Accepted) for one in verdicts)
        costs.append(len(told))
    assert costs[0] == costs[1]


def at_error(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.django_db
def test_a_bug_in_one_fails_for_itself_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    house = House({"cap": 100, "open": None, "key_cap": None, "spell_cap": None, "credit": None})
    some = [house.order(0, 1, None, n) for n in range(4)]
    real = accepting.accept

    def accept(casts: list[Cast]) -> None:
        real(casts)
        if some[1].cast in casts:
            raise RuntimeError("a bug")

    monkeypatch.setattr(accepting, "accept", accept)
    verdicts = accept_all(some)
    assert [type(one) for one in verdicts] == [Accepted, RuntimeError, Accepted, Accepted]
    assert len(house.rows(some)["ledger"]) == 3
    assert [record.exc_info is not None for record in at_error(caplog)] == [True]  # a bug of the round is seen, too


@pytest.mark.django_db
def test_a_round_that_was_committed_without_a_word_is_accepted_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = House({"cap": 100, "open": None, "key_cap": None, "spell_cap": None, "credit": None})
    some = [house.order(0, 1, once, n) for n, once in enumerate([None, (1, 0), None])]
    real, lost = casting.store, [True]

    def store(placements: Any) -> None:
        real(placements)
        if lost:
            lost.clear()
            raise OperationalError("the connection was lost while it was committed")

    monkeypatch.setattr(casting, "store", store)
    assert accept_all(some) == [Accepted(one.body) for one in some]  # and none is said to be a repetition
    assert [len(house.rows(some)[kind]) for kind in ("ledger", "casts", "answers", "audit")] == [3, 3, 1, 3]
    assert not at_error(caplog)


@pytest.mark.django_db
def test_a_round_waits_for_a_locked_database_a_few_times_not_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House({"cap": 100, "open": None, "key_cap": None, "spell_cap": None, "credit": None})
    some = [house.order(0, 1, None, n) for n in range(8)]
    real, tries, locked = casting.store, list[int](), {one.cast.pk for one in some}

    def store(placements: Any) -> None:
        tries.append(len(placements))
        if any(one.cast.pk in locked for one in placements):
            raise OperationalError("database is locked")
        real(placements)

    monkeypatch.setattr(casting, "store", store)
    assert [type(one) for one in accept_all(some)] == [OperationalError] * 8
    assert tries == [8, 1, 1]
    locked -= {one.cast.pk for one in some[1:]}  # it may be one alone that fails so
    assert [type(one) for one in accept_all(some)] == [OperationalError] + [Accepted] * 7


@pytest.mark.django_db(transaction=True)
def test_requests_that_wait_together_are_accepted_together_each_with_its_own_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account.objects.create(name="crowd", monthly_cap_cents=7 * 5)
    _, secret = keys.create(account, name="k", scopes=["casts:write", "casts:read"])
    stored_spell(key="greet", name="x", price_cents=5, repository="demo/spells", workflow_file="cast.yml")
    sizes: list[int] = []
    work = placing.ROUNDS.work
    monkeypatch.setattr(placing.ROUNDS, "work", lambda some: sizes.append(len(some)) or work(some))

    async def post(key: str | None, number: int) -> tuple[int, dict[str, str], Any]:
        body = json.dumps({"spell_key": "greet", "input": {"n": number}}).encode()
        sent: Any = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key, "X-Request-Id": f"request-{number}"}
        async with asked("/api/v1/cast", method="POST", body=body, **sent) as answer:
            return answer.status, answer.headers, json.loads(await answer.body())

    async def scene() -> list[tuple[int, dict[str, str], Any]]:
        crowd = [post(f"key-{n}", n) for n in range(10)]
        return await asyncio.gather(*crowd, post("key-3", 3), post("key-4", 99))

    answers = asyncio.run(scene())
    statuses = Counter(status for status, _, _ in answers)
    replayed = answers[10]
    assert replayed[0] == answers[3][0]
    if replayed[0] == 201:  # which of two twins comes first is chance
        assert replayed[2]["cast_id"] == answers[3][2]["cast_id"]
        assert ("Idempotent-Replayed" in replayed[1]) != ("Idempotent-Replayed" in answers[3][1])
    assert Cast.objects.count() == 7
    assert set(statuses) <= {201, 402, 422}
    assert len({body["cast_id"] for status, _, body in answers if status == 201}) == 7
    assert len(sizes) < 12, sizes
    for status, headers, body in answers:
        assert headers["X-Request-Id"].startswith("request-")
        if status != 201:
            assert body["request_id"] == headers["X-Request-Id"]
            assert headers["Allow"] == "POST, OPTIONS"
    # Each act is noted with the request that asked for it.
    by_cast = {body["cast_id"]: headers["X-Request-Id"] for status, headers, body in answers if status == 201}
    noted = AuditEntry.objects.filter(action="cast.create").values_list("object_id", "request_id")
    assert len(noted) == 7
    assert all(by_cast[cast] == number or answers[10][0] == 201 for cast, number in noted)
    call_command("verifyledger", verbosity=0)


@pytest.mark.django_db
def test_a_cast_whose_month_or_account_has_changed_is_accepted_alone() -> None:
    house = House({"cap": 100, "open": None, "key_cap": None, "spell_cap": None, "credit": None})
    one, other = (house.order(0, 1, None, n) for n in range(2))
    other.cast.account = Account.objects.get(pk=house.account.pk)
    other.cast.account.max_open = 5
    assert list(casting.those_of_one_kind([one, other])) == [0]
    assert [type(verdict) for verdict in accept_all([one, other])] == [Accepted, Accepted]
