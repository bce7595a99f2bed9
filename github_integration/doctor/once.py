"""Asking GitHub each question once, however many spells share a workflow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from github_integration import errors
from github_integration.api import App, GitHub, Repository


def asking_once(github: GitHub, *, seconds: float | None = None) -> GitHub:
    """Return a GitHub that remembers what it was asked, errors too. For questions only.

    After so many `seconds` it is asked nothing new: that raises Unavailable.
    """
    until = None if seconds is None else time.monotonic() + seconds
    return cast("GitHub", _Remembering(github, until))


class _Remembering:
    """Stands for a GitHub, its App or one of its repositories."""

    def __init__(self, asked: GitHub | App | Repository, until: float | None) -> None:
        self._asked, self._until = asked, until
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._asked, name)
        if isinstance(found, App):
            return self._once((name,), lambda: found)
        if not callable(found):
            return found
        return lambda *args, **options: self._once(
            (name, args, tuple(options.items())), lambda: found(*args, **options)
        )

    def _once(self, key: Any, ask: Callable[[], Any]) -> Any:
        if key not in self._known:
            if self._until is not None and time.monotonic() > self._until:
                raise errors.Unavailable("GitHub's answers took too long, all together")
            try:
                answer = ask()
            except errors.GitHubError as exc:
                answer = exc
            self._known[key] = _Remembering(answer, self._until) if isinstance(answer, App | Repository) else answer
        if isinstance(self._known[key], errors.GitHubError):
            raise self._known[key]
        return self._known[key]
