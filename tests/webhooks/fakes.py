"""A runtime without a GitHub, for what a worker does after the webhooks."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone

from casts.runtime import Failure, Observation


class Quiet:
    """Every run is as the webhooks told, and left nothing."""

    def book(self, cast: Any, call: Any) -> dt.datetime:
        return timezone.now()

    def start(self, cast: Any, *, before: Any) -> None:
        return None

    def find(self, cast: Any) -> None:
        return None

    def observe(self, cast: Any) -> Observation:
        return Observation(cast.repository, cast.run_id)

    def cancel(self, cast: Any, *, force: bool) -> None:
        return None

    def failure(self, cast: Any) -> Failure:
        return Failure()

    def artifacts(self, cast: Any) -> list[Any]:
        return []
