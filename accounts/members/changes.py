"""What owners do with members, and members with themselves: other roles, and the end of it.

Each holds the account's row, so that of two owners who leave at once the second one sees that he is the last.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from accounts import keys
from accounts.audit import log
from accounts.members.errors import LastOwner, MemberNotFound
from accounts.models import Account, ApiKey, Membership, Role
from accounts.principals import Principal
from core.errors import Forbidden


def change_role(who: Principal, account_id: int, user_id: int, role: Role) -> Membership:
    """Give a member another role. Raise Forbidden, MemberNotFound or LastOwner."""
    with transaction.atomic():
        hold(account_id)
        check_owner(who, account_id)
        member = member_of(account_id, user_id)
        before = member.role
        if before == role:
            return member
        if before == Role.OWNER:
            check_another_owner(account_id, user_id)
        member.role = role
        member.save(update_fields=["role"])
        facts = {"user": member.user.get_username(), "role": before}
        log.record(who, "member.change_role", member, account_id=account_id, before=facts, after={"role": str(role)})
    return member


def remove(who: Principal, account_id: int, user_id: int, *, revoke_keys: bool = False) -> tuple[Membership, int]:
    """End a membership, one's own or as an owner somebody's; return it, and how many keys were revoked.

    `revoke_keys`: revoke the keys that this user made, with their descendants. Streams end by themselves (live.grants).
    Raise Forbidden, MemberNotFound or LastOwner.
    """
    oneself = who.user is not None and who.user.pk == user_id
    with transaction.atomic():
        hold(account_id)
        if not oneself or revoke_keys:
            check_owner(who, account_id)
        member = member_of(account_id, user_id)
        if member.role == Role.OWNER:
            check_another_owner(account_id, user_id)
        facts = {"user": member.user.get_username(), "role": member.role}
        log.record(who, "member.leave" if oneself else "member.remove", member, account_id=account_id, before=facts)
        member_id, revoked = member.pk, 0
        member.delete()
        member.pk = member_id
        if revoke_keys:
            revoked = revoke_keys_of(who, account_id, member.user)
    return member, revoked


def revoke_keys_of(who: Principal, account_id: int, user: User) -> int:
    """Revoke the keys of the account that a user made, and their descendants; return how many."""
    count = 0
    for key in keys_of(account_id, user.pk):
        done = keys.revoke_with_descendants([key])
        log.record(who, "key.revoke", key, account_id=account_id, after={"revoked": [one.pk for one in done]})
        count += len(done)
    return count


def keys_of(account_id: int, user_id: int) -> list[ApiKey]:
    """Return the account's usable keys that a user made, oldest first."""
    made = ApiKey.objects.filter(account=account_id, created_by_user=user_id, revoked_at=None).order_by("pk")
    return [key for key in made if key.usable]


def hold(account_id: int) -> None:
    """Have others wait who change who is a member. What only points to the account, such as a cast, does not wait."""
    Account.objects.select_for_update(no_key=True).filter(pk=account_id).first()


def check_owner(who: Principal, account_id: int) -> None:
    """Raise Forbidden unless who asks is an owner now, whatever he was when the request began."""
    owners = Membership.objects.filter(account=account_id, role=Role.OWNER, user__is_active=True)
    if who.user is None or not owners.filter(user=who.user).exists():
        raise Forbidden("Only owners of the account say who is a member.")


def check_another_owner(account_id: int, user_id: int) -> None:
    """Raise LastOwner if there is no owner besides this one who can still log in."""
    owners = Membership.objects.filter(account=account_id, role=Role.OWNER, user__is_active=True)
    if not owners.exclude(user=user_id).exists():
        raise LastOwner("An account keeps at least one owner. Make somebody else an owner first.")


def member_of(account_id: int, user_id: int) -> Membership:
    found = Membership.objects.select_related("user").filter(account=account_id, user=user_id).first()
    if found is None:
        raise MemberNotFound("There is no such member in this account any more.")
    return found
