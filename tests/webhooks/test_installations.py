"""What deliveries about the App's installations do."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from casts.models import Cast
from github_integration.models import Installation, SpellRepository, WorkflowTarget
from webhooks.models import Delivery

from .conftest import deliver, sample, stored

pytestmark = pytest.mark.django_db


def tell(action: str, **about: Any) -> Installation:
    body = sample(f"installation.{action}")
    body["installation"] |= {"id": 77} | about
    assert deliver("installation", body).status_code == 202
    assert (stored().outcome, stored().error) == (Delivery.Outcome.APPLIED, "")
    return Installation.objects.get(pk=77)


def test_new_installation_is_noted_with_its_owner() -> None:
    found = tell("created", account={"login": "octo-org"})
    assert (found.account_login, found.suspended_at, found.removed_at) == ("octo-org", None, None)


def test_suspended_installation_is_noted_and_freed_again() -> None:
    tell("created")
    suspended = tell("suspend").suspended_at
    assert suspended is not None
    assert suspended.tzinfo is not None
    assert tell("unsuspend", suspended_at=None).suspended_at is None


def test_end_of_a_suspension_ends_its_pause_and_wakes_who_waits_for_it(cast) -> None:
    tell("created")
    tell("suspend")
    later = timezone.now() + dt.timedelta(minutes=1)
    Installation.objects.update(paused_until=later, pause_reason=Installation.Pause.SUSPENDED)
    WorkflowTarget.objects.update(installation_id=77)
    Cast.objects.filter(pk=cast.pk).update(status_reason="installation_suspended", due_at=later)
    found = tell("unsuspend", suspended_at=None)
    assert (found.paused_until, found.pause_reason) == (None, "")
    due_at = Cast.objects.get(pk=cast.pk).due_at
    assert due_at is not None
    assert due_at <= timezone.now()


def test_end_of_a_suspension_ends_no_rate_limit(cast) -> None:
    tell("suspend")
    later = timezone.now() + dt.timedelta(minutes=1)
    Installation.objects.update(paused_until=later, pause_reason=Installation.Pause.RATE_LIMITED)
    Cast.objects.filter(pk=cast.pk).update(status_reason="rate_limited", due_at=later)
    assert tell("unsuspend", suspended_at=None).paused_until == later
    assert Cast.objects.get(pk=cast.pk).due_at == later  # of another installation


def test_removed_installation_is_noted_and_may_come_back() -> None:
    tell("created")
    assert tell("deleted").removed_at is not None
    assert tell("created").removed_at is None


def test_new_permissions_leave_it_as_it_was() -> None:
    tell("created")
    found = tell("new_permissions_accepted")
    assert (found.suspended_at, found.removed_at) == (None, None)


def test_pause_outlives_news_of_the_installation() -> None:
    until = timezone.now()
    Installation.objects.create(pk=77, paused_until=until, pause_message="slow down")
    found = tell("suspend")
    assert (found.paused_until, found.pause_message) == (until, "slow down")


def test_dates_as_seconds_are_read() -> None:
    found = tell("suspend", suspended_at=1_606_000_000)
    assert found.suspended_at is not None
    assert found.suspended_at.year == 2020


@pytest.mark.parametrize("account", [None, {}, {"login": None}, {"slug": "big-enterprise"}])
def test_installation_of_nobody_we_can_name_is_noted(account: Any) -> None:
    assert tell("created", account=account).account_login == ""


@pytest.mark.parametrize("name", ["added", "removed"])
def test_repositories_that_come_are_looked_at_and_those_that_go_are_marked(name: str) -> None:
    body = sample(f"installation_repositories.{name}")
    told = body[f"repositories_{name}"]
    installation = Installation.objects.create(pk=body["installation"]["id"])
    if name == "removed":
        rows = [SpellRepository(number=one["id"], installation=installation, name=one["full_name"]) for one in told]
        SpellRepository.objects.bulk_create(rows)
    assert deliver("installation_repositories", body).status_code == 202
    assert stored().outcome == Delivery.Outcome.APPLIED
    rows = list(SpellRepository.objects.exclude(due_at=None))
    assert {row.number for row in rows} == {one["id"] for one in told}
    assert [row.gone_at is not None for row in rows] == [name == "removed"] * len(told)


def test_installation_without_an_id_is_kept_as_refused() -> None:
    assert deliver("installation", {"action": "created", "installation": {}}).status_code == 202
    assert (stored().outcome, stored().error, stored().due_at) == ("refused", "KeyError: 'id'", None)
