"""Which run is whose: a run belongs to one cast for good, and a title alone proves little."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from casts import metrics
from casts.lifecycle import moves, operators
from casts.models import OPEN, Artifact, Cast, CastEvent, CastStatus, LooseFile
from casts.runtime import Observation, Run, runtime_of, target_relations, words_of
from casts.versions import each_as_accepted
from core.db.commits import once_committed
from core.queue import wakeups

logger = logging.getLogger(__name__)

RUN_TAG = re.compile(r"\[cast:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\]")
# Dispatched, but its run is not known.
RUNLESS = Q(run_key=None, dispatch_started_at__isnull=False, status=CastStatus.QUEUED)
# A title may tell whose a run is only where the answer to the dispatch can't: it named no run, or it was lost.
TITLE_MAY_TELL = RUNLESS & (Q(dispatched_at__isnull=False) | Q(answer_lost_at__isnull=False))
SEVERAL_TAGS, MOST_TAGS = "title_with_several_tags", 10
CANDIDATES = 50  # casts without a run that one message is compared with
# What a cast has learnt from its run, to be forgotten if that was another cast's.
LEARNT_OF_A_RUN = (
    "run_attempt",
    "observation",
    "run_finished_at",
    "started_at",
    "cancel_asked_at",
    "cancel_forced_at",
)


def tell_run_known(scope: str, key: str | None, tag: str = "") -> None:
    """Call the hooks that wait for runs to find their casts.

    `key` None: no run is known yet, but from now on titles with this tag may tell.
    """
    # After the commit: whoever stores a waiting message looks again after its own, so one of the two sees the other.
    for path in settings.RUN_KNOWN:
        once_committed(import_string(path), scope, key, tag)


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
        tell_run_known(scope, key)
    return bool(bound)


def bind(cast: Cast, scope: str, key: str, url: str, *, guessed: bool = False) -> bool:
    bound = bind_run(cast.pk, scope, key, url, guessed=guessed)
    if bound:
        once_committed(metrics.run_known, cast)
    return bound


def correct_run(cast_id: uuid.UUID, named: Run) -> None:
    """Replace a run that only a title had pointed to by the one that the dispatch's answer named.

    Nothing that was learnt of the other run stays but the public history. Whoever works on the cast loses the claim.
    """
    cast = moves.LOCKED.first(id=cast_id)
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
    changes: dict[str, Any] = dict.fromkeys(LEARNT_OF_A_RUN) | {
        "status": CastStatus.QUEUED,  # the only time that one goes back to it: nothing is known to have begun
        "jobs": [],
        "step_name": "",
        "progress": 10,
        "run_key": named.key,
        "run_url": named.url,
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
    moves.move(
        Cast.objects.filter(pk=cast_id),
        "run_corrected",
        CastStatus.QUEUED,
        status_reason="cancelling" if cast.cancel_requested_at else "waiting_for_runner",
        message=words_of(cast).corrected,
    )
    tell_run_known(cast.run_scope, named.key)
    transaction.on_commit(wakeups.work_is_due)


def _with_targets() -> QuerySet[Cast]:
    return Cast.objects.select_related("spell", *target_relations("spell__"))


def find_cast(seen: Observation) -> uuid.UUID | None:
    """Return the cast whose run was seen: the one that has the run, else the one whose tag alone its title carries."""
    known = Cast.objects.filter(run_scope__iexact=seen.run_scope, run_key=seen.run_key).values_list("pk", flat=True)
    if owner := known.first():
        return owner
    if not bind_by_titles([seen]):
        return None
    # Read again also if that bound nothing: two messages about a new run may come together.
    return known.first()


def bind_by_titles(seen: Sequence[Observation]) -> bool:
    """Bind runs that no cast is known to have to the casts whose tags alone their titles carry.

    A title counts only where the answer can't name the run, and if the runtime says that the run may be the cast's.
    Return whether there was such a title at all.
    """
    tagged = [(tags[0], one) for one in seen if len(tags := RUN_TAG.findall(one.title)) == 1]
    if not tagged:
        return False
    found = _with_targets().filter(TITLE_MAY_TELL, pk__in={tag for tag, _ in tagged})
    waiting = {str(cast.pk): cast for cast in each_as_accepted(found)}
    # In one order: of two that bind several, neither waits for what the other will bind.
    for tag, one in sorted(tagged, key=itemgetter(0)):
        if (cast := waiting.get(tag)) is not None and runtime_of(cast).may_own(cast, one):
            bind(cast, one.run_scope, one.run_key, one.url, guessed=True)
    return True


def take_run(cast: Cast, seen: Observation) -> bool:
    """Bind the run that the runtime has found for this cast, by its title or because it can be no other's."""
    if (owner := find_cast(seen)) is None and not RUN_TAG.search(seen.title):
        bind(cast, seen.run_scope, seen.run_key, seen.url, guessed=True)
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
        operators.note_operator(noted, SEVERAL_TAGS, by="")


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
