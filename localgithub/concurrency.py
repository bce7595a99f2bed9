"""Concurrency groups: one member runs, one waits, and a newcomer replaces the one that waits."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Member:
    """A run or a job in its group."""

    owner: object
    go: Callable[[], None]
    cancel: Callable[[str], None]  # takes the sentence that GitHub leaves in an annotation


@dataclass
class Groups:
    """All groups by repository and name. Only called while holding the lock of `Runs`."""

    _groups: dict[tuple[str, str], list[Member]] = field(default_factory=dict)

    def enter(self, repository: str, group: str, member: Member, *, cancel_in_progress: bool) -> None:
        """Join a group; start at once if it is empty."""
        members = self._groups.setdefault((repository, group.lower()), [])
        members.append(member)
        if len(members) == 1:
            member.go()
            return
        why = f"Canceling since a higher priority waiting request for '{group}' exists"
        for waiting in members[1:-1]:
            members.remove(waiting)
            waiting.cancel(why)
        if cancel_in_progress:
            members[0].cancel(why)  # it leaves when it has ended, and lets us go

    def leave(self, owner: object) -> None:
        """Remove an owner that has ended from its groups, and start the next member of each."""
        for key, members in list(self._groups.items()):
            for member in [one for one in members if one.owner is owner]:
                first = members[0] is member
                members.remove(member)
                if first and members:
                    members[0].go()
            if not members:
                self._groups.pop(key, None)
