"""What is done with a cast by who may: a key, a member in the browser, an operator. The audit log has each act."""

from __future__ import annotations

from django.db import transaction

from accounts.audit import log
from accounts.models import ApiKey, Membership
from accounts.principals import Kind, Principal
from accounts.rationing.keys import admit_member
from casts.access import may_change, not_found
from casts.casting import Accepted, order_again, place
from casts.errors import CastNotFinal
from casts.lifecycle import ending, operators
from casts.lifecycle.idempotency import Once
from casts.models import Cast
from core.errors import Forbidden
from core.rationing.visits import visit


def cancel(principal: Principal, cast: Cast) -> Cast:
    """Cancel a cast: at once if it was not sent yet, else its run is asked to end. May be repeated.

    Raise CastNotFound or Forbidden, for a member also RateLimited; so do the others.
    """
    by = _admitted(principal, cast)
    with transaction.atomic():
        cancelled = ending.cancel(cast.pk, by=by)
        log.record(principal, "cast.cancel", cast, account_id=cast.account_id, before={"status": cast.status})
    return cancelled


def again(principal: Principal, cast: Cast, once: Once | None) -> Accepted:
    """Cast the same again, at the cost of the principal's account. Raise what `place` does, or CastNotFinal."""
    if not may_change(principal, cast):
        raise _refusal(principal, cast)
    if not cast.final:
        raise CastNotFinal("This cast has not ended yet. Cancel it first, or wait for its end.")
    caster: ApiKey | Membership
    if principal.key is not None:
        caster = principal.key
    else:
        assert principal.user is not None
        caster = Membership.objects.select_related("account", "user").get(user=principal.user, account=cast.account_id)
    return place(order_again(cast, caster, principal), once)


def revoke_links(principal: Principal, cast: Cast) -> None:
    """Have whatever was handed out open nothing any more, and end the streams that it opened."""
    by = _admitted(principal, cast)
    with transaction.atomic():
        operators.revoke_links(cast.pk, by=by)
        log.record(principal, "cast.revoke_links", cast, account_id=cast.account_id)


def operates(principal: Principal) -> bool:
    """Return whether this is an operator, who acts on every account's casts and casts for none."""
    user = principal.user
    return user is not None and principal.role is None and user.has_perm("casts.change_cast")


def _admitted(principal: Principal, cast: Cast) -> str:
    """Return the operator's name for the cast's history, "" for its account's own; raise unless it may be changed."""
    if may_change(principal, cast):
        if principal.user is not None:
            admit_member(principal.user.pk, cast.account, visit.get())
        return ""
    if operates(principal):
        return principal.label
    raise _refusal(principal, cast)


def _refusal(principal: Principal, cast: Cast) -> Exception:
    if principal.kind == Kind.USER and principal.account_id == cast.account_id:
        return Forbidden(
            f"As a {principal.role} of this account you may not cast, cancel or revoke links. An owner of the account "
            "can give you another role."
        )
    return not_found(str(cast.pk))
