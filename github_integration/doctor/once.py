"""Asking GitHub each question once, however many spells share a workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from github_integration import errors
from github_integration.client import GitHub


def asking_once(github: GitHub) -> GitHub:
    """Return a GitHub that remembers what it was asked, errors too. For questions only."""
    return cast("GitHub", _Remembering(github))


class _Remembering:
    def __init__(self, github: GitHub) -> None:
        self._github = github
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._github, name)
        return self._asking(name, found) if callable(found) else found

    def _asking(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **options: Any) -> Any:
            key = (name, args, tuple(options.items()))
            if key not in self._known:
                try:
                    self._known[key] = call(*args, **options)
                except errors.GitHubError as exc:
                    self._known[key] = exc
            if isinstance(self._known[key], errors.GitHubError):
                raise self._known[key]
            return self._known[key]

        return ask
