"""What was remarked on a run's jobs, asked for once, when its cast ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import responses
from django.utils import timezone

from casts.models import Cast
from casts.runtime import Annotation, Failure, NotNow
from github_integration import quota, remarks, wire
from github_integration.models import PERSONAL, Installation
from github_integration.runtime import WorkflowDispatch

from .test_runtime import BASE, SAID, _github_com, annotated, annotation, failed, job  # noqa: F401 - autouse

pytestmark = pytest.mark.django_db
SUITE = f"{BASE}/check-suites/55/check-runs"
DONE = {"attempt": 1, "status": "completed", "conclusion": "success", "run_started_at": None, "remarks": "55"}
ODD = "Odd: \x1b[31m\x00\ud800 ghs_" + "a" * 40


def counted(http: responses.RequestsMock, counts: dict[int, Any]) -> None:
    runs = [{"id": number, "output": {"annotations_count": count}} for number, count in counts.items()]
    http.get(SUITE, json={"total_count": len(runs), "check_runs": runs})


def told(cast: Cast, **heard: Any) -> Any:
    return WorkflowDispatch().remarks(cast, Failure(**heard))


def ended(make_cast: Callable[..., Cast], *jobs: dict[str, Any]) -> Cast:
    return failed(make_cast, *jobs, observation=DONE)


def test_one_job_is_asked_alone_and_what_says_nothing_is_left_out(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    old = "Node.js 20 actions are deprecated. The following actions are running on Node.js 20:\nactions/checkout@v4."
    said = [annotation("slow", "warning", "src/a.py", 7, "Speed"), annotation(old, "warning"), annotation(ODD, "odd")]
    annotated(http, 1, *said, annotation("Process completed with exit code 1."))
    [slow, odd] = told(ended(make_cast, job(1, "success"), job(9, "skipped")))
    assert slow == Annotation("slow", "warning", "Speed", "src/a.py", 7, "job 1")
    assert (odd.level, "\x00" in odd.message, "\ud800" in odd.message, "ghs_a" in odd.message) == ("notice",) + (
        False,
    ) * 3
    assert len(http.calls) == 1


def test_of_several_jobs_those_are_asked_that_have_some_failed_ones_first_and_few(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    counted(http, dict.fromkeys(range(1, 9), 2) | {3: 0})
    for number in range(1, 9):
        annotated(http, number, annotation(f"said {number}", "notice"))
    jobs = [job(number, "failure" if number == 8 else "success") for number in range(1, 9)]
    found = told(ended(make_cast, *jobs))
    assert [(one.message, one.job) for one in found] == [(f"said {n}", f"job {n}") for n in (1, 2, 4, 5, 8)]
    assert len(http.calls) == 6


def test_what_was_heard_of_the_failed_job_is_not_asked_again(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = ended(make_cast, job(1, "success"), job(2, "failure", ("test", "failure")))
    annotated(http, 1, annotation("by the way", "notice"))
    annotated(http, 2, annotation("it broke"), annotation("and so", "warning"))
    http.get(f"{BASE}/actions/jobs/2/logs", json=SAID, status=404)
    Cast.objects.filter(pk=cast.pk).update(run_finished_at=timezone.now() - dt.timedelta(hours=1))
    cast.refresh_from_db()
    failure = WorkflowDispatch().failure(cast)
    found = WorkflowDispatch().remarks(cast, failure)
    assert [(one.message, one.level, one.job) for one in found or ()] == [
        ("by the way", "notice", "job 1"),
        ("it broke", "error", "job 2"),
        ("and so", "warning", "job 2"),
    ]
    assert [call.request.path_url.count("/annotations") for call in http.calls] == [1, 0, 1]


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({}, {}),
        ({"check_runs": None}, {}),
        ({"check_runs": [1, {}, {"id": "1", "output": {"annotations_count": 1}}, {"id": 2, "output": None}]}, {}),
        ({"check_runs": [{"id": 2, "output": {"annotations_count": 3}}]}, {2: 3}),
    ],
    ids=str,
)
def test_counts_are_read_with_tongs(body: Any, counts: dict[int, int]) -> None:
    assert wire.annotations_counted(body) == counts


@pytest.mark.parametrize("status", [403, 404, 422])
def test_what_may_not_be_known_is_null_and_the_permission_is_not_asked_for_again(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, status: int
) -> None:
    http.get(SUITE, json=SAID, status=status)
    cast = ended(make_cast, job(1, "success"), job(2, "success"))
    assert [told(cast), told(cast)] == [None, None]
    assert len(http.calls) == (1 if status == 403 else 2)  # 404 and 422 may be of this run alone


@pytest.mark.parametrize("status", [429, 500, 502])
def test_trouble_is_not_tried_again(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    annotated(http, 1, status=status)
    with pytest.raises(NotNow):
        told(ended(make_cast, job(1, "success")))
    assert (len(http.calls), naps) == (1, [])


def test_while_requests_must_be_spared_none_is_asked_for(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = ended(make_cast, job(1, "success"))
    quota.known(PERSONAL)
    Installation.objects.update(looks_booked_until=timezone.now() + dt.timedelta(hours=2))
    with pytest.raises(NotNow):
        told(cast)
    assert len(http.calls) == 0


def test_so_long_and_no_longer(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remarks, "AT_ONCE", dt.timedelta(seconds=-1))
    with pytest.raises(NotNow):
        told(ended(make_cast, job(1, "success")))
    assert len(http.calls) == 0
