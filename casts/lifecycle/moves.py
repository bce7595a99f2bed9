"""Every move a cast can make. Each is one guarded UPDATE in a transaction that also appends the event and moves the
money; the row count answers "did I do it, or did someone else?". No network call happens in here.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts import budget
from accounts.models import Account, ApiKey
from casts import metrics, pricing
from casts.lifecycle import events, folding, slots
from casts.models import OPEN, Artifact, Cast, CastEvent, CastStatus, LooseFile, MetadataMark, Spell, mark_of
from casts.runtime import Observation, Run, Turn, runtime_for, runtime_of, target_relations, words_of
from casts.versions import as_accepted, each_as_accepted
from core.db.commits import once_committed
from core.db.compiled import Insert, OneOf, Param, Params, Select, Update
from core.ids import uuid7
from core.queue import wakeups
from core.queue.due import batches
from core.telemetry import tracing

logger = logging.getLogger(__name__)

# Deliveries can arrive out of order: a queued cast may finish, a finished one never goes back.
ALLOWED_FROM = {
    CastStatus.QUEUED: (CastStatus.QUEUED,),
    CastStatus.RUNNING: (CastStatus.QUEUED, CastStatus.RUNNING),
    CastStatus.SUCCEEDED: OPEN,
    CastStatus.FAILED: OPEN,
    CastStatus.CANCELLED: OPEN,
}
RUN_TAG = re.compile(r"\[cast:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\]")
# Dispatched, but its run is not known.
RUNLESS = Q(run_key=None, dispatch_started_at__isnull=False, status=CastStatus.QUEUED)
# A title may tell whose a run is only where the answer to the dispatch can't: it named no run, or it was lost.
TITLE_MAY_TELL = RUNLESS & (Q(dispatched_at__isnull=False) | Q(answer_lost_at__isnull=False))
SEVERAL_TAGS, MOST_TAGS = "title_with_several_tags", 10
MESSAGE_CHARS = 500
WATCH_LASTS = dt.timedelta(minutes=3)


def columns_but(*left_out: str) -> list[str]:
    return [field.attname for field in Cast._meta.concrete_fields if field.attname not in left_out]


def locked() -> QuerySet[Cast]:
    folded = Cast.objects.select_related("spell").only(
        *columns_but(), "spell__key", "spell__runtime", "spell__tags_runs", "spell__version"
    )
    return folded.select_for_update(of=("self",)).order_by()


LOCKED = Select(lambda: locked().filter(pk=Param(Cast, "id")))
# In one order: of two that lock several casts, neither waits for what the other will lock.
LOCKED_BY_RUNS = Select(lambda: locked().filter(OneOf("run_key", Params(Cast, "run_key", "run_keys"))).order_by("pk"))
# A cast that has just moved, as its event shows it.
MOVED = Select(
    lambda: (
        Cast.objects.select_related("spell")
        .only(*columns_but("input", "metadata", "observation"), "spell__key")
        .filter(pk=Param(Cast, "id"))
        .order_by()
    )
)
ENDED: dict[str, Any] = {
    "last_seq": F("last_seq") + 1,
    "progress": 100,
    "step_name": "",
    # Clocks may differ: an end is never before the start.
    "finished_at": Greatest(Param(Cast, "finished_at", "now"), Coalesce("started_at", "created_at")),
    "due_at": None,
    "lease_until": None,
}
END_CLAIMED = Update(lambda: Cast.claimed().filter(status__in=OPEN), **ENDED)  # OPEN: each final word's ALLOWED_FROM
END_UNSENT = Update(
    lambda: Cast.objects.filter(pk=Param(Cast, "id"), dispatch_started_at=None, status__in=OPEN), **ENDED
)
# Every write of a status but the end's goes through one of these: only to casts that may take it.
GUARDED = {
    to: Update(lambda to=to: Cast.objects.filter(pk=Param(Cast, "id"), status__in=ALLOWED_FROM[to]))  # type: ignore[misc]
    for to in CastStatus
}
ADD_CAST, ADD_MARK = Insert(Cast), Insert(MetadataMark)


# What a cast has learnt from its run, to be forgotten if that was another cast's.
LEARNT_OF_A_RUN = (
    *("run_attempt", "observation", "run_finished_at", "started_at"),
    *("cancel_asked_at", "cancel_forced_at"),
)


def facts_of(cast: Cast) -> tracing.Facts:
    """Return what spans say of a cast."""
    return {"spell.cast.id": str(cast.pk), "spell.key": cast.spell.key, "spell.runtime": cast.spell.runtime}


def new_cast(
    *,
    account: Account,
    api_key: ApiKey | None = None,
    placed_by: User | None = None,
    spell: Spell,
    input: Any,
    ttl_seconds: int | None = None,
    callback_url: str = "",
    metadata: dict[str, Any] | None = None,
    retry_of: Cast | None = None,
) -> Cast:
    """Return a cast as it will be once it is accepted; nothing is stored yet."""
    now, price = timezone.now(), pricing.Price.of(spell)
    return Cast(
        id=uuid7(),
        account=account,
        api_key=api_key,
        placed_by=placed_by,
        spell=spell,
        retry_of=retry_of,
        input=input,
        metadata=metadata or {},
        callback_url=callback_url,
        traceparent=tracing.carried(),
        cost_cents=price.max_cents,
        price=price.kept,
        spell_version=spell.version or None,
        run_scope=runtime_for(spell.runtime).scope(spell),
        created_at=now,
        expires_at=now + dt.timedelta(seconds=ttl_seconds or spell.ttl_seconds),
        due_at=now,  # the worker finds it: a queued cast is its own outbox entry
        last_seq=1,
    )


def accept(casts: Sequence[Cast]) -> None:
    """Store new casts of one account and hold their prices; raise BudgetExceeded or TooManyOpenCasts.

    All of them, in this order, or none: the transaction is the caller's, to be rolled back.
    """
    ADD_CAST.all(casts)
    mark_metadata(casts)
    events.append_all([events.line(cast, "accepted", at=cast.created_at) for cast in casts])
    # Last: it locks the account's counter, for which all other casts of the account wait.
    budget.hold_all(
        casts[0].account,
        [
            budget.Hold(
                cast_id=cast.pk,
                cents=cast.cost_cents,
                at=cast.created_at,
                api_key_id=str(cast.api_key_id or ""),
                spell_key=cast.spell.key,
            )
            for cast in casts
        ],
    )
    transaction.on_commit(wakeups.work_is_due)
    for cast in casts:
        transaction.on_commit(metrics.ACCEPTED.labels(cast.spell.key, cast.spell.runtime).inc)


def mark_metadata(casts: Sequence[Cast]) -> None:
    """Have lists find new casts by the entries of their metadata."""
    for_all = []
    for cast in casts:
        marks = {mark_of(cast.account_id, name, value) for name, value in cast.metadata.items()}
        for_all += [MetadataMark(mark=mark, cast=cast) for mark in sorted(marks)]
    ADD_MARK.all(for_all)


class Intent(Enum):
    """Whether a dispatch may go on."""

    COMMITTED = "committed"
    LOST = "lost"  # the claim no longer holds, or the cast is to be dispatched no more


def intend_dispatch(cast: Cast) -> Intent | slots.Wait:
    """Commit, before the call, that this attempt is about to dispatch, and take a slot for it.

    Return a Wait if a limit on running casts is reached.
    """
    with transaction.atomic():
        limited = slots.lock(cast)
        if limited and (wait := slots.wait_of(cast)) is not None:
            return wait
        changed = cast.mine().filter(status=CastStatus.QUEUED, run_key=None, cancel_requested_at=None)
        done = changed.update(
            dispatch_started_at=timezone.now(),
            dispatched_at=None,
            answer_lost_at=None,
            searched_since=None,
            pace_at=None,
            line_at=None,
            dispatch_attempts=F("dispatch_attempts") + 1,
        )
        if limited and done:
            slots.took(cast)
            # A turn taken out of order changes who is next: with a slot left, it may be a cast that sleeps.
            once_committed(_offer_slot, cast)
        return Intent.COMMITTED if done else Intent.LOST


def take_back_intent(cast: Cast, *, tried: bool) -> None:
    """Note that the announced dispatch certainly started nothing, so that it may be tried again later.

    `tried`: it may have reached the runtime, and counts as one of the cast's dispatches.
    """
    attempts = F("dispatch_attempts") - (0 if tried else 1)
    cast.mine().filter(run_key=None).update(dispatch_started_at=None, dispatch_attempts=attempts)


def dispatched(cast: Cast, run: Run | None) -> None:
    """Note that the runtime has accepted the dispatch, and the run if its answer named it."""
    now = timezone.now()
    with transaction.atomic():
        cast.mine().filter(dispatched_at=None).update(dispatched_at=now)
        if run is None:
            _tell_run_known(cast.run_scope, None, cast.run_tag)
        # A run that the answer names is the cast's, whatever a title said before.
        elif not _bind(cast, cast.run_scope, run.key, run.url):
            _correct_run(cast.pk, run)
        _move(
            cast.mine().filter(status=CastStatus.QUEUED, progress__lt=10),
            "dispatched",
            CastStatus.QUEUED,
            status_reason="waiting_for_runner",
            message=words_of(cast).sent,
            progress=10,
        )


def note_pace(cast: Cast, turn: Turn | None) -> None:
    """Note when this cast's turn to start comes, or its place in the line for one; None once the turn is taken."""
    at, place = (None, None) if turn is None else (turn.kept_at, turn.place)
    cast.mine().update(pace_at=at, line_at=place)


def note_search_began(cast: Cast, at: dt.datetime) -> None:
    cast.mine().update(searched_since=at)


def lose_answer(cast: Cast) -> None:
    """Note that no answer to the dispatch can come any more: from now on a title may tell which run is the cast's."""
    silent = cast.mine().filter(RUNLESS, dispatched_at=None, answer_lost_at=None)
    with transaction.atomic():
        if silent.update(answer_lost_at=timezone.now()):
            _tell_run_known(cast.run_scope, None, cast.run_tag)


def _tell_run_known(scope: str, key: str | None, tag: str = "") -> None:
    """Call the hooks that wait for runs to find their casts.

    `key` None: no run is known yet, but from now on titles with this tag may tell.
    """
    # After the commit: whoever stores a waiting message looks again after its own, so one of the two sees the other.
    for path in settings.RUN_KNOWN:
        once_committed(import_string(path), scope, key, tag)


def wait_for(cast: Cast, *, reason: str, message: str) -> None:
    # Said once: a step that finds nothing new adds no event.
    queued = cast.mine().filter(status=CastStatus.QUEUED).exclude(status_reason=reason, message=message[:MESSAGE_CHARS])
    with transaction.atomic():
        _move(queued, "waiting", CastStatus.QUEUED, status_reason=reason, message=message[:MESSAGE_CHARS])


def bind_run(cast_id: uuid.UUID, scope: str, key: str, url: str, *, guessed: bool = False) -> bool:
    """Bind a run to a cast that has none; False if it has one, or if the run belongs to another cast.

    `guessed`: only its title says so, and the runtime's answer may still name another one.
    """
    try:
        with transaction.atomic():
            bound = Cast.objects.filter(pk=cast_id, run_scope__iexact=scope, run_key=None, status__in=OPEN).update(
                run_key=key, run_url=url, run_guessed=guessed
            )
    except IntegrityError:
        logger.error("run belongs to another cast", extra={"cast_id": str(cast_id), "run_id": key})
        return False
    if bound:
        _tell_run_known(scope, key)
    return bool(bound)


def _bind(cast: Cast, scope: str, key: str, url: str, *, guessed: bool = False) -> bool:
    bound = bind_run(cast.pk, scope, key, url, guessed=guessed)
    if bound:
        once_committed(metrics.run_known, cast)
    return bound


def _correct_run(cast_id: uuid.UUID, named: Run) -> None:
    """Replace a run that only a title had pointed to by the one that the dispatch's answer named.

    Nothing that was learnt of the other run stays but the public history. Whoever works on the cast loses the claim.
    """
    cast = LOCKED.first(id=cast_id)
    if cast is None or (cast.run_key == named.key and not cast.run_guessed):
        return
    if cast.run_key == named.key:
        Cast.objects.filter(pk=cast_id).update(run_guessed=False)
        return
    extra = {"cast_id": str(cast_id), "run_id": cast.run_key, "named": named.key}
    if cast.final or not cast.run_guessed:
        logger.error("an answer named another run than the cast's", extra=extra)
        return
    logger.warning("a run that was taken for the cast's is replaced by the named one", extra=extra)
    changes: dict[str, Any] = dict.fromkeys(LEARNT_OF_A_RUN)
    # The only time that a status goes back to queued: nothing is known to have begun.
    changes |= {"jobs": [], "step_name": "", "progress": 10, "run_key": named.key, "run_url": named.url}
    changes |= {"status": CastStatus.QUEUED}
    changes |= {
        "run_guessed": False,
        "lease_until": None,
        "due_at": timezone.now(),
        "claim_number": F("claim_number") + 1,
    }
    try:
        with transaction.atomic():
            Cast.objects.filter(pk=cast_id).update(**changes)
    except IntegrityError:
        logger.error("run belongs to another cast", extra=extra)
        return
    LooseFile.drop(Artifact.objects.filter(cast=cast_id).exclude(file="").values_list("file", flat=True))
    Artifact.objects.filter(cast=cast_id).delete()
    _move(
        Cast.objects.filter(pk=cast_id),
        "run_corrected",
        CastStatus.QUEUED,
        status_reason="cancelling" if cast.cancel_requested_at else "waiting_for_runner",
        message=words_of(cast).corrected,
    )
    _tell_run_known(cast.run_scope, named.key)
    transaction.on_commit(wakeups.work_is_due)


def _with_targets() -> QuerySet[Cast]:
    return Cast.objects.select_related("spell", *target_relations("spell__"))


def find_cast(seen: Observation) -> uuid.UUID | None:
    """Return the cast whose run was seen: the one that has the run, else the one whose tag alone its title carries.

    A title counts only where the answer can't name the run, and if the runtime says that the run may be the cast's.
    """
    known = Cast.objects.filter(run_scope__iexact=seen.run_scope, run_key=seen.run_key).values_list("pk", flat=True)
    if owner := known.first():
        return owner
    tags = RUN_TAG.findall(seen.title)
    if len(tags) != 1:
        return None
    waiting = _with_targets().filter(TITLE_MAY_TELL, pk=tags[0]).first()
    if waiting is not None and runtime_of(as_accepted(waiting)).may_own(waiting, seen):
        _bind(waiting, seen.run_scope, seen.run_key, seen.url, guessed=True)
    # Read again in any case: two messages about a new run may come together, and the other may have bound it.
    return known.first()


def take_run(cast: Cast, seen: Observation) -> bool:
    """Bind the run that the runtime has found for this cast, by its title or because it can be no other's."""
    if (owner := find_cast(seen)) is None and not RUN_TAG.search(seen.title):
        _bind(cast, seen.run_scope, seen.run_key, seen.url, guessed=True)
        owner = find_cast(seen)
    return owner == cast.pk


def note_several_tags(seen: Observation) -> None:
    """Note, once each, in the histories of casts that look for their run that a title has their tag and others, too.

    Such a run is taken for none of theirs, though it may be one's: whoever writes titles can put any tag there.
    """
    tags = set(RUN_TAG.findall(seen.title)[:MOST_TAGS])
    if len(RUN_TAG.findall(seen.title)) < 2:
        return
    waiting = _with_targets().filter(RUNLESS, pk__in=tags, run_scope__iexact=seen.run_scope)
    told = CastEvent.objects.filter(cast__in=tags, kind=SEVERAL_TAGS).values_list("cast", flat=True)
    casts = each_as_accepted(waiting.exclude(pk__in=told))
    noted = [cast.pk for cast in casts if runtime_of(cast).may_own(cast, seen)]
    if noted:
        extra = {"run_id": seen.run_key, "casts": [str(pk) for pk in noted]}
        logger.warning("a run's title has several cast tags: it is taken for nobody's", extra=extra)
        note_operator(noted, SEVERAL_TAGS, by="")


CANDIDATES = 50  # casts without a run that one message is compared with


def may_be_ours(seen: Observation) -> bool:
    """Return whether this may be the run of a cast whose run is not known yet; if not, the message can be dropped."""
    runless = _with_targets().filter(RUNLESS, run_scope__iexact=seen.run_scope)
    candidates = runless.order_by("dispatch_started_at")
    tags = RUN_TAG.findall(seen.title)
    if seen.status is None:  # of a job, which has no title: only its time can tell, and the earliest fits best
        candidates = candidates[:1]
    elif tags:
        candidates = candidates.filter(pk=tags[0])[: len(tags) == 1]
    else:  # without a tag it can only be one that the answer will name
        older = Q(spell_version__isnull=False) & ~Q(spell_version=F("spell__version"))
        untagged = Q(spell__tags_runs=False) | older
        candidates = candidates.filter(untagged, dispatched_at=None, answer_lost_at=None)[:CANDIDATES]
    return any(runtime_of(cast).may_own(cast, seen) for cast in each_as_accepted(candidates))


def observe(cast_id: uuid.UUID, seen: Observation) -> bool:
    """Fold one observation into its cast; return whether anything public changed.

    Any order and any repetition gives the same end: see `casts.lifecycle.folding`.
    """
    with transaction.atomic(savepoint=False):
        if (cast := LOCKED.first(id=cast_id)) is None:
            raise Cast.DoesNotExist
        return _fold_all([(cast, seen)])[0]


class Observed(Enum):
    """What an observation of a run came to."""

    NO_CAST = "no cast"  # none is known to have the run
    NOTHING_NEW = "nothing new"
    CHANGED = "changed"  # something that the cast's caller sees


def observe_run(seen: Observation) -> Observed:
    with transaction.atomic(savepoint=False):
        [observed] = observe_known([seen])
        if observed is Observed.NO_CAST and (cast_id := find_cast(seen)) is not None:
            cast = LOCKED.first(id=cast_id)
            if cast is not None:
                observed = _observed(_fold_all([(cast, seen)])[0])
                _count_once_committed(observed)
        if observed is Observed.NO_CAST:
            _count_once_committed(observed)
        return observed


def observe_known(seen: Sequence[Observation]) -> list[Observed]:
    """Fold what was seen of runs, in this order, into the casts that are known to have them, in one transaction."""
    with transaction.atomic(savepoint=False):
        casts = LOCKED_BY_RUNS.all(run_keys=list({one.run_key for one in seen}))
        owners = {(cast.run_key, cast.run_scope.lower()): cast for cast in casts}
        found = [owners.get((one.run_key, one.run_scope.lower())) for one in seen]
        folded = iter(_fold_all([(cast, one) for cast, one in zip(found, seen, strict=True) if cast is not None]))
        observed = [Observed.NO_CAST if cast is None else _observed(next(folded)) for cast in found]
        for one in observed:
            if one is not Observed.NO_CAST:  # who finds none looks for another
                _count_once_committed(one)
        return observed


def _count_once_committed(observed: Observed) -> None:
    transaction.on_commit(metrics.FOLDS.labels(observed.value.replace(" ", "_")).inc)


def _observed(public: bool) -> Observed:
    return Observed.CHANGED if public else Observed.NOTHING_NEW


class _Writing:
    """What folding changes in casts whose rows are locked: each cast is written once, and all events together."""

    def __init__(self) -> None:
        self.changes: dict[uuid.UUID, tuple[Cast, dict[str, Any]]] = {}
        self.events: list[CastEvent] = []
        self.tagged: dict[int, set[int | None]] = {}  # the versions of spells whose runs carry the tag

    def write(self) -> None:
        for pk, (cast, changes) in self.changes.items():
            if not GUARDED[CastStatus(cast.status)].run(changes, id=pk):
                raise RuntimeError(f"Cast {pk} may not be {cast.status}, and its row was locked.")
        events.append_all(self.events)
        for spell_id, versions in sorted(self.tagged.items()):  # in one order, as they are locked
            for version in versions:
                of_this_version = Spell.objects.filter(pk=spell_id)
                if version is not None:  # the runs of another target than the spell's teach nothing about its own
                    of_this_version = of_this_version.filter(version=version)
                of_this_version.update(tags_runs=True)


def _fold_all(seen: Sequence[tuple[Cast, Observation]]) -> list[bool]:
    """Fold observations into casts whose rows are locked; return of each whether anything public changed."""
    writing = _Writing()
    changed = [_fold(cast, one, writing) for cast, one in seen]
    writing.write()
    return changed


def _fold(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    """Fold an observation into a cast whose row is locked; return whether anything public changed."""
    with tracing.span("cast fold", facts_of(cast), under=cast.traceparent):
        return _folded(cast, seen, writing)


def _folded(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    if cast.final:
        return _note_rerun(cast, seen, writing)
    changes = folding.fold(cast, seen)
    if not changes or cast.status not in ALLOWED_FROM[CastStatus(changes.get("status", cast.status))]:
        return False
    if folding.needs_look(cast, changes):
        changes["due_at"] = min(cast.due_at or timezone.now(), timezone.now())
        transaction.on_commit(wakeups.work_is_due)
    public = any(name in changes and getattr(cast, name) != changes[name] for name in folding.PUBLIC)
    kind = _kind_of(cast, changes)
    if public:
        changes["last_seq"] = cast.last_seq + 1
    for name, value in changes.items():
        setattr(cast, name, value)
    writing.changes.setdefault(cast.pk, (cast, {}))[1].update(changes)
    if public:
        writing.events.append(events.line(cast, kind, at=timezone.now()))
    if not cast.spell.tags_runs and RUN_TAG.search(seen.title) and cast.run_tag in seen.title:
        writing.tagged.setdefault(cast.spell_id, set()).add(cast.spell_version)
    return public


def _kind_of(cast: Cast, changes: dict[str, Any]) -> str:
    if "run_finished_at" in changes:
        return "run_finished"
    if changes.get("step_name", cast.step_name) != cast.step_name:
        return "step"
    return "observed"


def _note_rerun(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    # A re-run after the end is a line in the history, nothing else: the result and the price stay.
    if cast.run_attempt is None or seen.attempt <= cast.run_attempt:
        return False
    cast.run_attempt, cast.last_seq = seen.attempt, cast.last_seq + 1
    Cast.objects.filter(pk=cast.pk).update(run_attempt=cast.run_attempt, last_seq=cast.last_seq)
    writing.events.append(events.line(cast, "rerun_on_github", at=timezone.now()))
    return True


def wake(cast_id: uuid.UUID) -> None:
    Cast.due_rows().filter(status__in=OPEN).wake(pk=cast_id)
    transaction.on_commit(wakeups.work_is_due)


def wake_all(cast_ids: Sequence[uuid.UUID], *, kind: str = "looked_now", by: str = "") -> list[uuid.UUID]:
    """Have workers look at these casts now; return those that are open. Their turns to start stay as they are.

    `by`: the operator who asks for it; their histories get an event of this `kind`.
    """
    woken: list[uuid.UUID] = []
    for some in batches(cast_ids):
        with transaction.atomic():
            still_open = Cast.due_rows().filter(status__in=OPEN).locked(some)
            found = list(still_open.values_list("pk", flat=True))
            still_open.wake()
            if by:
                still_open.forgive()
                note_operator(found, kind, by=by)
            transaction.on_commit(wakeups.work_is_due)
        woken += found
    return woken


def note_operator(cast_ids: Sequence[uuid.UUID], kind: str, *, by: str) -> None:
    """Note in the histories of these casts, ended ones too, what an operator did to them."""
    with transaction.atomic():
        Cast.due_rows().locked(list(cast_ids)).update(last_seq=F("last_seq") + 1)
        noted = Cast.objects.filter(pk__in=cast_ids).order_by("pk").select_related("spell")
        events.append_to_each(noted.prefetch_related("artifacts"), kind, at=timezone.now(), by=by)


def leave_uncharged(cast_ids: Sequence[uuid.UUID], *, by: str) -> list[uuid.UUID]:
    """Note that an operator knows of casts whose runs did not report what they cost; return which of these did not."""
    known: list[uuid.UUID] = []
    for some in batches(cast_ids):
        with transaction.atomic():
            found = list(Cast.due_rows().filter(charge_unknown=True).locked(some).values_list("pk", flat=True))
            Cast.objects.filter(pk__in=found).update(charge_unknown=False)
            note_operator(found, "left_uncharged", by=by)
        known += found
    return known


def revoke_links(cast_id: uuid.UUID, *, by: str = "") -> None:
    """Have all links to a cast that were handed out open nothing any more. New ones do. `by`: an operator."""
    with transaction.atomic():
        Cast.objects.filter(pk=cast_id).update(links_epoch=F("links_epoch") + 1)
        if by:
            note_operator([cast_id], "links_revoked", by=by)


def watch(cast_ids: list[uuid.UUID], *, arrived: bool) -> set[uuid.UUID]:
    """Note that somebody follows these casts live, so that they are looked at more often.

    To be called when they `arrived`, which brings the next look nearer, and again before WATCH_LASTS is over. Return
    those to be noted again, because others are writing their rows at this moment.
    """
    now = timezone.now()
    soon = now + dt.timedelta(seconds=settings.CAST_LOOK_WATCHED_SECONDS)
    with transaction.atomic():
        # In order, and skipping locked rows: two processes that note many casts must not block each other.
        running = Cast.objects.filter(pk__in=cast_ids, status__in=OPEN, run_finished_at=None).order_by("pk")
        mine = running
        if connection.features.has_select_for_update_skip_locked:
            mine = mine.select_for_update(skip_locked=True, no_key=True)
        found = list(mine.values_list("pk", flat=True))
        # Hurried are also a cast whose run is still looked for, and one that a worker holds, which then comes back by
        # this time at the latest. One that was not sent waits for what no follower hurries: a limit, a slot, its turn.
        sent = Q(dispatch_started_at__isnull=False, due_at__gt=soon)
        hurry = Case(When(sent | Q(due_at=None, lease_until__isnull=False), then=Value(soon)), default=F("due_at"))
        # One UPDATE for both: a second one of the same row makes Postgres check its foreign keys again.
        Cast.objects.filter(pk__in=found).update(
            watched_until=now + WATCH_LASTS, **({"due_at": hurry} if arrived else {})
        )
    if len(found) == len(cast_ids):
        return set()
    return set(running.values_list("pk", flat=True)) - set(found)


def request_cancel(cast: Cast, *, reason: str) -> bool:
    """Commit, before its run is cancelled, that this cast is to be and why; False if that was settled before."""
    return bool(
        cast.mine()
        .filter(status__in=OPEN, cancel_requested_at=None)
        .update(cancel_requested_at=timezone.now(), cancel_reason=reason)
    )


def cancel(cast_id: uuid.UUID, *, by: str = "") -> Cast:
    """Cancel a cast for its caller, or for the operator `by`.

    At once if nothing was dispatched yet, else the runtime is asked and has the last word. May be repeated; a cast that
    has ended stays as it ended.
    """
    now = timezone.now()
    reason = "cancelled_by_operator" if by else "cancelled_by_caller"
    with transaction.atomic():
        asked = Cast.objects.filter(pk=cast_id, status__in=OPEN, cancel_requested_at=None, run_finished_at=None).update(
            cancel_requested_at=now, cancel_reason=reason
        )
        if asked:
            # The update above holds the row: a worker that would dispatch it now waits, and then sees the request.
            ended = _end(
                END_UNSENT,
                {"id": cast_id},
                CastStatus.CANCELLED,
                reason=reason,
                message="Cancelled by the operator." if by else "Cancelled, as asked.",
                charge=pricing.Charge(0),
                by=by,
            )
            if not ended:
                _move(
                    Cast.objects.filter(pk=cast_id),
                    "cancel_requested",
                    None,
                    by=by,
                    status_reason="cancelling",
                    message="Cancelling, as the operator asked." if by else "Cancelling, as asked.",
                )
                wake(cast_id)
    return Cast.objects.select_related("spell").get(pk=cast_id)


@dataclass(frozen=True)
class Left:
    """What a run left behind that its cast keeps; see the columns of these names.

    `report`: what its result says that it costs; None: nothing was to be expected of it.
    """

    output: Any = None
    summary: str = ""
    annotations: list[dict[str, Any]] | None = None
    report: pricing.Report | None = None


NOTHING_LEFT = Left()


def end(
    cast: Cast,
    status: CastStatus,
    *,
    reason: str,
    message: str,
    error: dict[str, Any] | None = None,
    charge: bool,
    left: Left = NOTHING_LEFT,
) -> bool:
    """End a claimed cast for good and settle its money; False if the claim no longer holds or it has already ended.

    `charge`: whether an end like this is paid for; what it comes to, the cast's price says.
    """
    with transaction.atomic():
        return _end(
            END_CLAIMED,
            {"id": cast.pk, "claim_number": cast.claim_number},
            status,
            read=cast,
            reason=reason,
            message=message,
            error=error,
            left=left,
            charge=pricing.charge(cast, due=charge, report=left.report),
        )


def _end(
    guarded: Update[Cast],
    which: dict[str, Any],
    status: CastStatus,
    *,
    reason: str,
    message: str,
    error: dict[str, Any] | None = None,
    left: Left = NOTHING_LEFT,
    charge: pricing.Charge,
    by: str = "",
    read: Cast | None = None,
) -> bool:
    """End the cast that `guarded` finds by `which`, in its caller's transaction; False if it finds none.

    `read`: the cast as it was read before, with its spell and its account.
    """
    now = timezone.now()
    changes = {
        "status": status,
        "status_reason": reason,
        "message": message[:MESSAGE_CHARS],
        "error": error,
        "output": left.output,
        "summary": left.summary,
        "annotations": left.annotations,
        "charged_cents": charge.cents,
        "charge": charge.how,
        "charge_unknown": charge.unknown,
    }
    ended = next(iter(guarded.rows(changes, now=now, **which)), None)
    if ended is None:
        return False
    if read is not None:
        ended.spell, ended.account = read.spell, read.account
    events.append(ended, events.ENDED_BY, at=now, by=by)
    budget.settle(ended.pk, capture_cents=charge.cents)
    # In this transaction: whoever is owed news of the end is owed it exactly if the cast has ended.
    for path in settings.CAST_ENDED:
        import_string(path)(ended)
    # After the commit: within it, two casts that end could wait for each other's rows.
    once_committed(_offer_slot, ended)
    facts = {"cast_id": str(ended.pk), "status": status, "reason": reason}
    once_committed(logger.info, "cast ended", extra=facts)
    once_committed(metrics.ended, ended)
    once_committed(_trace_end, ended, now)
    return True


def _trace_end(cast: Cast, began: dt.datetime) -> None:
    about: tracing.Facts = {"spell.cast.id": str(cast.pk)}
    ended = {"spell.cast.status": cast.status, "spell.cast.status_reason": cast.status_reason}
    if cast.started_at is not None and cast.run_finished_at is not None:
        tracing.over("cast run", about, under=cast.traceparent, began=cast.started_at, ended=cast.run_finished_at)
    tracing.over("cast end", {**about, **ended}, under=cast.traceparent, began=began, ended=timezone.now())


def _offer_slot(cast: Cast) -> None:
    # It runs after the commit, which stands if this fails: those who wait look by themselves, only later.
    # A limit may have been raised since the step began that has ended the cast; without one there is nothing to raise.
    for limited in (cast.spell, cast.account):
        if limited.max_running is not None:
            limited.refresh_from_db(fields=["max_running"])
    for waiting in slots.next_in_line(cast):
        wake(waiting.pk)


def _move(which: QuerySet[Cast], kind: str, to: CastStatus | None, *, by: str = "", **changes: Any) -> None:
    """Put the cast that `which` finds into `to` (None: it stays), and append the event, in its caller's transaction.

    Nothing happens if `which` finds none, or one that may not go there. `by`: the operator who caused it.
    """
    found = which.select_for_update(of=("self",), no_key=True).values_list("pk", "status", "last_seq").first()
    if found is None:
        return
    pk, status, last_seq = found  # which can't change while the row is locked
    to = to or CastStatus(status)
    if not GUARDED[to].run({"status": to, "last_seq": last_seq + 1, **changes}, id=pk):
        return
    moved = MOVED.first(id=pk)
    assert moved is not None
    events.append(moved, kind, at=timezone.now(), by=by)


def note_cancel_asked(cast: Cast, *, forced: bool) -> None:
    message = words_of(cast).forcing if forced else words_of(cast).cancelling
    noted: dict[str, Any] = {"cancel_forced_at" if forced else "cancel_asked_at": timezone.now()}
    with transaction.atomic():
        _move(cast.mine(), "cancel_asked", None, status_reason="cancelling", message=message, **noted)
