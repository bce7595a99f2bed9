"""What we ask of a repository's commits: what is in them, and that they are told what became of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import requests

from github_integration import details, errors, wire
from github_integration.details import CheckRun, Entry
from github_integration.transport import Call, json_of, object_of

READ_CONTENTS = (("contents", "read"),)
WRITE_CHECKS = (("checks", "write"),)
WRITE_STATUSES = (("statuses", "write"),)
Permissions = tuple[tuple[str, str], ...]


class CommitCalls:
    """The part of `api.Repository` that is about commits."""

    def head(self, branch: str) -> str:
        """Return the id of a branch's newest commit. Needs the permission Contents: read.

        Raise NotFound or Refused if there is no such branch, Conflict if there is no commit at all.
        """
        call = Call("GET", self._path("commits", "heads", *branch.split("/")), accept=wire.AS_ID)
        return wire.plain(self._send(call, READ_CONTENTS).text).strip()

    def folder(self, path: str, ref: str) -> list[Entry]:
        """Return what a folder holds, a thousand entries at most; nothing if it isn't there, or is no folder.

        Raise NotFound if the commit isn't there.
        """
        try:
            answer = self._send(Call("GET", self._path("contents", *path.split("/")), {"ref": ref}), READ_CONTENTS)
        except errors.NotFound as exc:
            if "no commit found" in str(exc).lower():
                raise
            return []
        listed = json_of(answer)
        return [details.entry(one) for one in listed] if isinstance(listed, list) else []

    def file_bytes(self, path: str, ref: str, *, most_bytes: int) -> bytes:
        """Return a file. Raise NotFound, or ValueError, whose text says why it can't be had."""
        call = Call("GET", self._path("contents", *path.split("/")), {"ref": ref})
        found = json_of(self._send(call, READ_CONTENTS))
        if not isinstance(found, dict):
            raise ValueError("it is no file")
        return details.file_content(found, most_bytes=most_bytes)

    def set_status(self, commit: str, *, state: str, context: str, description: str) -> None:
        """Set a commit's status in one context. Needs the permission Commit statuses: write."""
        body = {"state": state, "context": context, "description": description}
        self._send(Call("POST", self._path("statuses", commit), json=body), WRITE_STATUSES)

    def add_check_run(self, commit: str, *, name: str, key: str, conclusion: str, output: dict[str, Any]) -> int:
        """Add a check run that has ended; return its number. Needs the permission Checks: write.

        Not repeated: a lost answer may hide one that was made; `check_runs` finds it by its `key`.
        """
        body = {"name": name, "head_sha": commit, "external_id": key, "status": "completed", "conclusion": conclusion}
        call = Call("POST", self._path("check-runs"), json=body | {"output": output}, before=soon())
        return details.check_run(object_of(self._send(call, WRITE_CHECKS))).id

    def annotate(self, check_run: int, output: dict[str, Any]) -> None:
        """Add annotations to a check run of ours; those that it has stay. Not repeated: they would be there twice."""
        path = self._path("check-runs", check_run)
        self._send(Call("PATCH", path, json={"output": output}, before=soon()), WRITE_CHECKS)

    def check_runs(self, commit: str, name: str) -> list[CheckRun]:
        """Return the check runs of that name on a commit, a hundred at most."""
        query = {"check_name": name, "filter": "all", "per_page": 100}
        answer = object_of(self._send(Call("GET", self._path("commits", commit, "check-runs"), query), WRITE_CHECKS))
        return [details.check_run(one) for one in answer.get("check_runs") or []]

    def _path(self, *parts: str | int) -> str:
        raise NotImplementedError

    def _send(self, call: Call, permissions: Permissions) -> requests.Response:
        raise NotImplementedError


def soon() -> dt.datetime:
    """Return until when something that is sent once may be sent."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
