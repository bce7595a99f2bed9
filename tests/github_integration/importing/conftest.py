"""A local GitHub as in the doctor's tests, asked by the importing code."""

from __future__ import annotations

import pytest

from github_integration.api import GitHub
from github_integration.importing import asking
from localgithub.world import World
from tests.github_integration.doctor.conftest import (  # noqa: F401
    _doctors_server,
    _one_proof,
    by_hand,
    hub,
    world,
    write,
)
from tests.github_integration.doubles import REPO


@pytest.fixture(autouse=True)
def _asked(hub: GitHub, world: World, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Be the App, in a repository with environments."""
    monkeypatch.setattr(asking, "github", lambda: hub)
    monkeypatch.setattr(world.repositories[REPO], "environments", ["staging", "production"])
