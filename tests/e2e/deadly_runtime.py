"""A runtime that ends the process of whoever starts a cast of "die", as the system does for want of memory."""

from __future__ import annotations

import os
import signal

from casts.models import Cast
from casts.runtime import Turn
from core.queue import poison
from github_integration.runtime import WorkflowDispatch

poison.WAITS = (0, 0, 0, 0)  # in production up to ten minutes


class Deadly(WorkflowDispatch):
    def book(self, cast: Cast) -> Turn:
        if cast.input.get("word") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().book(cast)
