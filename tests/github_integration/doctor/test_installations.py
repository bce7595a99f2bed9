"""Installations, and the repositories they reach."""

from __future__ import annotations

from typing import Any

import pytest

from github_integration.api import GitHub
from github_integration.doctor import installations
from github_integration.doctor.findings import About, Finding, Level
from localgithub.clock import now
from localgithub.world import World
from tests.github_integration.doubles import REPO

from .conftest import all_ok, event, is_bad, make, one

BARE = {"actions": "write", "metadata": "read"}


def check(hub: GitHub, number: int = 77, spells: Any = ()) -> list[Finding]:
    return list(installations.check(hub, hub.app.details(), number, spells))


def test_installation_that_is_there_works_and_has_accepted_everything(hub):
    found = check(hub)
    assert all_ok(found) == ["exists", "state", "permissions"]
    assert "demo" in found[0].message


def test_installation_that_is_not_there_is_a_problem_that_names_those_that_are(hub):
    is_bad(one(check(hub, 4711), "exists"), Level.PROBLEM, "77 (demo)", hint="GITHUB_APP_INSTALLATION_ID")


def test_suspended_installation_is_a_problem(hub, world: World):
    world.auth.suspended_at = now()
    is_bad(one(check(hub), "state"), Level.PROBLEM, "Suspended since 20", hint="Unsuspend")


def test_permission_that_the_owner_has_not_accepted_yet_is_a_problem_where_a_spell_needs_it(hub, world: World):
    world.config.permissions, world.config.wanted_permissions = BARE, BARE | {"contents": "write"}
    needing = one(check(hub, spells=[event()]), "permissions")
    is_bad(needing, Level.PROBLEM, "asks for contents: write by now", hint="accepts the new permissions")
    assert "/settings/installations/77" in needing.hint
    for spells in ([], [make()], [event(installation_id=78)]):
        is_bad(one(check(hub, spells=spells), "permissions"), Level.WARNING, hint="accepts the new permissions")


def test_actions_that_are_not_accepted_are_a_problem_for_every_spell(hub, world: World):
    world.config.permissions, world.config.wanted_permissions = {"actions": "read", "metadata": "read"}, BARE
    is_bad(one(check(hub, spells=[make()]), "permissions"), Level.PROBLEM, "actions: write", hint="Review request")


def test_installations_are_those_of_settings_and_spells_each_once(settings):
    settings.GITHUB_APP_INSTALLATION_ID = 5
    spells = [make(), make(), make(installation_id=None), make(installation_id=3)]
    assert installations.used(5, spells) == [3, 5, 77]
    settings.GITHUB_APP_INSTALLATION_ID = None
    assert installations.used(None, [make(installation_id=None)]) == []


# --- the spell's repository ------------------------------------------------------------------------------


def reach(github: GitHub, **fields: Any) -> Finding:
    return one(installations.reach(github, About("Spell greet"), make(**fields)), "repository")


def shows(world: World, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Have GitHub show the repository otherwise."""
    as_it_is = world.render.repository
    monkeypatch.setattr(world.render, "repository", lambda *given: as_it_is(*given) | facts)


def test_repository_of_the_installation_is_well(hub, by_hand):
    assert all_ok([reach(hub), reach(by_hand), reach(hub, repository=REPO.replace("demo", "Demo"))])


def test_repository_without_name_names_the_setting(hub, settings):
    settings.GITHUB_REPOSITORY = ""
    is_bad(reach(hub, repository=""), Level.PROBLEM, hint="GITHUB_REPOSITORY")


def test_repository_on_which_the_app_is_not_installed_is_a_problem(hub):
    is_bad(reach(hub, repository="demo/none"), Level.PROBLEM, "not installed on demo/none", hint="Repository access")


@pytest.mark.parametrize(("number", "said"), [(78, "the settings say 78"), (None, "none is set")])
def test_repository_of_another_installation_names_the_right_one(hub, settings, number, said):
    settings.GITHUB_APP_INSTALLATION_ID = None
    is_bad(reach(hub, installation_id=number), Level.PROBLEM, said, hint="GITHUB_APP_INSTALLATION_ID, to 77")


def test_repository_that_a_token_must_not_see_is_a_problem(by_hand):
    is_bad(reach(by_hand, repository="demo/none"), Level.PROBLEM, "Not Found", hint="GITHUB_TOKEN must be allowed")


def test_renamed_repository_names_its_new_name(hub, world, monkeypatch):
    shows(world, monkeypatch, full_name="demo/charms")
    is_bad(reach(hub), Level.PROBLEM, "called demo/charms now", hint="Write demo/charms")


def test_archived_repository_is_a_problem(hub, world, monkeypatch):
    shows(world, monkeypatch, archived=True)
    is_bad(reach(hub), Level.PROBLEM, "archived", hint="Unarchive")


def test_repository_for_which_github_gives_no_token_is_a_problem(hub, world, monkeypatch):
    monkeypatch.setattr(world.repositories[REPO].__class__, "name", "renamed")
    is_bad(reach(hub), Level.PROBLEM, "not accessible to the parent installation", hint="Was it renamed?")
