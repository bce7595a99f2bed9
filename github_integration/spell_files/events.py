"""What webhooks tell of repositories: that they are to be looked at. Each is called in the delivery's transaction."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from core.queue import wakeups
from github_integration import details, wire
from github_integration.models import RepositoryList, SpellRepository
from github_integration.spell_files import sweep, work

Payload = dict[str, Any]
BRANCH = "refs/heads/"


def is_kept(payload: Payload) -> bool:
    """Whether a push is to the default branch: others change no spell."""
    repository = payload.get("repository")
    branch = repository.get("default_branch") if isinstance(repository, dict) else None
    return bool(branch) and payload.get("ref") == f"{BRANCH}{branch}"


def pushed(payload: Payload) -> bool:
    """Have a repository looked at; return whether it can be one of ours."""
    installation, seen = wire.whole(payload["installation"]["id"]), listed(payload["repository"])
    sweep.note(installation, [seen], moves=False)
    rows = SpellRepository.due_rows().filter(number=seen.number, installation=installation)
    after = wire.plain(payload.get("after"))
    if len(after) in (40, 64) and after.strip("0") and seen.pushed_at:
        # Not that of an older push which comes late: the head is long past it.
        newer = rows.filter(named_at=None) | rows.filter(named_at__lte=seen.pushed_at)
        newer.update(named_commit=after, named_at=seen.pushed_at, looks_for_named=0)
    return bool(work.wake(rows))


def changed(payload: Payload) -> bool:
    """Note that a repository was renamed, has another default branch, or is gone."""
    installation, seen = wire.whole(payload["installation"]["id"]), listed(payload["repository"])
    if payload.get("action") in ("deleted", "transferred"):
        return bool(sweep.lost(installation, [seen.number]))
    rows = SpellRepository.due_rows().filter(number=seen.number, installation=installation)
    if not rows.exists():
        return False
    sweep.note(installation, [seen], moves=False)
    return bool(work.wake(rows))


def installed(payload: Payload, *, installation: int, removed: bool) -> None:
    """Note which repositories an installation begins with, or that it has ended."""
    if removed:
        sweep.lost(installation, None)
        return
    found = [one for one in map(details.listed_repository, payload.get("repositories") or []) if one is not None]
    sweep.note(installation, found)
    list_now(installation)


def repositories_changed(payload: Payload) -> bool:
    """Note which repositories came to an installation, and which went."""
    installation = wire.whole(payload["installation"]["id"])
    told = {name: payload.get(f"repositories_{name}") or [] for name in ("added", "removed")}
    added, removed = (
        [one for one in map(details.listed_repository, told[name]) if one is not None] for name in ("added", "removed")
    )
    sweep.note(installation, added)
    lost = sweep.lost(installation, [one.number for one in removed])
    list_now(installation)
    return bool(added or lost)


def list_now(installation: int) -> None:
    """Have the repositories listed, which tells more of them, and what the App may do."""
    RepositoryList.due_rows().filter(installation=installation).wake()
    transaction.on_commit(wakeups.work_is_due)


def listed(repository: Any) -> details.ListedRepository:
    """Return what a body says of its repository. Raise ValueError."""
    found = details.listed_repository(repository)
    if found is None:
        raise ValueError("the body names no repository")
    return found
