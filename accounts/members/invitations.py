"""Inviting somebody by mail, and accepting.

Whoever has the link may accept: it goes to the address alone. The address is asked for no login, so that nobody learns
from an invitation whether there is one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
import unicodedata

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from accounts import principals
from accounts.audit import log
from accounts.members.changes import check_owner, hold
from accounts.members.errors import AlreadyMember, NotInvited, TooManyInvitations
from accounts.members.models import Invitation
from accounts.models import Account, Membership, Role
from accounts.principals import Principal
from core import limits

OPENS_FOR = dt.timedelta(days=7)
COUNTED_FOR = dt.timedelta(days=1)
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# Why a link opens nothing: for the page behind it, and for owners in the list.
USED = "It was accepted already, and an invitation opens once."
REVOKED = "An owner of the account has taken it back."
EXPIRED = "It is more than seven days old."
STRANDED = "Who sent it is not an owner of the account any more."


def alike(address: str) -> str:
    """Return what addresses that are written differently have in common, as Django's own form compares them.

    Two that only look alike to a database are two: https://www.unicode.org/reports/tr36/
    """
    return unicodedata.normalize("NFKC", address).casefold()


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# --- Sending ---------------------------------------------------------------------------------------------------------


def invite(who: Principal, account: Account, *, email: str, role: Role) -> tuple[Invitation, str]:
    """Invite an address; return the row, and the token for the link, which can't be read again.

    Who was invited and has not accepted is invited anew. Raise Forbidden, ValidationError, AlreadyMember or
    TooManyInvitations.
    """
    email = checked(email)
    with transaction.atomic():
        hold(account.pk)
        check_owner(who, account.pk)
        if is_member(account, email):
            raise AlreadyMember("There is a member of this account with this mail address already.")
        found = Invitation.objects.filter(account=account, alike=alike(email), accepted_at=None, revoked_at=None)
        invitation = found.first() or Invitation(account=account, alike=alike(email), sends=0)
        invitation.email, invitation.role = email, role
        token = renew(who, invitation)
        log.record(who, "member.invite", invitation, account_id=account.pk, after=facts_of(invitation))
    return invitation, token


def send_again(who: Principal, account: Account, invitation_id: int) -> tuple[Invitation, str]:
    """Send an invitation again, with a new link for another seven days. Raise as `invite` does, and NotInvited."""
    with transaction.atomic():
        hold(account.pk)
        check_owner(who, account.pk)
        invitation = open_one(account, invitation_id)
        if is_member(account, invitation.email):
            raise AlreadyMember("There is a member of this account with this mail address already.")
        token = renew(who, invitation)
        log.record(who, "member.invite_again", invitation, account_id=account.pk, after=facts_of(invitation))
    return invitation, token


def revoke(who: Principal, account: Account, invitation_id: int) -> Invitation:
    """End an invitation. Raise Forbidden or NotInvited."""
    with transaction.atomic():
        hold(account.pk)
        check_owner(who, account.pk)
        invitation = open_one(account, invitation_id)
        end(invitation)
        log.record(who, "member.revoke_invitation", invitation, account_id=account.pk, before=facts_of(invitation))
    return invitation


def end(invitation: Invitation) -> bool:
    """Revoke an invitation; return whether this call did it."""
    ended = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    return bool(ended.update(revoked_at=timezone.now()))


def checked(email: str) -> str:
    """Return an address without blanks around it; raise ValidationError for what is none."""
    email = email.strip()
    validate_email(email)
    if len(email) > 254 or not email.isprintable():
        raise ValidationError("Enter a valid email address.")
    return email


def is_member(account: Account, email: str) -> bool:
    addresses = Membership.objects.filter(account=account, user__email__gt="").values_list("user__email", flat=True)
    return alike(email) in map(alike, addresses)


def open_one(account: Account, invitation_id: int) -> Invitation:
    found = Invitation.objects.filter(account=account, pk=invitation_id, accepted_at=None, revoked_at=None).first()
    if found is None:
        raise NotInvited("This invitation was accepted or revoked meanwhile.")
    return found


def renew(who: Principal, invitation: Invitation) -> str:
    """Give an invitation a new token and seven days from now; save it. Raise TooManyInvitations."""
    now = timezone.now()
    lately = Invitation.objects.filter(sent_at__gt=now - COUNTED_FOR)
    if sent(lately.filter(account=invitation.account_id)) >= limits.INVITATIONS_PER_ACCOUNT:
        raise TooManyInvitations(
            f"An account sends {limits.INVITATIONS_PER_ACCOUNT} invitations within a day at most. Go on tomorrow."
        )
    if sent(lately.filter(alike=invitation.alike)) >= limits.INVITATIONS_PER_ADDRESS:
        raise TooManyInvitations(
            f"{invitation.email} was sent {limits.INVITATIONS_PER_ADDRESS} invitations within a day, which is the "
            "most. Ask whether they are among the spam, or try again tomorrow."
        )
    token = secrets.token_urlsafe(32)
    invitation.by, invitation.digest = who.user, digest(token)
    invitation.sends += 1
    invitation.sent_at, invitation.expires_at = now, now + OPENS_FOR
    invitation.save()
    return token


def sent(invitations: QuerySet[Invitation]) -> int:
    return invitations.aggregate(sent=Sum("sends"))["sent"] or 0


def facts_of(invitation: Invitation) -> dict[str, object]:
    return {"email": invitation.email, "role": str(invitation.role)}


# --- The link --------------------------------------------------------------------------------------------------------


def found_by(token: str) -> Invitation | None:
    """Return the invitation that a link is of, whether or not it still opens."""
    if not TOKEN.fullmatch(token):
        return None
    return Invitation.objects.select_related("account", "by").filter(digest=digest(token)).first()


def closed(invitation: Invitation) -> str:
    """Return why an invitation opens nothing; blank if it does."""
    owners = Membership.objects.filter(account=invitation.account_id, role=Role.OWNER, user__is_active=True)
    return closed_by(invitation, set(owners.values_list("user_id", flat=True)))


def closed_by(invitation: Invitation, owner_ids: set[int]) -> str:
    """Likewise, where the account's owners are known."""
    if invitation.accepted_at is not None:
        return USED
    if invitation.revoked_at is not None:
        return REVOKED
    if invitation.expires_at <= timezone.now():
        return EXPIRED
    # Who may not invite any more has invited nobody: his links go with his role.
    return "" if invitation.by_id in owner_ids else STRANDED


def state_of(invitation: Invitation) -> str:
    """Return in one word how an invitation stands, as far as its row tells."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "revoked"
    return "expired" if invitation.expires_at <= timezone.now() else "open"


def accept(user: User, token: str) -> Membership:
    """Make a user a member as an invitation says, once. Raise NotInvited or AlreadyMember."""
    with transaction.atomic():
        invitation = found_by(token)
        if invitation is None:
            raise NotInvited("There is no such invitation.")
        hold(invitation.account_id)
        invitation.refresh_from_db()  # as it is now that nobody else changes it
        if why := closed(invitation):
            raise NotInvited(why)
        # A role that somebody has is not changed by a link.
        if Membership.objects.filter(account=invitation.account_id, user=user).exists():
            raise AlreadyMember("You are a member of this account already, and your role stays as it is.")
        member = Membership.objects.create(account=invitation.account, user=user, role=invitation.role)
        invitation.accepted_at, invitation.accepted_by = timezone.now(), user
        invitation.save(update_fields=["accepted_at", "accepted_by"])
        by = principals.of_member(member)
        after = {"invited_by": invitation.by.get_username() if invitation.by else "", **facts_of(invitation)}
        log.record(by, "member.join", member, after=after)
    return member


def join(user: User, token: str) -> Membership:
    """Save a new user and make it a member, or neither. Raise NotInvited, and IntegrityError if its name is taken."""
    with transaction.atomic():
        invitation = found_by(token)
        user.email = invitation.email if invitation is not None and not taken(invitation.email) else ""
        user.save(force_insert=True)
        return accept(user, token)


def taken(email: str) -> bool:
    """Whether another login has this address, which names one login only: whoever logs in by it."""
    addresses = User.objects.filter(email__iexact=email).values_list("email", flat=True)
    return alike(email) in map(alike, addresses)
