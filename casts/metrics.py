"""What is measured of casts, queues, streams and callbacks."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count
from django.utils import timezone
from django.utils.module_loading import import_string

from casts.models import OPEN, Cast
from casts.workers import alive
from core.db.words import AmongWords
from core.queue.worker import queue_name
from core.telemetry.metrics import SLOW, Sample, counter, figure, gauge, histogram

OPEN_CASTS = figure("spell_casts", "Open casts.", "status", "spell", "runtime")
ACCEPTED = counter("spell_casts_accepted_total", "Casts that were accepted.", "spell", "runtime")
ENDED = counter("spell_casts_ended_total", "Casts that have ended, and why.", "spell", "runtime", "status", "reason")
QUEUE_SECONDS = histogram(
    "spell_cast_queue_seconds",
    "From a cast's acceptance to the start of its run; told when it has ended.",
    "runtime",
    buckets=SLOW,
)
RUN_SECONDS = histogram(
    "spell_cast_run_seconds",
    "From the start of a cast's run to the cast's end.",
    "spell",
    "runtime",
    buckets=SLOW,
)
DISPATCH_SECONDS = histogram(
    "spell_dispatch_seconds", "From a cast's acceptance to when its run is known.", "runtime", buckets=SLOW
)
DISPATCHES = counter(
    "spell_dispatches_total",
    "What the runtime said of dispatches: started (its run is named), taken (it is not), refused, not_now, unknown.",
    "runtime",
    "result",
)
FOLDS = counter(
    "spell_folds_total",
    "What observations of runs came to: changed, nothing_new, no_cast.",
    "outcome",
    known=(("changed",), ("nothing_new",), ("no_cast",)),
)

STREAMS = gauge(
    "spell_streams_open",
    "Who is being told of news: streams of one cast, of a list of casts, and requests that wait.",
    "kind",
    known=(("cast",), ("list",), ("wait",)),
)
FANOUT_SECONDS = histogram(
    "spell_stream_fanout_seconds", "From an event to when all streams of a process have its bytes."
)

DUE = figure("spell_queue_due", "Rows that are due and that no worker has claimed.", "queue")
OLDEST = figure("spell_queue_oldest_due_seconds", "For how long the oldest of these has been due.", "queue")
WORKERS = figure("spell_workers_alive", "Workers that were heard of in the last minute.")
ATTENTION = figure("spell_attention", "What “Needs attention” shows, by the function that tells of it.", "kind")

CALLBACKS = counter(
    "spell_callbacks_total",
    "Tries to send callbacks: delivered, again (to be tried again), failed or disabled (given up).",
    "result",
    known=(("delivered",), ("again",), ("failed",), ("disabled",)),
)
CALLBACK_SECONDS = histogram("spell_callback_seconds", "How long receivers of callbacks took.")

MOST_COUNTED = 100_000  # of a queue: more says no more


def open_casts() -> Iterator[Sample]:
    by = ("status", "spell__key", "spell__runtime")
    found = Cast.objects.filter(AmongWords("status", OPEN)).order_by().values_list(*by).annotate(Count("pk"))
    for status, spell, runtime, number in found:
        yield OPEN_CASTS.is_(number, status, spell, runtime)


def queues() -> Iterator[Sample]:
    """Yield the backlog of each queue; rounds, of which there is one row each, are queues by themselves."""
    now = timezone.now()
    for path in settings.WORK:
        # Two questions, each with an index of its own.
        due = import_string(path)().rows().filter(due_at__lte=now, lease_until=None).order_by("due_at")
        oldest = due.values_list("due_at", flat=True).first()
        yield DUE.is_(due[:MOST_COUNTED].count() if oldest else 0, queue_name(path))
        yield OLDEST.is_((now - oldest).total_seconds() if oldest else 0.0, queue_name(path))


def workers() -> Iterator[Sample]:
    yield WORKERS.is_(alive().count())


def ended(cast: Cast) -> None:
    runtime, spell = cast.spell.runtime, cast.spell.key
    ENDED.labels(spell, runtime, cast.status, cast.status_reason or "none").inc()
    if cast.started_at is not None and cast.finished_at is not None:
        QUEUE_SECONDS.labels(runtime).observe(max(0.0, (cast.started_at - cast.created_at).total_seconds()))
        RUN_SECONDS.labels(spell, runtime).observe(max(0.0, (cast.finished_at - cast.started_at).total_seconds()))


def run_known(cast: Cast) -> None:
    DISPATCH_SECONDS.labels(cast.spell.runtime).observe(max(0.0, (timezone.now() - cast.created_at).total_seconds()))
