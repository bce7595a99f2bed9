"""What open streams and waits were let in by, and whether it still holds.

Asked for all that are open in a process together: a statement for each kind, however many there are.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from enum import StrEnum
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role
from casts.access import Reach, reach_of_role, reach_of_user
from casts.models import Cast


class Refused(StrEnum):
    """Why a stream or a wait was ended: what let it in opens nothing any more."""

    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    LINK_REVOKED = "link_revoked"
    LINK_EXPIRED = "link_expired"
    SESSION_ENDED = "session_ended"
    MEMBERSHIP_ENDED = "membership_ended"  # or the permission to view casts was taken away
    ROLE_CHANGED = "role_changed"  # to one that reads less


# Tuples: ten thousand of them are put into a set every few seconds.
class ByKey(NamedTuple):
    """Let in by an API key."""

    key_id: int


class ByLink(NamedTuple):
    """Let in by a signed link."""

    cast_id: uuid.UUID
    epoch: int
    expires_at: int  # as time.time()


class BySession(NamedTuple):
    """Let in by a session of a user who may read the account's casts."""

    session_key: str
    user_id: int
    password: str  # the session's hash of it
    account_id: int
    reach: Reach


Grant = ByKey | ByLink | BySession


def of_session(request: HttpRequest, account_id: int, reach: Reach) -> BySession:
    """Return what a request was let in by whose session has been checked."""
    session: Any = request.session
    password = session.get(HASH_SESSION_KEY, "")
    return BySession(session.session_key, int(session[SESSION_KEY]), password, account_id, reach)


def refused(grants: Iterable[Grant]) -> dict[Grant, Refused]:
    """Return those that open nothing any more, and why."""
    of_kind: dict[type[Grant], list[Any]] = {}
    for grant in grants:
        of_kind.setdefault(type(grant), []).append(grant)
    found: dict[Grant, Refused] = {}
    for kind, check in CHECKS.items():
        if some := of_kind.get(kind):
            found |= check(some)
    return found


def refused_keys(grants: list[ByKey]) -> dict[Grant, Refused]:
    now = timezone.now()
    rows = ApiKey.objects.filter(pk__in=[grant.key_id for grant in grants])
    states = {pk: (revoked, expires) for pk, revoked, expires in rows.values_list("pk", "revoked_at", "expires_at")}
    found: dict[Grant, Refused] = {}
    for grant in grants:
        revoked, expires = states.get(grant.key_id, (now, None))  # a key that was deleted opens nothing either
        if revoked is not None:
            found[grant] = Refused.KEY_REVOKED
        elif expires is not None and expires <= now:
            found[grant] = Refused.KEY_EXPIRED
    return found


def refused_links(grants: list[ByLink]) -> dict[Grant, Refused]:
    # Not by the casts' ids, which may be thousands: those whose links were revoked are few. Ids sort by time.
    revoked = Cast.objects.filter(links_epoch__gt=0, pk__gte=min(grant.cast_id for grant in grants))
    epochs = dict(revoked.values_list("pk", "links_epoch"))
    found: dict[Grant, Refused] = {g: Refused.LINK_REVOKED for g in grants if g.epoch != epochs.get(g.cast_id, 0)}
    now = time.time()
    return found | {grant: Refused.LINK_EXPIRED for grant in grants if grant.expires_at <= now}


def refused_sessions(grants: list[BySession]) -> dict[Grant, Refused]:
    people = {g.user_id for g in grants}
    # In this order: of a user who is deleted in between, the membership is never gone before the session.
    memberships = Membership.objects.filter(user__in=people).values_list("user_id", "account_id", "role")
    roles = {(user_id, account_id): Role(role) for user_id, account_id, role in memberships}
    users = {user.pk: user for user in get_user_model().objects.filter(pk__in=people, is_active=True)}
    passwords = {pk: user.get_session_auth_hash() for pk, user in users.items()}
    sessions: Any = import_module(settings.SESSION_ENGINE).SessionStore.get_model_class()
    living = sessions.objects.filter(session_key__in={g.session_key for g in grants}, expire_date__gt=timezone.now())
    keys = set(living.values_list("session_key", flat=True))
    found: dict[Grant, Refused] = {}
    for grant in grants:
        user, role = users.get(grant.user_id), roles.get((grant.user_id, grant.account_id))
        if user is None or grant.session_key not in keys or passwords[user.pk] != grant.password:
            found[grant] = Refused.SESSION_ENDED
        elif reach_of_role(role) < grant.reach and (reach := reach_of_user(user, role)) < grant.reach:
            found[grant] = Refused.ROLE_CHANGED if reach else Refused.MEMBERSHIP_ENDED
    return found


CHECKS: dict[type[Grant], Any] = {ByKey: refused_keys, ByLink: refused_links, BySession: refused_sessions}
