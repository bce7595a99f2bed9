"""What the pages about members say."""

from __future__ import annotations

from typing import Any

from django.db.models import Max, QuerySet

from accounts import keys
from accounts.members import changes, invitations
from accounts.members.models import Invitation
from accounts.models import Membership, Role

SHOWN = 500  # members, and invitations


class MembersPage:
    """Reads what its template asks for; three queries, however many there are."""

    def __init__(self, own: Membership) -> None:
        self.own = own
        self.manages = own.role == Role.OWNER

    @property
    def members(self) -> list[dict[str, Any]]:
        return [line(row, self.own) for row in rows_of(self.own.account_id)[:SHOWN]]

    @property
    def invitations(self) -> list[dict[str, Any]]:
        """Return those that were not accepted or revoked, for owners."""
        if not self.manages:
            return []
        rows = Invitation.objects.filter(account=self.own.account_id, accepted_at=None, revoked_at=None)
        owners = Membership.objects.filter(account=self.own.account_id, role=Role.OWNER, user__is_active=True)
        owner_ids = set(owners.values_list("user_id", flat=True))
        return [
            {"row": row, "why": invitations.closed_by(row, owner_ids), "by": row.by}
            for row in rows.select_related("by")[:SHOWN]
        ]

    @property
    def roles(self) -> list[tuple[str, str]]:
        """Return each role with what it may."""
        return [(str(role), role.label.partition(": ")[2]) for role in Role]


def rows_of(account_id: int) -> QuerySet[Membership]:
    """Return memberships by name, with when their users were last seen in any of their sessions."""
    return (
        Membership.objects.filter(account=account_id)
        .select_related("user")
        .annotate(seen=Max("user__sessions__last_seen_at"))
        .order_by("user__username")
    )


def line(row: Membership, own: Membership) -> dict[str, Any]:
    seen = getattr(row, "seen", None) or row.user.last_login
    return {"row": row, "seen": seen, "me": row.user_id == own.user_id, "closed": not row.user.is_active}


def person(own: Membership, user_id: int) -> dict[str, Any] | None:
    """Return a member with the keys that this user made in the account, and those that were made with them."""
    row = rows_of(own.account_id).filter(user=user_id).first()
    if row is None:
        return None
    made = changes.keys_of(own.account_id, user_id)
    return line(row, own) | {
        "keys": made,
        "below": [key for key in keys.usable_below(made) if key not in made] if made else [],
        "owner": own.role == Role.OWNER,
    }
