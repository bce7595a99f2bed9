from collections.abc import Iterator

import pytest

from spellplatform.demo import spells_file
from tests.e2e.platform import Platform, platform


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with the demo's spells, for one module."""
    with platform(tmp_path_factory.mktemp("platform"), spells=spells_file().read_text()) as running:
        yield running
