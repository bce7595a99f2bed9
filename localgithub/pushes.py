"""Pushes: who listens is told when the head of a branch has changed."""

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from .answers import ApiError
from .clock import iso, now
from .git import NOTHING, Commit
from .repositories import Repository
from .shapes import JSON

if TYPE_CHECKING:
    from .world import World

logger = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
_ID = re.compile(r"[0-9a-f]{40}$")
MAX_COMMITS = 2048  # commits that GitHub names in one push


class Pushes:
    """Knows which heads have been told, and tells of others when asked or, with --watch-pushes, by itself."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._told: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        for repository in self.world.repositories.values():
            self._told[repository.full_name] = dict(repository.refs)
        if self.world.config.watch_pushes:
            threading.Thread(target=self._watch, name="pushes", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def push(
        self, repository: Repository, branch: str, *, after: str | None = "", before: str = "", deliver: Any = True
    ) -> JSON:
        """Tell of a branch; `after` empty: of its head, None: of its end. Raise ApiError (422) for an unknown one."""
        ref = f"refs/heads/{branch}"
        if before and not _ID.match(before):
            raise ApiError(422, f"{before} is no commit's id")
        repository.look_again()
        with self._lock:
            told = self._told.setdefault(repository.full_name, {})
            head = NOTHING if after is None else repository.commit(after or ref)
            if head is None:
                raise ApiError(422, f"No commit found for the ref {after or ref}")
            parents = repository.read_commit(head).parents if head != NOTHING else []
            start = before or told.get(ref) or NOTHING
            if start == head and not before:  # told again, as if its newest commit had just come
                start = parents[0] if parents else NOTHING
            told[ref] = head
            repository.pushed_at = now()
        payload = self._payload(repository, ref, start, head)
        if deliver != "lose":
            self.world.tell("push", payload, repository, deliver=bool(deliver))
        return {"ref": ref, "before": start, "after": head}

    def look(self) -> None:
        """Tell of every branch whose head is another than was told."""
        for repository in self.world.repositories.values():
            repository.look_again()
            told, heads = self._told.get(repository.full_name, {}), dict(repository.refs)
            for ref in sorted({*told, *heads}):
                if ref.startswith("refs/heads/") and told.get(ref) != heads.get(ref):
                    self.push(repository, ref.removeprefix("refs/heads/"), after=heads.get(ref))
                    if ref not in heads:
                        told.pop(ref, None)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                logger.exception("looking for pushes")

    def _payload(self, repository: Repository, ref: str, before: str, after: str) -> JSON:
        git, render = repository.git, self.world.render
        home = f"{self.world.config.base_url}/{repository.full_name}"
        deleted, created = after == NOTHING, before == NOTHING
        known = not created and git.text("cat-file", "-t", before) == "commit"
        # Of a new branch GitHub names what no other branch has; its newest commit is enough here.
        found = [] if deleted else git.commits(before, after, MAX_COMMITS if known else 1)
        commits = [self._commit(repository, one) for one in found]
        head = None if deleted else self._commit(repository, repository.read_commit(after))
        shown = render.repository(repository)
        moments = {name: int(getattr(repository, name).timestamp()) for name in ("created_at", "pushed_at")}
        pusher = self.world.config.person
        body = {
            "ref": ref,
            "before": before,
            "after": after,
            "base_ref": None,
            "created": created,
            "deleted": deleted,
            "forced": known and not deleted and not git.contains(after, before),
            "compare": f"{home}/compare/{before[:12]}...{after[:12]}",
            "commits": commits,
            "head_commit": head,
            "repository": shown
            | moments
            | {"stargazers": 0, "master_branch": repository.default_branch, "url": home, "license": None},
            "pusher": {"name": pusher, "email": f"{pusher}@localhost"},
            "sender": render.user(pusher),
        }
        if shown["owner"]["type"] == "Organization":
            owner = render.user(repository.owner)
            body["organization"] = {
                **{name: owner[name] for name in ("login", "id", "node_id", "url", "repos_url", "events_url")},
                **{f"{name}_url": f"{owner['url']}/{name}" for name in ("hooks", "issues")},
                "members_url": f"{owner['url']}/members{{/member}}",
                "public_members_url": f"{owner['url']}/public_members{{/member}}",
                "avatar_url": owner["avatar_url"],
                "description": None,
            }
        return body

    def _commit(self, repository: Repository, commit: Commit) -> JSON:
        def person(who: Any) -> JSON:
            return {"name": who.name, "email": who.email, "date": iso(who.at), "username": who.name}

        return {
            "id": commit.sha,
            "tree_id": commit.tree,
            "distinct": True,
            "message": commit.message,
            "timestamp": iso(commit.committer.at),
            "url": f"{self.world.config.base_url}/{repository.full_name}/commit/{commit.sha}",
            "author": person(commit.author),
            "committer": person(commit.committer),
            **repository.git.changes(commit.sha),
        }
