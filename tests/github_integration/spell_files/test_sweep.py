"""What no webhook told is found in the list of an installation's repositories."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey
from casts.models import Cast, Spell
from github_integration.details import ListedRepository
from github_integration.models import Installation, RepositoryList, SpellRepository, WorkflowTarget
from github_integration.spell_files.sweep import TOO_SOON, ensure, update
from tests.casts.conftest import accept_cast

from .conftest import INSTALLATION, Hub, deliver, sweep, the_spell, work

pytestmark = pytest.mark.django_db
PLAIN = '[deploy]\nworkflow_file = "deploy.yml"\n'


def listing(hub: Hub, *, found: bool = True) -> None:
    """Have GitHub see what was committed, and list it."""
    hub.told()
    ensure()
    sweep()


def test_a_push_without_its_webhook_is_found(hub: Hub, other: Hub) -> None:
    commit = hub.commit(spells_toml=PLAIN)
    listing(hub)
    work()
    assert (hub.row().state, hub.row().commit) == ("applied", commit)
    assert (other.row().state, other.row().default_branch) == ("nothing", "main")
    SpellRepository.objects.update(looked_at=timezone.now() + TOO_SOON)
    with mock.patch("github_integration.spell_files.work.look") as looked:
        sweep()
        work()
    assert not looked.called  # nothing was pushed


def test_a_push_in_the_same_second_as_the_one_before_is_found(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    commit = hub.commit(spells_toml=PLAIN + 'name = "Second"\n')  # of which no webhook tells, nor the list another time
    before = hub.row()
    assert update(before, INSTALLATION, as_listed(before), moves=True)
    SpellRepository.due_rows().wake(pk=before.pk)
    work()
    assert (hub.row().commit, the_spell().name) == (commit, "Second")
    assert not update(settled(hub), INSTALLATION, as_listed(settled(hub)), moves=True)


def settled(hub: Hub) -> SpellRepository:
    """Return the repository as it is some minutes after its last push."""
    row = hub.row()
    assert row.looked_at is not None
    row.pushed_at = row.looked_at - TOO_SOON
    return row


def as_listed(row: SpellRepository) -> ListedRepository:
    return ListedRepository(row.number, row.name, row.default_branch, row.pushed_at)


def test_a_repository_out_of_reach_loses_its_spells_and_gets_them_back(hub: Hub, api_key: ApiKey) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    cast = accept_cast(api_key=api_key, spell=the_spell(), input={"where": "staging", "times": 1})
    hub.server.world.apps.chosen = ["octo-org/other"]
    listing(hub)
    work()
    assert (hub.row().state, the_spell().active) == ("gone", False)
    assert Cast.objects.get(pk=cast.pk).status == "queued"
    hub.server.world.apps.chosen = None
    listing(hub)
    work()
    assert (hub.row().state, the_spell().active) == ("applied", True)


def test_an_app_that_may_not_read_files_is_asked_for_nothing_more(hub: Hub) -> None:
    hub.permit(contents=None)
    ensure()
    sweep()
    assert "needs Contents: read" in RepositoryList.objects.get().error
    assert not SpellRepository.objects.exists()


def test_permission_that_is_withdrawn_leaves_spells_as_they_are(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    hub.permit(contents=None)
    deliver("push", hub.told() | {"after": hub.commit(spells_toml="nonsense")})
    work()
    row = hub.row()
    assert (row.state, the_spell().active) == ("applied", True)
    assert "Contents: read" in row.trouble
    hub.permit(contents="read")
    deliver("push", hub.told())
    work()
    assert (hub.row().state, hub.row().trouble) == ("refused", "")


def test_a_branch_that_is_renamed_is_followed(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    hub.git("branch", "-m", "main", "trunk")
    hub.commit(spells_toml=PLAIN + "name = 'x'\n")
    repository = hub.server.world.repositories[hub.name]
    repository.look_again()
    SpellRepository.due_rows().wake()
    work()
    assert (hub.row().default_branch, the_spell().name) == ("trunk", "x")
    assert WorkflowTarget.of(the_spell()).ref == "trunk"


def test_a_repository_that_is_renamed_takes_its_spells_along(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    SpellRepository.objects.update(name="octo-org/old-name", basis="of the old name")
    WorkflowTarget.objects.update(repository="octo-org/old-name")
    listing(hub)
    work()
    target = WorkflowTarget.of(the_spell())
    assert (hub.row().name, target.repository) == ("octo-org/spells", "octo-org/spells")
    assert target.declared_inputs is not None


def test_an_installation_that_is_removed_takes_its_spells_with_it(hub: Hub, account: Account) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    number = hub.row().number
    body: dict[str, Any] = {"action": "deleted", "installation": {"id": INSTALLATION, "account": {"login": "octo-org"}}}
    deliver("installation", body)
    work()
    assert (hub.row().state, the_spell().active) == ("gone", False)
    assert hub.row().number == number
    # Installed again it has another number, and another owner perhaps; the repository is the same.
    Installation.objects.create(pk=78, account=account)
    SpellRepository.objects.update(looked_at=None)
    hub.server.config.installation_id = 78
    from github_integration.spell_files import sweep as sweeping

    sweeping.refresh(78)
    work()
    assert (hub.row().state, the_spell().active) == ("applied", True)
    assert WorkflowTarget.of(the_spell()).installation_id == 78


def test_commits_that_no_server_shows_yet_deactivate_nothing(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    faults = hub.server.world.faults
    hub.commit(spells_toml=PLAIN + "name = 'x'\n")
    with mock.patch("github_integration.commits.CommitCalls.folder", return_value=[]):
        deliver("push", hub.told())
        work()
    assert the_spell().active
    assert "does not show yet" in hub.row().trouble
    faults.reset()


def test_many_repositories_are_looked_at_one_after_the_other(hub: Hub) -> None:
    from github_integration.details import ListedRepository
    from github_integration.spell_files.sweep import note

    some = [ListedRepository(number, f"octo-org/r{number}", "main", None) for number in range(1, 101)]
    assert note(INSTALLATION, some) == 100
    due = list(SpellRepository.objects.order_by("number").values_list("due_at", flat=True))
    assert len(set(due[:20])) == 1
    first, last = due[0], due[-1]
    assert first is not None
    assert last is not None
    assert (last - first).total_seconds() == 80 * 5
    assert Spell.objects.count() == 0
