"""Deliveries that come together: stored in one transaction, each with the verdict that it would have had alone."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from casts.lifecycle import folding
from casts.models import Cast, CastEvent
from tests.casts.client import asked
from webhooks import asgi, inbox
from webhooks.inbox import receive_deliveries
from webhooks.models import Delivery
from webhooks.reading import Arrived

from .conftest import ENDPOINT, again, job_event, run_event, sign
from .test_together import at_once

Outcome = Delivery.Outcome
WHAT = [(what, action) for what in ("run", "job") for action in ("requested", "in_progress", "completed")]


def arrived(cast: Cast, what: str, action: str, *, guid: str = "", **changes: Any) -> Arrived:
    number: int = changes.pop("run_id", int(cast.run_key or 0))
    if what == "run":
        payload = run_event(cast, action, run_id=number, **changes)
    else:
        payload = job_event(cast, {"requested": "queued"}.get(action, action), run_id=number, number=number + 10**9)
        payload["workflow_job"] |= changes
    return Arrived(guid or str(uuid.uuid4()), f"workflow_{what}", json.dumps(payload).encode())


def told(verdict: bool | Exception) -> Any:
    return verdict if isinstance(verdict, bool) else (type(verdict), str(verdict))


def rows(guids: list[str], casts: list[Cast]) -> Any:
    """All that came of deliveries, but when."""
    columns = ("guid", "event", "action", "run_id", "outcome", "error", "repeats", "altered")
    stored = sorted(Delivery.objects.filter(guid__in=guids).values_list(*columns))
    state = ("status", "status_reason", "progress", "step_name", "last_seq", "jobs", "observation", "run_attempt")
    order = {cast.pk: place for place, cast in enumerate(casts)}
    found = sorted((order[pk], *rest) for pk, *rest in Cast.objects.filter(pk__in=order).values_list("pk", *state))
    lines = CastEvent.objects.filter(cast__in=order).order_by("cast", "seq")
    history = [(order[e.cast_id], e.seq, e.kind, e.data["status"], e.data["progress"], e.data["steps"]) for e in lines]
    return stored, found, sorted(history, key=lambda line: line[:2])


class UndoneError(Exception):
    pass


def tried(make_cast: Callable[..., Cast], drawn: list[Any], *, together: bool) -> Any:
    """Receive what was drawn, in one round or one by one; return what came of it. Nothing stays."""
    try:
        with transaction.atomic():
            casts = [make_cast(run_key=str(1000 + n)) for n in range(3)]
            some = []
            for number, (owner, (what, action), guid, spoilt) in enumerate(drawn):
                name = f"00000000-0000-0000-0000-{guid if guid else number + 100:012d}"
                changes: dict[str, Any] = {"run_attempt": "x"} if spoilt == "broken value" else {}
                if owner >= len(casts):  # a stranger's
                    changes["run_id"] = 7000 + owner
                one = arrived(casts[owner % 3], what, action, guid=name, **changes)
                some.append(Arrived(name, one.event, b"{" if spoilt == "no JSON" else one.body))
            if together:
                verdicts = receive_deliveries(some)
            else:
                verdicts = [verdict for one in some for verdict in receive_deliveries([one])]
            came = [told(verdict) for verdict in verdicts], rows([one.guid for one in some], casts)
            text = json.dumps(came, default=str)
            for place, cast in enumerate(casts):
                text = text.replace(str(cast.pk), f"cast {place}").replace(cast.spell.key, f"spell {place}")
            raise UndoneError(text)
    except UndoneError as undone:
        return str(undone)


WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # which takes minutes
DRAWN = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(WHAT),
        st.sampled_from([0, 0, 0, 0, 1, 2]),
        st.sampled_from(["", "", "", "", "broken value", "no JSON"]),
    ),
    min_size=2,
    max_size=8,
)


@pytest.mark.django_db
@given(drawn=DRAWN)
@settings(max_examples=30, deadline=None, phases=WITHOUT_SHRINKING, suppress_health_check=list(HealthCheck))
def test_a_round_comes_to_the_same_as_one_delivery_after_the_other(
    make_cast: Callable[..., Cast], drawn: list[Any]
) -> None:
    assert tried(make_cast, drawn, together=True) == tried(make_cast, drawn, together=False)


@pytest.mark.django_db
def test_a_round_costs_no_statement_more_for_more_casts(make_cast: Callable[..., Cast]) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(8)]

    def cost(some: list[Cast], action: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            verdicts = receive_deliveries([arrived(c, what, action) for c in some for what in ("run", "job")])
        assert verdicts == [True] * (2 * len(some))
        return len(asked)

    cost(casts, "requested")  # teaches that these spells' runs carry the tag
    few, many = cost(casts[:2], "in_progress"), cost(casts[2:], "in_progress")
    assert many - few == (0 if connection.vendor == "postgresql" else 4)  # an UPDATE each on SQLite


@pytest.mark.django_db
def test_runs_that_their_titles_name_find_their_casts_within_the_round(make_cast: Callable[..., Cast]) -> None:
    casts = [make_cast() for _ in range(6)]

    def cost(numbered: list[tuple[int, Cast]]) -> int:
        some = [arrived(cast, "run", "requested", run_id=1000 + n) for n, cast in numbered]
        some += [arrived(cast, "job", "in_progress", run_id=1000 + n) for n, cast in numbered]
        with CaptureQueriesContext(connection) as asked:
            assert receive_deliveries(some[::-1]) == [True] * len(some)  # the jobs first
        assert sum("INSERT INTO" in one["sql"] and "webhooks_delivery" in one["sql"] for one in asked) == 1
        outcomes = {Delivery.objects.get(guid=one.guid).outcome for one in some}
        assert outcomes <= {Outcome.APPLIED, Outcome.NOTHING_NEW}
        return len(asked)

    few, many = cost([(0, casts[0]), (1, casts[1])]), cost(list(enumerate(casts))[2:])
    assert many - few <= 2 * 6  # each is bound on its own
    for number, cast in enumerate(casts):
        now = again(cast)
        assert (now.run_key, now.run_guessed, now.status) == (str(1000 + number), True, "running")
        assert [job["status"] for job in now.jobs] == ["in_progress"]


@pytest.mark.django_db
def test_of_two_runs_with_one_tag_in_a_round_the_first_is_the_casts(make_cast: Callable[..., Cast]) -> None:
    cast, other = make_cast(), make_cast()
    some = [arrived(cast, "run", "requested", run_id=number) for number in (7, 8)]
    some.append(arrived(other, "run", "requested", run_id=9))
    assert receive_deliveries(some) == [True, True, True]
    outcomes = [Delivery.objects.get(guid=one.guid).outcome for one in some]
    assert outcomes == [Outcome.APPLIED, Outcome.NOT_OURS, Outcome.APPLIED]
    assert [again(one).run_key for one in (cast, other)] == ["7", "9"]


@pytest.mark.django_db
def test_what_fails_to_fold_is_stored_with_its_error_and_its_neighbours_are_applied(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(3)]
    real = folding.fold

    def fold(cast: Cast, seen: Any) -> Any:
        if cast.pk == casts[1].pk:
            raise RuntimeError("a bug")
        return real(cast, seen)

    monkeypatch.setattr(folding, "fold", fold)
    some = [arrived(cast, "run", "in_progress") for cast in casts]
    assert receive_deliveries(some) == [True, True, True]
    outcomes = [Delivery.objects.get(guid=one.guid) for one in some]
    assert [one.outcome for one in outcomes] == [Outcome.APPLIED, Outcome.PENDING, Outcome.APPLIED]
    assert "a bug" in outcomes[1].error
    assert outcomes[1].due_at is not None


@pytest.mark.django_db
def test_a_round_that_meets_a_repetition_stores_the_others_together(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(3)]
    some = [arrived(cast, "run", "in_progress") for cast in casts]
    receive_deliveries(some[:1])
    alone = []
    monkeypatch.setattr(inbox, "store_alone", lambda one: alone.append(one.row.guid) or False)
    assert receive_deliveries(some) == [False, True, True]
    assert alone == [some[0].guid]


@pytest.mark.django_db(transaction=True)
def test_rounds_of_the_same_casts_and_deliveries_at_once_wait_for_each_other_and_lose_nothing(
    make_cast: Callable[..., Cast],
) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(6)]
    for action in ("requested", "in_progress", "completed"):
        some = [arrived(cast, what, action) for cast in casts for what in ("run", "job")]
        found: list[Any] = []

        def receive(asked: list[Arrived], found: list[Any] = found) -> None:
            found += zip(asked, receive_deliveries(asked), strict=True)

        at_once(partial(receive, some), partial(receive, some[::-1]))
        new = [one.guid for one, verdict in found if verdict is True]
        assert sorted(new) == sorted(one.guid for one in some)  # each is new once
        assert all(verdict in (True, False) for _, verdict in found)
    assert not Delivery.objects.exclude(outcome__in=(Outcome.APPLIED, Outcome.NOTHING_NEW)).exists()
    for cast in casts:
        assert again(cast).run_finished_at is not None
        numbers = list(CastEvent.objects.filter(cast=cast).order_by("seq").values_list("seq", flat=True))
        assert numbers == list(range(1, again(cast).last_seq + 1))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("beside", [0, 2])
def test_who_locks_a_cast_for_long_holds_up_its_own_deliveries_alone(
    make_cast: Callable[..., Cast], beside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(1 + beside)]
    some = [arrived(cast, "run", "in_progress") for cast in casts]
    has_it, received = threading.Event(), threading.Event()
    monkeypatch.setattr(inbox, "LOCK_MS", 50)

    def lock() -> None:
        with transaction.atomic():
            Cast.objects.select_for_update().get(pk=casts[0].pk)
            has_it.set()
            assert received.wait(30), "its deliveries wait for its row"

    def receive() -> None:
        assert has_it.wait(30)
        assert receive_deliveries(some) == [True] * len(some)
        received.set()

    at_once(lock, receive)
    outcomes = [Delivery.objects.get(guid=one.guid) for one in some]
    assert [one.outcome for one in outcomes] == [Outcome.PENDING] + [Outcome.APPLIED] * beside
    assert outcomes[0].due_at is not None  # a worker tries it again


# --- as it is served ------------------------------------------------------------------------------------------------


def headers_for(one: Arrived, **changes: str | None) -> dict[str, str | None]:
    usual = {"X-GitHub-Event": one.event, "X-GitHub-Delivery": one.guid, "X-Hub-Signature-256": sign(one.body)}
    return {**usual, **{name.replace("_", "-"): value for name, value in changes.items()}}


async def post(one: Arrived, **changes: str | None) -> tuple[int, dict[str, str], Any]:
    """Send a delivery to our own ASGI application."""
    sent: Any = headers_for(one, **changes)
    async with asked(ENDPOINT, method="POST", body=one.body, **sent) as answer:
        content = await answer.body()
        return answer.status, answer.headers, json.loads(content) if content else None


REFUSED: list[tuple[dict[str, str | None], bytes | None, int]] = [
    ({}, None, 202),
    ({"X_Hub_Signature_256": None}, None, 401),
    ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, None, 401),
    ({"X_GitHub_Delivery": "no-guid"}, None, 400),
    ({"X_GitHub_Event": None}, None, 400),
    ({"X_GitHub_Event": "workflow_job"}, None, 400),
    ({"X_GitHub_Event": "star"}, None, 202),
    ({"Content_Type": "text/plain"}, None, 415),
    ({"Content_Type": "application/json; charset=utf-8"}, None, 202),
    ({}, b"{", 400),
    ({}, b"", 400),
    ({"X_Request_Id": "a-number-of-ours"}, None, 202),
]


@pytest.mark.django_db(transaction=True)
def test_deliveries_are_answered_as_the_view_answers_them(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = make_cast(run_key="1000")
    for number, (changes, body, status) in enumerate(REFUSED):
        answers = []
        for served in (True, False):
            monkeypatch.setattr(asgi, "SMALL", 256 * 1024 if served else 0)  # Django's handler has what is larger
            one = arrived(cast, "run", "in_progress")
            one = one if body is None else Arrived(one.guid, one.event, body)
            answers.append(asyncio.run(post(one, **changes)))
        (ours, headers, said), (theirs, their_headers, they_say) = answers
        assert (number, ours, theirs) == (number, status, status)
        unlike = {"x-request-id", *(name.lower() for name in headers if "ratelimit" in name.lower())}
        unlike -= {"x-request-id"} if "X_Request_Id" in changes else set()
        assert {n: v for n, v in headers.items() if n.lower() not in unlike} == {
            n: v for n, v in their_headers.items() if n.lower() not in unlike
        }
        for told_ in (said, they_say):
            if told_:
                told_.pop("request_id")
        assert said == they_say


@pytest.mark.django_db(transaction=True)
def test_deliveries_that_wait_together_are_stored_together(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = [make_cast(run_key=str(1000 + n)) for n in range(8)]
    some = [arrived(cast, "run", "in_progress") for cast in casts]
    altered = Arrived(some[0].guid, some[0].event, some[1].body)
    sizes: list[int] = []
    work = asgi.ROUNDS.work
    monkeypatch.setattr(asgi.ROUNDS, "work", lambda asked: sizes.append(len(asked)) or work(asked))

    async def scene() -> list[int]:
        answers = await asyncio.gather(*(post(one) for one in [*some, some[3], altered]))
        return [status for status, _, _ in answers]

    assert asyncio.run(scene()) == [202] * 8 + [200, 409]
    assert len(sizes) < len(some), sizes
    assert {again(cast).status_reason for cast in casts} == {again(casts[0]).status_reason}
    assert Delivery.objects.filter(outcome=Outcome.APPLIED).count() == 8


@pytest.mark.django_db(transaction=True)
def test_who_fails_in_a_round_is_answered_alone(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that is no verdict is a 500 or 503 of its own delivery's, which GitHub's log will show."""
    good, bad = (arrived(make_cast(run_key=str(1000 + n)), "run", "in_progress") for n in range(2))
    real = inbox.store

    def store(row: Delivery, *args: Any) -> bool:
        if row.guid == bad.guid:
            raise OperationalError("the database is away")
        return real(row, *args)

    def never(*_: Any) -> set[int]:
        return set()

    monkeypatch.setattr(inbox, "store", store)
    monkeypatch.setattr(inbox, "store_together", never)

    async def scene() -> list[int]:
        return [status for status, _, _ in await asyncio.gather(post(bad), post(good))]

    assert asyncio.run(scene()) == [503, 202]
    assert receive_deliveries([good]) == [False]
