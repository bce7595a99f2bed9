"""A database that somebody works on was not restored."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from casts.models import Cast, WorkerProcess


@pytest.mark.django_db
def test_nothing_is_done_to_a_database_on_which_a_worker_works(cast: Cast, settings: Any) -> None:
    settings.RESTORED = ["casts.lifecycle.restored.look_for_runs_first"]
    worker = WorkerProcess.objects.create(name="w:1", threads=1, started_at=timezone.now(), seen_at=timezone.now())
    with pytest.raises(CommandError, match="stop web and workers"):
        call_command("restored")
    assert Cast.objects.filter(answer_lost_at=None).count() == 1
    WorkerProcess.objects.update(seen_at=timezone.now() - dt.timedelta(seconds=61))
    call_command("restored")
    assert Cast.objects.filter(answer_lost_at=None).count() == 0
    WorkerProcess.objects.filter(pk=worker.pk).update(seen_at=timezone.now())
    call_command("restored", stopped=True)
