"""What Django's admin, logins and second factors add to the audit log."""

from __future__ import annotations

from typing import Any

from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models import Model
from django.http import HttpRequest

from accounts import principals
from accounts.audit import log
from core.admin.recorded import did


def account_of(row: Model) -> int | None:
    """Return whose a row is, as far as it tells."""
    found = row.pk if row._meta.label_lower == "accounts.account" else getattr(row, "account_id", None)
    return found if isinstance(found, int) else None


def _did(
    sender: Any,
    request: HttpRequest,
    action: str,
    on: Any,
    account_id: int | None = None,
    before: Any = None,
    after: Any = None,
    **kwargs: Any,
) -> None:
    assert isinstance(request.user, User)
    account_id = account_of(on) if isinstance(on, Model) else account_id
    log.record(principals.of_user(request.user), action, on, account_id=account_id, before=before, after=after)


def _login(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    # With the passkeys' library, which no worker and no command needs.
    from allauth.account.internal.flows.login import get_authentication_records

    by = [record.get("type") or record["method"] for record in get_authentication_records(request, user)]
    log.record(principals.of_user(user), "user.login", user, after={"by": by})


def _user(action: str) -> Any:
    def receive(sender: Any, user: Any = None, **kwargs: Any) -> None:
        if isinstance(user, User):  # nobody, if the session had ended before
            log.record(principals.of_user(user), action, user)

    return receive


def _factor(action: str) -> Any:
    def receive(sender: Any, user: Any, authenticator: Authenticator, **kwargs: Any) -> None:
        log.record(principals.of_user(user), action, user, after={"type": authenticator.type})

    return receive


# Signals hold what they call weakly.
RECEIVERS = (
    (did, _did),
    (user_logged_in, _login),
    (user_logged_out, _user("user.logout")),
    (mfa.authenticator_added, _factor("second_factor.add")),
    (mfa.authenticator_removed, _factor("second_factor.remove")),
    (mfa.authenticator_reset, _factor("second_factor.renew")),
)


def connect() -> None:
    for number, (signal, receiver) in enumerate(RECEIVERS):
        signal.connect(receiver, dispatch_uid=f"audit {number}")
