"""What waits for a worker, and which workers are alive."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Min
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from casts.models import Cast
from casts.workers import alive
from core.admin.attention import User, listed, may
from core.admin.dashboard import Figure, Panel, duration, figures, linked, listing


def queues(user: User) -> Panel | None:
    if not may(user, "casts.view_cast"):
        return None
    now = timezone.now()
    rows, waiting = [], 0
    for path in settings.WORK:
        queue = import_string(path)().rows()
        # Two questions, each with an index of its own: SQLite reads the whole table for both in one.
        due = queue.filter(due_at__lte=now, lease_until=None).aggregate(count=Count("pk"), oldest=Min("due_at"))
        held = queue.filter(lease_until__isnull=False).count()
        waiting += due["count"]
        age = duration((now - due["oldest"]).total_seconds()) if due["oldest"] else "-"
        rows.append([linked(list_of(queue.model, user), name_of(path)), f"{due['count']:,}", age, f"{held:,}"])
    threads = list(alive().values_list("threads", flat=True))
    told = [
        Figure("Workers alive", len(threads), bad=not threads),
        Figure("Their threads", f"{sum(threads):,}"),
        Figure("Rows due now", f"{waiting:,}"),
    ]
    table = listing("What is due and waits for a worker", ["Queue", "Due", "Oldest for", "At work"], rows, "")
    return Panel("Workers and queues", (figures(told), table))


def name_of(path: str) -> str:
    """Return a queue's name in words: casts.callbacks.delivery.CallbackWork is "Callback"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", path.rpartition(".")[2].removesuffix("Work")).capitalize()


def list_of(model: Any, user: User) -> str:
    if model is Cast:
        return listed("casts_cast", trouble="unclaimed")
    app, name = model._meta.app_label, model._meta.model_name
    if not admin.site.is_registered(model) or not may(user, f"{app}.view_{name}"):
        return ""
    return reverse(f"admin:{app}_{name}_changelist")
