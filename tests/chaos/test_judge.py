"""A judge that can't say no proves nothing: each of these doctors the evidence of a good trial in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest

from tests.chaos.callers import Wish
from tests.chaos.evidence import Evidence
from tests.chaos.followers import Watch
from tests.chaos.inbox import Told
from tests.chaos.judge import judge

Doctor = Callable[[Evidence], Any]
ENDS = {
    "echo": ("success", "succeeded", "succeeded"),
    "stumble": ("failure", "failed", "run_failed"),
    "linger": ("cancelled", "cancelled", "cancelled_by_caller"),
}


def run(number: int, cast_id: str, conclusion: str, **facts: Any) -> dict[str, Any]:
    artifacts = [{"id": 1, "name": "spell-result", "sha256": f"digest {number}"}]
    times = {"created_at": f"10:00:0{number}", "updated_at": f"10:00:0{number + 2}"}
    found = times | {"id": number, "cast_id": cast_id, "conclusion": conclusion, "noise": False, "artifacts": artifacts}
    return found | facts


def evidence() -> Evidence:
    """Return what three casts leave when all goes well; a stranger's run is beside theirs."""
    wishes, watches, runs, casts = [], [], [run(9, "", "success", noise=True)], {}
    for number, (spell_key, (conclusion, status, reason)) in enumerate(ENDS.items(), start=1):
        cast_id, word, pays = f"cast-{number}", {"word": f"w{number}"}, status != "cancelled"
        wish = Wish(number, spell_key, word, conclusion, key=f"key-{number}", cast_ids=[cast_id, cast_id])
        wish.cancelled, wish.callback_url = not pays, "http://receiver" if number == 1 else ""
        wishes.append(wish)
        watches.append(Watch(cast_id, ids=[1, 2, 3], final={"status": status, "status_reason": reason}))
        runs.append(run(number, cast_id, conclusion))
        casts[cast_id] = {
            **{"id": cast_id, "spell_key": spell_key, "input": word, "status": status, "status_reason": reason},
            **{"message": "", "run_id": number, "output": word if reason == "succeeded" else None, "open": False},
            **{"error": {"log_tail": [f"said {word}"]} if reason == "run_failed" else None, "last_seq": 3},
            **{"cost_cents": 3, "charged_cents": 3 if pays else 0, "created": 0.0, "finished": 9.0},
            **{"cancel_requested": None if pays else 5.0, "dispatch_attempts": 1},
        }
    return Evidence(
        wishes=wishes,
        watches=watches,
        record={"runs": runs, "dispatches": [], "faults": {}},
        casts=casts,
        keys={wish.key: wish.cast_ids[0] for wish in wishes},
        history={cast_id: [1, 2, 3] for cast_id in casts},
        ledger={i: [("hold", 3), ("capture" if c["charged_cents"] else "release", 3)] for i, c in casts.items()},
        artifacts={f"cast-{number}": {"spell-result": f"digest {number}"} for number in (1, 2, 3)},
        captured_cents=6,
        told=[Told("msg-1", "cast.succeeded", "cast-1", "succeeded", "succeeded")] * 2,
        limits={"echo": 1},
    )


def after(doctor: Doctor) -> list[str]:
    """Return what the judge says once the doctor was there."""
    doctored = evidence()
    doctor(doctored)
    doctored.__post_init__()
    return judge(doctored)


def changed(cast_id: str, **facts: Any) -> Doctor:
    return lambda e: e.casts[cast_id].update(facts)


def test_a_good_trial_has_no_violation():
    assert judge(evidence()) == []


@pytest.mark.parametrize(
    ("check", "doctor"),
    [
        ("no_caller_is_refused", lambda e: e.wishes[0].refusals.append("422")),
        ("one_cast_per_key", lambda e: e.wishes[0].cast_ids.append("cast-9")),
        ("one_cast_per_key", lambda e: e.wishes[0].cast_ids.clear()),
        ("one_cast_per_key", lambda e: e.keys.pop("key-1")),
        ("one_cast_per_key", lambda e: e.casts.update({"cast-9": e.casts["cast-1"] | {"id": "cast-9"}})),
        ("one_cast_per_key", changed("cast-1", input={"word": "another's"}, output={"word": "another's"})),
        ("every_cast_ended", changed("cast-1", open=True, status="running")),
        ("one_run_per_cast", lambda e: e.record["runs"].append(run(7, "cast-1", "success"))),
        ("one_run_per_cast", lambda e: e.record["runs"].append(run(7, "cast-7", "success"))),
        ("no_foreign_run", changed("cast-1", run_id=9)),
        ("no_foreign_run", changed("cast-1", run_id=2)),
        ("no_foreign_run", changed("cast-1", run_id=404)),
        ("ends_as_its_run", lambda e: e.record["runs"][1].update(conclusion="failure")),
        ("ends_as_its_run", lambda e: e.record["runs"].pop(1)),
        ("ends_as_its_run", changed("cast-1", status="failed", status_reason="dispatch_lost")),
        ("ends_as_its_run", changed("cast-1", status="cancelled", status_reason="cancelled_by_caller")),
        ("ends_as_its_run", changed("cast-1", output={"word": "w2"})),
        ("ends_as_its_run", changed("cast-2", error={"log_tail": ["said w1"]})),
        ("ends_as_its_run", lambda e: setattr(e.wishes[2], "cancelled", False)),
        ("ends_as_its_run", lambda e: e.record["runs"][3].update(conclusion="success")),
        ("money_follows_the_end", lambda e: e.ledger["cast-1"].append(("capture", 3))),
        ("money_follows_the_end", lambda e: e.ledger.update({"cast-3": [("hold", 3), ("capture", 3)]})),
        ("money_follows_the_end", lambda e: e.ledger["cast-1"].pop()),
        ("money_follows_the_end", lambda e: e.ledger.update({"cast-9": [("hold", 3)]})),
        ("money_follows_the_end", changed("cast-1", charged_cents=0)),
        ("money_follows_the_end", lambda e: setattr(e, "held_cents", 3)),
        ("money_follows_the_end", lambda e: setattr(e, "captured_cents", 9)),
        ("money_follows_the_end", lambda e: setattr(e, "ledger_verified", "The counters differ")),
        ("artifacts_are_identical", lambda e: e.artifacts["cast-1"].update({"spell-result": "digest 2"})),
        ("artifacts_are_identical", lambda e: e.artifacts["cast-1"].update({"spell-result": "pending"})),
        ("artifacts_are_identical", lambda e: e.artifacts["cast-1"].clear()),
        ("artifacts_are_identical", lambda e: e.artifacts["cast-1"].update({"more": "digest 1"})),
        ("histories_are_gapless", lambda e: e.history.update({"cast-1": [1, 3]})),
        ("histories_are_gapless", lambda e: e.history.update({"cast-1": [1, 2]})),
        ("followers_miss_nothing", lambda e: setattr(e.watches[0], "ids", [1, 3])),
        ("followers_miss_nothing", lambda e: setattr(e.watches[0], "ids", [1, 2, 2, 3])),
        ("followers_miss_nothing", lambda e: setattr(e.watches[0], "ids", [1, 3, 2])),
        ("followers_miss_nothing", lambda e: setattr(e.watches[0], "final", None)),
        ("followers_miss_nothing", lambda e: e.watches[0].troubles.append("500")),
        ("followers_miss_nothing", lambda e: e.watches.pop()),
        ("every_end_is_told", lambda e: e.told.clear()),
        ("every_end_is_told", lambda e: setattr(e, "forged", 1)),
        ("every_end_is_told", lambda e: e.told.append(Told("msg-2", *astuple(e.told[0])[1:]))),
        ("every_end_is_told", lambda e: e.told.append(Told("msg-1", "cast.failed", "cast-1", "failed", "run_failed"))),
        ("every_end_is_told", lambda e: e.told.append(Told("msg-2", "cast.failed", "cast-2", "failed", "run_failed"))),
        ("limits_are_kept", lambda e: e.casts["cast-2"].update(spell_key="echo")),
    ],
)
def test_each_broken_promise_is_seen(check: str, doctor: Doctor):
    assert any(found.startswith(f"{check}: ") for found in after(doctor))


def test_a_lost_dispatch_without_any_run_is_no_violation():
    def lose(e: Evidence) -> None:
        e.record["runs"].pop(1)
        e.artifacts["cast-1"].clear()
        e.casts["cast-1"].update(status="failed", status_reason="dispatch_lost", run_id=None, charged_cents=0)
        e.watches[0].final = {"status": "failed", "status_reason": "dispatch_lost"}
        e.ledger["cast-1"] = [("hold", 3), ("release", 3)]
        e.captured_cents = 3
        e.told = [Told("msg-1", "cast.failed", "cast-1", "failed", "dispatch_lost")]

    assert after(lose) == []


def test_a_lost_dispatch_with_a_run_is_none_where_no_title_could_tell_whose_it_is():
    def lose(status: str, reason: str, *also: dict[str, Any], **facts: Any) -> Doctor:
        def doctor(e: Evidence) -> None:
            e.untagged = {"echo"}
            e.record["runs"][1].update(cast_id=None, inputs={"word": "w1"})
            e.record["runs"].extend(also)
            e.casts["cast-1"].update(status=status, status_reason=reason, run_id=None, charged_cents=0)
            e.watches[0].final = {"status": status, "status_reason": reason}
            e.ledger["cast-1"] = [("hold", 3), ("release", 3)]
            e.captured_cents = 3
            e.told = [Told("msg-1", f"cast.{status}", "cast-1", status, reason)]
            e.casts["cast-1"].update(facts)

        return doctor

    assert after(lose("failed", "dispatch_lost")) == []
    twice = after(lose("failed", "dispatch_lost", run(8, "", "success", inputs={"word": "w1"})))
    assert [found for found in twice if found.startswith("one_run_per_cast: ")]
    for wrong in (lose("succeeded", "succeeded"), lose("cancelled", "cancelled_by_caller")):
        assert [found for found in after(wrong) if found.startswith("ends_as_its_run: ")]
    taken = after(lose("failed", "dispatch_lost", run_id=2))
    assert [found for found in taken if found.startswith("no_foreign_run: ")]


def test_a_cancelled_cast_may_leave_github_behind_only_after_twice_its_grace():
    def leave(finished: float) -> Doctor:
        def doctor(e: Evidence) -> None:
            e.record["runs"][3].update(conclusion="success")
            e.casts["cast-3"].update(finished=finished)
            e.wishes[2].conclusion = "success"

        return doctor

    assert after(leave(5.0 + 2 * 60)) == []
    assert after(leave(5.0 + 2 * 60 - 1))
