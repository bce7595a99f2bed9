"""The queue has no rows of its own: casts stand for them."""

from tests.casts.conftest import cast, clock, make_cast, runtime  # noqa: F401 - fixtures
