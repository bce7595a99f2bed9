"""Rows from before a migration, on a database that `manage.py migrate` brings up to date: see history/."""

from __future__ import annotations

from collections.abc import Callable

JOURNEY = """
import django
django.setup()
from tests.upgrade.history import journey
journey.there_and_back()
"""
WORK = """
import django
from django.conf import settings
settings.SPELL_RUNTIMES = dict.fromkeys(settings.SPELL_RUNTIMES, "tests.casts.fake.FakeRuntime")
django.setup()
from tests.upgrade.history import versions
versions.work()
"""


def test_what_every_release_stored_is_read_by_today_s_and_the_way_back_is_open(script: Callable[[str], str]) -> None:
    script(JOURNEY)
    script(WORK)
