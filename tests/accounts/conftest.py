"""A client and a clock, as the casts' tests have them."""

from tests.casts.conftest import api, clock  # noqa: F401
