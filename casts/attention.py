"""What needs an operator on floor 2: queues that nobody works off, stuck casts, artifacts that did not come in.

Callbacks are in `casts.callbacks.attention`. A trouble is defined once, as an annotation of its rows (`trouble`, a
word; `since`): the page counts by it, and the admin's lists filter by it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Case, CharField, Count, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from casts.models import OPEN, Artifact, Cast, CastStatus, Spell
from casts.runtime import runtime_for, runtimes
from core.admin.attention import RECENT, Row, Section, Trouble, User, buttons, grouped, listed, may, trouble_filter
from core.admin.base import admin_link, as_words, code
from core.ids import first_id

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
    "asleep": "nobody is to look at it",
}
SPELL_WORDS = {"refused": "refused every time"}
REFUSALS = 3  # in a row: one or two may be a caller's input, or somebody at work on the workflow
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ARTIFACT_WORDS = {"failed": "could not be copied", "pending": "still not copied"}


# --- Workers -----------------------------------------------------------------------------------------------------


def workers(user: User) -> Section | None:
    """Tell of queues that nobody works off: the most common trouble, and the reason of much of the rest."""
    if not may(user, "casts.view_cast"):
        return None
    now, troubles, alive = timezone.now(), [], False
    for path in settings.WORK:
        rows = import_string(path)().rows()
        late = rows.unclaimed(since=now - UNCLAIMED).aggregate(
            count=Count("pk"), since=Min(Coalesce("due_at", "lease_until"))
        )
        if late["count"]:
            troubles.append(queue_of(rows.model, **late))
        alive = alive or rows.filter(lease_until__gt=now).exists()
    return Section("Workers", tuple(troubles), alarm_of(troubles, alive=alive))


def queue_of(model: Any, *, count: int, since: dt.datetime) -> Trouble:
    """Return what to say of a queue with rows that nobody takes."""
    name, listing = str(model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural), ""
    if model is Cast:
        listing = listed("casts_cast", trouble="unclaimed")
    elif admin.site.is_registered(model):
        listing = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    what = f"{name} {'is' if count == 1 else 'are'} due, and no worker takes {'it' if count == 1 else 'them'}"
    return Trouble(what if count > 1 else f"One {what}", count, since, path=listing)


def alarm_of(troubles: list[Trouble], *, alive: bool) -> str:
    """Say in plain words what overdue rows mean."""
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
    """Return why a cast may wait that is trouble: what some runtime knows a remedy for."""
    return {reason for _, runtime in runtimes() for reason in runtime.words.remedies}


def with_route(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate casts with the `route` that their runtimes send them by, as text; blank if there is but one."""
    routes = [(kind, runtime.route) for kind, runtime in runtimes()]
    whens = [When(spell__runtime=kind, then=route.of_casts()) for kind, route in routes if route is not None]
    blank = Value("", output_field=CharField())
    found: QuerySet[Any] = casts.annotate(route=Case(*whens, default=blank) if whens else blank)
    return found


def judged(casts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate open casts with the `trouble` they are in, since when, and their installation; leave out the others."""
    now = timezone.now()
    # Our own deadlines end these two; what is here long after them is stuck.
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
    which = casts.filter(status__in=OPEN).alias(queued_since=queued_since, sent_at=sent_at)
    word = Case(*(When(when, then=Value(kind)) for kind, when, _ in kinds), default=Value(""))
    since = Case(*(When(when, then=then) for _, when, then in kinds))
    found: QuerySet[Any] = which.annotate(trouble=word, since=since).exclude(trouble="")
    return found


def casts_in(casts: QuerySet[Any], word: str) -> QuerySet[Any]:
    """Return the casts in one trouble, for the admin's list."""
    if word == "unclaimed":
        late = Cast.due_rows().filter(status__in=OPEN).unclaimed(since=timezone.now() - UNCLAIMED)
        return casts.filter(pk__in=late.values("pk"))
    return judged(casts).filter(trouble=word)


CastTroubles = trouble_filter(CAST_WORDS, casts_in)


def stuck_casts(user: User) -> Section | None:
    """Tell of open casts that do not move on, grouped so that ten thousand of one rate limit are one line."""
    if not may(user, "casts.view_cast"):
        return None
    allowed = may(user, "casts.change_cast")
    groups = grouped(
        with_route(judged(Cast.objects.all())),
        *("trouble", "status_reason", "route"),
        show=("message", "spell__key", "spell__runtime", "account__name"),
    )
    return Section("Casts", tuple(casts_trouble(group, allowed=allowed) for group in groups))


def casts_trouble(group: list[dict[str, Any]], *, allowed: bool) -> Trouble:
    """Return what to say of one group of stuck casts."""
    first = group[0]
    kind, reason, count = first["trouble"], first["status_reason"], first["counted"]
    runtime = runtime_for(first["spell__runtime"])
    words, route = runtime.words, runtime.route
    through = f", {route.said(first['route'])}" if route else ""
    same = {route.parameter: first["route"]} if route else {}
    listing = listed("casts_cast", trouble=kind, status_reason=reason, **same)
    casts = "cast" if count == 1 else "casts"
    what, advice = {
        "asleep": (f"{casts} that nobody is to look at ({as_words(reason)})", "A bug of ours; looking now mends it."),
        "cancelling": (
            f"{casts} cancelled, but not ended",
            f"A worker ends a cancelled cast without {words.name} after a while. Is one running, and what does its log "
            "say?",
        ),
        "collecting": (
            f"{casts} whose run has ended, still open",
            "A worker ends a cast without its artifacts after a while. Is one running, and what does its log say?",
        ),
        "waiting": (f"{casts} waiting: {as_words(reason)}", words.remedies.get(reason, "")),
        "no_runner": (f"{casts} waiting for a runner on {words.name}", words.no_runner),
    }[kind]  # fmt: skip
    return Trouble(
        f"{what}{through}",
        count,
        first["since"],
        why=first["message"],
        advice=advice,
        path=listing,
        buttons=buttons(allowed and count > 1, listing, look_now="Look at all now"),
        oldest=tuple(cast_row(row, first, allowed=allowed) for row in group),
        mild=kind == "no_runner",
    )


def cast_row(row: dict[str, Any], first: dict[str, Any], *, allowed: bool) -> Row:
    """Return one stuck cast; its message, if it is another than that of the first."""
    link = admin_link("admin:casts_cast_change", code(row["pk"]), row["pk"])
    why = f"{row['spell__key']} for {row['account__name']}"
    if row["message"] != first["message"]:
        why += f": {row['message']}"
    actions = {"look_now": "Look now"}
    if first["trouble"] not in ("cancelling", "collecting"):
        actions["cancel"] = "Cancel"
    return Row(link, row["since"], why, buttons(allowed, listed("casts_cast", id__exact=row["pk"]), **actions))


# --- Spells ------------------------------------------------------------------------------------------------------


def refusals() -> list[dict[str, Any]]:
    """Return, for each active spell that is refused every time, how often in a row, since when, and why.

    What was refused longer ago than RECENT is history.
    """
    recent = Cast.objects.filter(pk__gte=first_id(timezone.now() - RECENT), spell__active=True).order_by()
    refused = recent.filter(status_reason="dispatch_refused")
    often = refused.values("spell").annotate(counted=Count("pk")).filter(counted__gte=REFUSALS)
    suspects = [row["spell"] for row in often]
    if not suspects:
        return []
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
    """Return the spells in trouble, for the admin's list."""
    return spells.filter(pk__in=[row["spell"] for row in refusals()])


SpellTroubles = trouble_filter(SPELL_WORDS, refused_in)


def refused_spells(user: User) -> Section | None:
    """Tell of spells that are refused every time they start; one that is accepted takes the spell off the page."""
    if not (may(user, "casts.view_spell") and may(user, "casts.view_cast")):
        return None
    rows = refusals()
    spells = Spell.objects.in_bulk([row["spell"] for row in rows])
    return Section("Spells", tuple(refused_trouble(spells[row["spell"]], row) for row in rows))


def refused_trouble(spell: Spell, row: dict[str, Any]) -> Trouble:
    """Return what to say of one spell."""
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


def judged_artifacts(artifacts: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate artifacts that did not come in with their `trouble` and since when; leave out the others."""
    now, state = timezone.now(), Artifact.State
    ended = Coalesce("cast__finished_at", "cast__created_at")
    failed = Q(state=state.FAILED, since__gt=now - RECENT)
    pending = Q(state=state.PENDING, cast__finished_at__lt=now - COPIER_PATIENCE)
    missing = artifacts.filter(state__in=(state.PENDING, state.FAILED)).annotate(since=ended, trouble=F("state"))
    found: QuerySet[Any] = missing.filter(failed | pending)
    return found


def artifacts_in(artifacts: QuerySet[Any], word: str) -> QuerySet[Any]:
    """Return the artifacts in one trouble, for the admin's list."""
    return judged_artifacts(artifacts).filter(state=word)


ArtifactTroubles = trouble_filter(ARTIFACT_WORDS, artifacts_in)


def missing_artifacts(user: User) -> Section | None:
    """Tell of artifacts that failed, and of copies that are still outstanding long after their cast's end."""
    if not may(user, "casts.view_artifact"):
        return None
    allowed = may(user, "casts.change_artifact")
    groups = grouped(
        judged_artifacts(Artifact.objects.all()), "trouble", show=("name", "error", "cast_id", "cast__spell__runtime")
    )
    return Section("Artifacts", tuple(artifacts_trouble(group, allowed=allowed) for group in groups))


def artifacts_trouble(group: list[dict[str, Any]], *, allowed: bool) -> Trouble:
    """Return what to say of the artifacts in one trouble."""
    kind, count = group[0]["trouble"], group[0]["counted"]
    words = runtime_for(group[0]["cast__spell__runtime"]).words
    listing = listed("casts_artifact", trouble=kind)
    advice = {
        "failed": "Their casts have ended without them. Copy them again once the cause is mended: a larger "
        f"ARTIFACT_MAX_BYTES, for example. {words.artifact_failed}",
        "pending": f"{words.artifact_trouble} Workers try again, hourly in the end; their log says why.",
    }[kind]
    return Trouble(
        f"artifact{'' if count == 1 else 's'} {ARTIFACT_WORDS[kind]}",
        count,
        group[0]["since"],
        advice=advice,
        path=listing,
        buttons=buttons(allowed and count > 1, listing, copy_again="Copy all again"),
        oldest=tuple(artifact_row(row, allowed=allowed) for row in group),
    )


def artifact_row(row: dict[str, Any], *, allowed: bool) -> Row:
    """Return one missing artifact."""
    link = admin_link("admin:casts_artifact_change", row["name"], row["pk"])
    why = f"{row['error']} Of cast {row['cast_id']}".strip()
    path = listed("casts_artifact", id__exact=row["pk"])
    return Row(link, row["since"], why, buttons(allowed, path, copy_again="Copy again"))
