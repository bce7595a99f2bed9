"""The verdict: every promise that the platform makes, held against what GitHub itself recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.evidence import Evidence

Violations = Iterator[str]
SUCCESS, FAILURE, CANCELLED = ("succeeded", "succeeded"), ("failed", "run_failed"), ("cancelled", "cancelled_by_caller")
ENDS_BY_CONCLUSION = {"success": SUCCESS, "failure": FAILURE, "cancelled": CANCELLED}


def judge(evidence: Evidence) -> list[str]:
    """Return every violation; none if all promises were kept."""
    return [f"{check.__name__}: {found}" for check in CHECKS for found in check(evidence)]


def no_caller_is_refused(evidence: Evidence) -> Violations:
    """Every request is good; whoever repeats it long enough gets its answer."""
    for wish in evidence.wishes:
        for refusal in wish.refusals:
            yield f"wish {wish.number}: {refusal}"


def one_cast_per_key(evidence: Evidence) -> Violations:
    """However often a request was repeated, it cast once, and cast what it said."""
    for wish in evidence.wishes:
        made = set(wish.cast_ids)
        if len(made) != 1:
            yield f"wish {wish.number} was answered with {len(made)} casts: {sorted(made)}"
        for cast_id in made:
            if evidence.keys.get(wish.key) != cast_id:
                yield f"wish {wish.number}: its key stands for {evidence.keys.get(wish.key)}, not for {cast_id}"
            cast = evidence.casts.get(cast_id)
            if cast is None:
                yield f"wish {wish.number}: cast {cast_id} does not exist"
            elif (cast["spell_key"], cast["input"]) != (wish.spell_key, wish.input):
                yield f"wish {wish.number}: cast {cast_id} is {cast['spell_key']} {cast['input']}"
    if len(evidence.casts) != len(evidence.wishes):
        yield f"{len(evidence.wishes)} wishes made {len(evidence.casts)} casts"


def every_cast_ended(evidence: Evidence) -> Violations:
    """No cast is left behind."""
    for cast in evidence.casts.values():
        if cast["open"] or cast["status"] not in ("succeeded", "failed", "cancelled"):
            yield f"cast {cast['id']} is still {cast['status']} / {cast['status_reason']}: {cast['message']}"


def one_run_per_cast(evidence: Evidence) -> Violations:
    """No cast was dispatched twice."""
    for cast_id, runs in evidence.runs.items():
        if len(runs) > 1:
            yield f"cast {cast_id} has {len(runs)} runs: {[run['id'] for run in runs]}"
        if cast_id not in evidence.casts:
            yield f"runs {[run['id'] for run in runs]} belong to no cast of ours: {cast_id}"


def no_foreign_run(evidence: Evidence) -> Violations:
    """The run that a cast took is its own, and no stranger's."""
    by_id = {run["id"]: run for run in evidence.record["runs"]}
    for cast in evidence.casts.values():
        run_id = cast["run_id"]
        if run_id is None:
            continue
        run = by_id.get(run_id)
        if run is None:
            yield f"cast {cast['id']} has run {run_id}, which GitHub does not know"
        elif run["noise"]:
            yield f"cast {cast['id']} took a stranger's run {run_id}"
        elif run["cast_id"] != cast["id"]:
            yield f"cast {cast['id']} took run {run_id} of cast {run['cast_id']}"
    for run_id, casts in Counter(c["run_id"] for c in evidence.casts.values() if c["run_id"]).items():
        if casts > 1:
            yield f"{casts} casts have run {run_id}"


def ends_as_its_run(evidence: Evidence) -> Violations:
    """A cast ends as its own run ended, with its own run's result."""
    wishes = {cast_id: wish for wish in evidence.wishes for cast_id in wish.cast_ids}
    for cast in evidence.casts.values():
        end, runs, wish = (cast["status"], cast["status_reason"]), evidence.runs.get(cast["id"], []), None
        wish = wishes.get(cast["id"])
        asked = wish is not None and wish.cancelled
        if given_up_rightly(evidence, cast, asked=asked):
            continue
        if not runs:
            yield f"cast {cast['id']} ended as {end} without any run"
            continue
        conclusion = runs[0]["conclusion"]
        if end == CANCELLED and asked and conclusion != "cancelled" and left_without_github(evidence, cast):
            continue
        if end != ENDS_BY_CONCLUSION.get(conclusion):
            yield f"cast {cast['id']} ended as {end}, its run {runs[0]['id']} as {conclusion}"
        elif end == CANCELLED and not asked:
            yield f"cast {cast['id']} was cancelled, and nobody had asked for it"
        elif wish is not None and conclusion not in (wish.conclusion, "cancelled"):
            yield f"cast {cast['id']}: its run ended as {conclusion}; {wish.spell_key} ends as {wish.conclusion}"
        yield from shows_its_own(cast, end)


def given_up_rightly(evidence: Evidence, cast: dict[str, Any], *, asked: bool) -> bool:
    """Whether a cast ended without a run where none was started, or where nobody could tell which one is its own."""
    unknown = not evidence.runs.get(cast["id"]) or (cast["spell_key"] in evidence.untagged and cast["run_id"] is None)
    end = (cast["status"], cast["status_reason"])
    return unknown and (end == ("failed", "dispatch_lost") or (end == CANCELLED and asked))


def shows_its_own(cast: dict[str, Any], end: tuple[str, str]) -> Violations:
    """What an ended cast shows is of its own run."""
    if end in (SUCCESS, FAILURE) and cast["run_id"] is None:
        yield f"cast {cast['id']} ended as {end} without knowing its run"
    if end == SUCCESS and cast["output"] != cast["input"]:
        yield f"cast {cast['id']} put out {cast['output']}, not its own {cast['input']}"
    if end == FAILURE and cast["input"]["word"] not in str((cast["error"] or {}).get("log_tail")):
        yield f"cast {cast['id']} shows a log without its own word: {cast['error']}"


def left_without_github(evidence: Evidence, cast: dict[str, Any]) -> bool:
    """Whether a cancelled cast waited for GitHub twice its grace, as documented, before it ended without it."""
    waited = (cast["finished"] or 0) - (cast["cancel_requested"] or 0)
    return bool(waited >= 2 * evidence.cancel_grace)


def money_follows_the_end(evidence: Evidence) -> Violations:
    """Held once; captured for what ran to its own end, released for the rest; the books add up."""
    captured = 0
    for cast in evidence.casts.values():
        pays = (cast["status"], cast["status_reason"]) in (SUCCESS, FAILURE)
        moves = [("hold", cast["cost_cents"]), ("capture" if pays else "release", cast["cost_cents"])]
        captured += cast["cost_cents"] if pays else 0
        if evidence.ledger.get(cast["id"]) != moves:
            yield f"cast {cast['id']} ended as {cast['status_reason']} and moved {evidence.ledger.get(cast['id'])}"
        if cast["charged_cents"] != (cast["cost_cents"] if pays else 0):
            yield f"cast {cast['id']} ended as {cast['status_reason']} and says {cast['charged_cents']} cents"
    if evidence.held_cents:
        yield f"{evidence.held_cents} cents are still held"
    if evidence.captured_cents != captured:
        yield f"{evidence.captured_cents} cents are booked, {captured} were earned"
    if evidence.ledger_verified:
        yield evidence.ledger_verified
    for cast_id in evidence.ledger.keys() - evidence.casts.keys():
        yield f"money moved for {cast_id}, which is no cast"


def artifacts_are_identical(evidence: Evidence) -> Violations:
    """What we serve is what GitHub stored, byte for byte, all of it and nothing else."""
    for cast in evidence.casts.values():
        runs = evidence.runs.get(cast["id"], [])
        if cast["run_id"] is None or len(runs) != 1 or left_without_github(evidence, cast):
            continue
        theirs = {artifact["name"]: artifact["sha256"] for artifact in runs[0]["artifacts"]}
        ours = evidence.artifacts.get(cast["id"], {})
        for name in theirs.keys() | ours.keys():
            if theirs.get(name) != ours.get(name):
                yield f"cast {cast['id']}: artifact {name!r} is {ours.get(name)} here, {theirs.get(name)} on GitHub"


def histories_are_gapless(evidence: Evidence) -> Violations:
    """Events are numbered 1, 2, 3 … without a gap."""
    for cast in evidence.casts.values():
        if evidence.history.get(cast["id"], []) != list(range(1, cast["last_seq"] + 1)):
            yield f"cast {cast['id']} has events {evidence.history.get(cast['id'])}, and {cast['last_seq']} as the last"


def followers_miss_nothing(evidence: Evidence) -> Violations:
    """Who reconnects with Last-Event-ID sees every event once, in order, and the end."""
    watched = {watch.cast_id: watch for watch in evidence.watches}
    for cast in evidence.casts.values():
        watch = watched.get(cast["id"])
        if watch is None:
            yield f"nobody followed cast {cast['id']}"
            continue
        for trouble in watch.troubles:
            yield f"the stream of cast {cast['id']} was refused: {trouble}"
        if watch.ids != list(range(1, cast["last_seq"] + 1)):
            yield f"the follower of cast {cast['id']} saw {watch.ids}, not 1 to {cast['last_seq']}"
        if watch.final != {"status": cast["status"], "status_reason": cast["status_reason"]}:
            yield f"the follower of cast {cast['id']} was told {watch.final}; it ended as {cast['status_reason']}"


def every_end_is_told(evidence: Evidence) -> Violations:
    """Who asked to be called is called at least once, always with the same message, and with the truth."""
    if evidence.forged:
        yield f"{evidence.forged} callbacks had a wrong signature"
    for wish in evidence.wishes:
        for cast in (evidence.casts[i] for i in set(wish.cast_ids) if i in evidence.casts):
            told = [message for message in evidence.told if message.cast_id == cast["id"]]
            if bool(told) != bool(wish.callback_url):
                yield f"cast {cast['id']} was told {len(told)} times, to {wish.callback_url or 'nobody'}"
            if len({message.message_id for message in told}) > 1:
                yield f"cast {cast['id']} was told in {len({m.message_id for m in told})} messages"
            for message in told:
                end = (message.type, message.status, message.status_reason)
                if end != (f"cast.{cast['status']}", cast["status"], cast["status_reason"]):
                    yield f"cast {cast['id']} ended as {cast['status_reason']}, and was told as {end}"


def limits_are_kept(evidence: Evidence) -> Violations:
    """Never did more of a spell's runs go on at once than it allows. Times are whole seconds, so an overlap is real."""
    for spell_key, limit in evidence.limits.items():
        own = [
            c for c in evidence.casts.values() if c["spell_key"] == spell_key and c["status_reason"] != "dispatch_lost"
        ]
        runs = [r for c in own if not left_without_github(evidence, c) for r in evidence.runs.get(c["id"], [])]
        for run in runs:
            at = run["created_at"]
            beside = [other for other in runs if other["created_at"] <= at < other["updated_at"]]
            if len(beside) > limit:
                yield f"{len(beside)} runs of {spell_key} at {at}, and {limit} are allowed"


CHECKS: tuple[Callable[[Evidence], Violations], ...] = (
    no_caller_is_refused,
    one_cast_per_key,
    every_cast_ended,
    one_run_per_cast,
    no_foreign_run,
    ends_as_its_run,
    money_follows_the_end,
    artifacts_are_identical,
    histories_are_gapless,
    followers_miss_nothing,
    every_end_is_told,
    limits_are_kept,
)
