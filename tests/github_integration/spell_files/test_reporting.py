"""Commits are told what became of their spell files: once, as far as the App may."""

from __future__ import annotations

from unittest import mock

import pytest

from github_integration import commits
from github_integration.models import Installation, SpellRepository
from github_integration.spell_files import applying
from github_integration.spell_files import work as working
from github_integration.spell_files.sweep import ensure

from .conftest import INSTALLATION, LEASE, Hub, skip_waits, sweep, work

pytestmark = pytest.mark.django_db
PLAIN = '[deploy]\nworkflow_file = "deploy.yml"\n'


class Killed(BaseException):
    """The worker is gone."""


def die_in(method: str, *, after: bool) -> mock._patch[object]:
    """Have the worker die in a call to GitHub, before it is sent or after it was carried out."""
    real = getattr(commits.CommitCalls, method)

    def call(*args: object, **options: object) -> object:
        if after:
            real(*args, **options)
        raise Killed

    return mock.patch.object(commits.CommitCalls, method, call)


def recovered() -> None:
    """Let the lease of the dead worker run out."""
    rows = SpellRepository.due_rows().exclude(lease_until=None)
    assert rows.count() == 1
    rows.update(lease_until="2026-01-01T00:00:00Z")
    assert SpellRepository.due_rows().recover() == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_between_applying_and_telling_leaves_one_check_run(hub: Hub, after: bool) -> None:
    many = "".join(f"[s{number}]\nx = 1\nworkflow_file = 'deploy.yml'\n" for number in range(120))
    commit = hub.push(spells_toml=many)
    with die_in("add_check_run", after=after), pytest.raises(Killed):
        work()
    recovered()
    work()
    [check] = hub.checks()
    assert (check["sha"], check["conclusion"]) == (commit, "failure")
    assert len(check["annotations"]) == 120
    assert len({one["message"] for one in check["annotations"]}) == 120
    assert hub.row().reported == "check_run"


def test_a_worker_that_dies_before_applying_leaves_nothing_half_done(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    with mock.patch.object(applying, "_apply", side_effect=Killed), pytest.raises(Killed):
        work()
    assert hub.row().state == "new"
    recovered()
    work()
    assert hub.row().state == "applied"


def test_one_who_has_lost_the_claim_changes_nothing(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    [row] = SpellRepository.due_rows().claim(limit=1, lease=LEASE)
    SpellRepository.due_rows().update(lease_until="2026-01-01T00:00:00Z")
    SpellRepository.due_rows().recover()
    working.SpellRepositoryWork().step(row)
    assert (hub.row().state, hub.checks()) == ("new", [])
    work()
    assert hub.row().state == "applied"


def test_without_checks_it_is_a_status_and_without_both_only_the_admin(hub: Hub) -> None:
    hub.permit(checks="read")
    bad = hub.push(spells_toml="[a]\nname = 'x'\n")
    work()
    [status] = hub.statuses()
    assert (status["sha"], status["state"], status["context"]) == (bad, "failure", "Spell Platform")
    assert status["description"].startswith("Not applied: 1 mistake. .github/spells.toml, line 1: a: workflow_file")
    assert len(status["description"]) <= 140
    assert Installation.objects.get(pk=INSTALLATION).reports_by == "status"
    hub.permit(statuses=None)
    hub.push(spells_toml=PLAIN)
    work()
    assert (hub.row().reported, hub.row().state, len(hub.statuses())) == ("nowhere", "applied", 1)
    with die_in("add_check_run", after=False):  # nobody asks again at each push
        hub.push(spells_toml=PLAIN + "name = 'x'\n")
        work()
    hub.permit(checks="write")
    ensure()
    sweep()  # which learns of it
    hub.push(spells_toml=PLAIN)
    work()
    assert [one["conclusion"] for one in hub.checks()] == ["success"]


def test_trouble_with_telling_holds_up_nothing(hub: Hub) -> None:
    faults = hub.server.world.faults
    faults.update({"api": {"error_5xx": 1.0, "paths": "check-runs$", "methods": ["POST"]}})
    commit = hub.push(spells_toml=PLAIN)
    with mock.patch("github_integration.transport.time.sleep"):
        work()
    assert (hub.row().state, hub.row().reported) == ("applied", "begun")
    faults.reset()
    skip_waits()
    work()
    assert [one["sha"] for one in hub.checks()] == [commit]
