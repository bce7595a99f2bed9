"""What needs an operator: queues that no worker takes, stuck casts, missing artifacts.

Callbacks are in `casts.callbacks.attention`. Each trouble is defined once, as an annotation of its rows (`trouble`, a
word; `since`): the page counts by it, and the admin's lists filter by it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Case, CharField, Count, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from casts.models import OPEN, REPORT, Artifact, Cast, CastStatus, Round, Spell
from casts.runtime import runtime_for, runtimes
from core.admin.attention import RECENT, Report, Section, Trouble, User, Values, listed, may, trouble_filter
from core.admin.base import as_words, code
from core.db.words import AmongWords
from core.ids import first_id
from core.queue.due import GIVE_UP_AFTER

UNCLAIMED = dt.timedelta(minutes=2)  # a worker looks every second, and takes what is due longest first
PATIENCE = dt.timedelta(minutes=5)
RUNNER_PATIENCE = dt.timedelta(minutes=30)
COPIER_PATIENCE = dt.timedelta(minutes=10)

CAST_WORDS = {
    "unclaimed": "due, and taken by no worker",
    "cancelling": "cancelled, but not ended",
    "collecting": "run has ended, but not the cast",
    "waiting": "waiting for what runs them, or for us",
    "no_runner": "no runner",
    "asleep": "not scheduled (a bug)",
    "given_up": "given up after steps that failed",
    "uncharged": "did not report what they cost",
}
SPELL_WORDS = {"refused": "refused every time"}
ROUND_WORDS: dict[str, str] = {
    Round.Name.TALLIES: "Counting casts for the dashboard",
    Round.Name.ALARMS: "Looking for what operators are alarmed of",
    Round.Name.RETENTION: "Deleting what was kept long enough",
}
REFUSALS = 3  # in a row: one or two may be a caller's input, or somebody at work on the workflow
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ARTIFACT_WORDS = {"failed": "could not be copied", "pending": "still not copied"}


# --- Workers -----------------------------------------------------------------------------------------------------


def workers(user: User) -> Section | None:
    if not may(user, "casts.view_cast"):
        return None
    now, troubles, alive = timezone.now(), [], False
    for path in settings.WORK:
        rows = import_string(path)().rows()
        late = rows.unclaimed(since=now - UNCLAIMED).aggregate(
            count=Count("pk"), since=Min(Coalesce("due_at", "lease_until"))
        )
        if late["count"] and rows.model is Round:
            names = rows.values_list("name", flat=True)  # each round is a queue of its own
            troubles += [round_of(name, late["since"]) for name in names]
        elif late["count"]:
            troubles.append(queue_of(rows.model, **late))
        alive = alive or rows.filter(lease_until__gt=now).exists()
    return Section("Workers", tuple(troubles), alarm_of(troubles, alive=alive))


def queue_of(model: Any, *, count: int, since: dt.datetime) -> Trouble:
    name, listing = str(model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural), ""
    if model is Cast:
        listing = listed("casts_cast", trouble="unclaimed")
    elif admin.site.is_registered(model):
        listing = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    what = f"{name} {'is' if count == 1 else 'are'} due, and no worker takes {'it' if count == 1 else 'them'}"
    said = what if count > 1 else f"One {what}"
    return Trouble(said, count, since, path=listing, key=f"unclaimed {model._meta.label}")


def round_of(name: str, since: dt.datetime) -> Trouble:
    return Trouble(f"{ROUND_WORDS[name]} is due, and no worker does it", since=since, key=f"unclaimed round {name}")


def alarm_of(troubles: list[Trouble], *, alive: bool) -> str:
    if not troubles:
        return ""
    if alive:
        return (
            "The workers don't keep up: work has been due for more than two minutes. Start another worker "
            "(manage.py runworker), or give them more threads (WORKER_THREADS)."
        )
    return (
        "No worker is running: work has been due for more than two minutes and nobody takes it. Start one with "
        "“manage.py runworker”. If one is running, see in its log why it stands still, and whether it uses this "
        "database."
    )


# --- Casts -------------------------------------------------------------------------------------------------------


def waiting_reasons() -> set[str]:
    """Return the reasons for waiting that count as trouble: those that some runtime has a remedy for."""
    return {reason for _, runtime in runtimes() for reason in runtime.words.remedies}


def with_route(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate casts with the `route` by which their runtimes send them, as text; blank where there is none."""
    routes = [(kind, runtime.route) for kind, runtime in runtimes()]
    whens = [When(spell__runtime=kind, then=route.of_casts()) for kind, route in routes if route is not None]
    blank = Value("", output_field=CharField())
    found: QuerySet[Any] = casts.annotate(route=Case(*whens, default=blank) if whens else blank)
    return found


def needing_attention(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate open casts with the `trouble` they are in and since when (`since`); leave out the others."""
    now = timezone.now()
    # Deadlines of our own end these two; a cast that is still open long after them is stuck.
    cancelling = max(PATIENCE, dt.timedelta(seconds=3 * settings.CAST_CANCEL_GRACE_SECONDS))
    collecting = max(PATIENCE, 2 * dt.timedelta(seconds=settings.CAST_ARTIFACT_WAIT_SECONDS))
    asleep = Q(due_at=None, lease_until=None)
    queued_since = Coalesce("dispatch_started_at", "created_at")
    sent_at = Coalesce("dispatched_at", "dispatch_started_at", "created_at")
    kinds: list[tuple[str, Q, Any]] = [
        ("asleep", asleep, F("created_at")),
        ("cancelling", Q(cancel_requested_at__lt=now - cancelling), F("cancel_requested_at")),
        ("collecting", Q(run_finished_at__lt=now - collecting), F("run_finished_at")),
        (
            "waiting",
            Q(status=CastStatus.QUEUED, status_reason__in=waiting_reasons(), queued_since__lt=now - PATIENCE),
            queued_since,
        ),
        ("no_runner", Q(status_reason="waiting_for_runner", sent_at__lt=now - RUNNER_PATIENCE), sent_at),
    ]
    which = casts.filter(AmongWords("status", OPEN)).alias(queued_since=queued_since, sent_at=sent_at)
    # The first that fits counts.
    word = Case(*(When(when, then=Value(kind)) for kind, when, _ in kinds), default=Value(""))
    since = Case(*(When(when, then=then) for _, when, then in kinds))
    found: QuerySet[Any] = which.annotate(trouble=word, since=since).exclude(trouble="")
    return found


def casts_in(casts: QuerySet[Any], word: str) -> QuerySet[Any]:
    if word == "unclaimed":
        late = Cast.due_rows().filter(status__in=OPEN).unclaimed(since=timezone.now() - UNCLAIMED)
        return casts.filter(pk__in=late.values("pk"))
    if word in BY_WORD:
        return BY_WORD[word](casts)
    return needing_attention(casts).filter(trouble=word)


CastTroubles = trouble_filter(CAST_WORDS, casts_in)


ADVICE = {
    "asleep": "A bug of ours; looking now fixes it.",
    "cancelling": "A worker ends a cancelled cast without {name} after a while. Is one running, and what does its log "
    "say?",
    "collecting": "A worker ends a cast without its artifacts after a while. Is one running, and what does its log "
    "say?",
}


def what_of_casts(first: Values) -> str:
    casts = "cast" if first["counted"] == 1 else "casts"
    reason = as_words(first["status_reason"])
    runtime = runtime_for(first["spell__runtime"])
    what = {
        "asleep": f"{casts} not scheduled, a bug ({reason})",
        "cancelling": f"{casts} cancelled, but not ended",
        "collecting": f"{casts} whose run has ended, still open",
        "waiting": f"{casts} waiting: {reason}",
        "no_runner": f"{casts} waiting for a runner on {runtime.words.name}",
    }[first["trouble"]]
    return f"{what}, {runtime.route.said(first['route'])}" if runtime.route else what


def advice_for_casts(first: Values) -> str:
    words = runtime_for(first["spell__runtime"]).words
    if first["trouble"] == "waiting":
        return words.remedies.get(first["status_reason"], "")
    return words.no_runner if first["trouble"] == "no_runner" else ADVICE[first["trouble"]].format(name=words.name)


def list_of_casts(first: Values) -> dict[str, str]:
    route = runtime_for(first["spell__runtime"]).route
    return {"status_reason": first["status_reason"], **({route.parameter: first["route"]} if route else {})}


def line_of_cast(row: Values, first: Values) -> tuple[str, str]:
    why = f"{row['spell__key']} for {row['account__name']}"
    return code(row["pk"]), why if row["message"] == first["message"] else f"{why}: {row['message']}"


CASTS = Report(
    "casts_cast",
    rows=lambda: with_route(needing_attention(Cast.objects.all())),
    by=["status_reason", "route"],  # so that ten thousand casts behind one rate limit are one line
    filters=list_of_casts,
    show=("message", "spell__key", "spell__runtime", "account__name"),
    what=what_of_casts,
    why=lambda first: first["message"],
    advice=advice_for_casts,
    line=line_of_cast,
    action=("look_now", "Look now", "Look at all now"),
    more_actions=lambda first: {} if first["trouble"] in ("cancelling", "collecting") else {"cancel": "Cancel"},
    mild=lambda first: first["trouble"] == "no_runner",
)


def given_up(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate the casts that we could not go on with and that nobody has cast again; see core.queue.poison."""
    lately = casts.filter(status_reason="internal_error", finished_at__gt=timezone.now() - RECENT)
    found: QuerySet[Any] = lately.filter(retries=None).annotate(trouble=Value("given_up"), since=F("finished_at"))
    return found


GIVEN_UP = Report(
    "casts_cast",
    rows=lambda: given_up(Cast.objects.all()),
    by=(),
    filters=lambda first: {},
    show=("failure", "spell__key", "account__name"),
    what=lambda first: f"cast{'' if first['counted'] == 1 else 's'} given up after {GIVE_UP_AFTER} steps that failed",
    why=lambda first: f"The last time: {first['failure']}.",
    advice=lambda first: (
        "The workers' log says more. They cost nothing. Once the cause is fixed, cast them again: each is a new cast "
        "with its own price, and a run that was started may have done its work."
    ),
    line=lambda row, first: (code(row["pk"]), f"{row['spell__key']} for {row['account__name']}: {row['failure']}"),
    action=("cast_again", "Cast again", "Cast all again"),
)


def uncharged(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate the casts whose runs should have reported what they cost, and did not, and that nobody has left so."""
    lately = casts.filter(charge_unknown=True, finished_at__gt=timezone.now() - RECENT)
    found: QuerySet[Any] = lately.annotate(trouble=Value("uncharged"), since=F("finished_at"))
    return found


UNCHARGED = Report(
    "casts_cast",
    rows=lambda: uncharged(Cast.objects.all()),
    by=["spell", "spell__key"],
    filters=lambda first: {"spell__id__exact": first["spell"]},
    show=("charge", "account__name"),
    what=lambda first: (
        f"cast{'' if first['counted'] == 1 else 's'} of “{first['spell__key']}” whose run did not report what it costs"
    ),
    why=lambda first: str((first["charge"] or {}).get("note") or ""),
    advice=lambda first: (
        f"They succeeded and cost nothing. Its workflow must write {REPORT}, a whole number, at the top of its result; "
        "or give the spell another price. What was not charged can't be charged later."
    ),
    line=lambda row, first: (code(row["pk"]), f"for {row['account__name']}"),
    action=("leave_uncharged", "Leave uncharged", "Leave all uncharged"),
)
BY_WORD = {"given_up": given_up, "uncharged": uncharged}


def stuck_casts(user: User) -> Section | None:
    found = [report.section("Casts", user) for report in (CASTS, GIVEN_UP, UNCHARGED)]
    sections = [section for section in found if section is not None]
    troubles = tuple(trouble for section in sections for trouble in section.troubles)
    return replace(sections[0], troubles=troubles) if sections else None


# --- Spells ------------------------------------------------------------------------------------------------------


def refusals() -> list[dict[str, Any]]:
    """Return, for each active spell that is refused every time, how often in a row, since when, and why.

    Refusals before RECENT don't count.
    """
    recent = Cast.objects.filter(pk__gte=first_id(timezone.now() - RECENT), spell__active=True).order_by()
    refused = recent.filter(status_reason="dispatch_refused")
    often = refused.values("spell").annotate(counted=Count("pk")).filter(counted__gte=REFUSALS)
    suspects = [row["spell"] for row in often]
    if not suspects:
        return []
    # A dispatch that was accepted ends the row of refusals: only those after the last one count.
    sent = Q(dispatched_at__isnull=False) | Q(run_key__isnull=False)
    accepted = recent.filter(sent, spell__in=suspects).values("spell").annotate(last=Max("dispatch_started_at"))
    since = {row["spell"]: row["last"] for row in accepted}
    in_a_row = Q()
    for spell in suspects:
        in_a_row |= Q(spell=spell, dispatch_started_at__gt=since.get(spell) or BEGINNING)
    why = Subquery(refused.filter(spell=OuterRef("spell")).order_by("-pk").values("message")[:1])
    found: Any = refused.filter(in_a_row).values("spell")
    found = found.annotate(counted=Count("pk"), since=Min("dispatch_started_at"), why=why)
    return list(found.filter(counted__gte=REFUSALS).order_by("since", "spell"))


def refused_in(spells: QuerySet[Any], word: str) -> QuerySet[Any]:
    return spells.filter(pk__in=[row["spell"] for row in refusals()])


SpellTroubles = trouble_filter(SPELL_WORDS, refused_in)


def refused_spells(user: User) -> Section | None:
    if not (may(user, "casts.view_spell") and may(user, "casts.view_cast")):
        return None
    rows = refusals()
    spells = Spell.objects.in_bulk([row["spell"] for row in rows])
    return Section("Spells", tuple(refused_trouble(spells[row["spell"]], row) for row in rows))


def refused_trouble(spell: Spell, row: dict[str, Any]) -> Trouble:
    words = runtime_for(spell.runtime).words
    return Trouble(
        f"casts of “{spell.key}” refused by {words.name} one after the other, and none accepted since",
        row["counted"],
        row["since"],
        why=row["why"],
        advice=words.refused_every_time.format(spell=spell.key),
        path=listed("casts_cast", spell__id__exact=spell.pk, status_reason="dispatch_refused"),
    )


# --- Artifacts ---------------------------------------------------------------------------------------------------


def artifacts_needing_attention(artifacts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate artifacts that were not copied with their `trouble` and since when; leave out the others."""
    now, state = timezone.now(), Artifact.State
    ended = Coalesce("cast__finished_at", "cast__created_at")
    failed = Q(state=state.FAILED, since__gt=now - RECENT)
    pending = Q(state=state.PENDING, cast__finished_at__lt=now - COPIER_PATIENCE)
    missing = artifacts.filter(state__in=(state.PENDING, state.FAILED)).annotate(since=ended, trouble=F("state"))
    found: QuerySet[Any] = missing.filter(failed | pending)
    return found


def artifacts_in(artifacts: QuerySet[Any], word: str) -> QuerySet[Any]:
    return artifacts_needing_attention(artifacts).filter(state=word)


ArtifactTroubles = trouble_filter(ARTIFACT_WORDS, artifacts_in)


def what_of_artifacts(first: Values) -> str:
    return f"artifact{'' if first['counted'] == 1 else 's'} {ARTIFACT_WORDS[first['trouble']]}"


def advice_for_artifacts(first: Values) -> str:
    words = runtime_for(first["cast__spell__runtime"]).words
    if first["trouble"] == "pending":
        return f"{words.artifact_trouble} Workers try again, hourly in the end; their log says why."
    again = "Their casts have ended without them. Copy them again once the cause is fixed"
    return f"{again}: a larger ARTIFACT_MAX_BYTES, for example. {words.artifact_failed}"


ARTIFACTS = Report(
    "casts_artifact",
    rows=lambda: artifacts_needing_attention(Artifact.objects.all()),
    by=(),
    filters=lambda first: {},
    show=("name", "error", "cast_id", "cast__spell__runtime"),
    what=what_of_artifacts,
    advice=advice_for_artifacts,
    line=lambda row, first: (row["name"], f"{row['error']} Of cast {row['cast_id']}".strip()),
    action=("copy_again", "Copy again", "Copy all again"),
)


def missing_artifacts(user: User) -> Section | None:
    return ARTIFACTS.section("Artifacts", user)
