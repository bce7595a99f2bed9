"""What the API and the pages do with endpoints and messages, each with its entry in the audit log.

Whether somebody may do it is for the callers to ask: of a key its scopes, of a member the role.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.audit import log
from accounts.models import Account
from accounts.principals import Principal
from casts.callbacks import endpoints, outbox
from casts.models import Callback, CallbackEndpoint


def add(who: Principal, account: Account, **wanted: Any) -> CallbackEndpoint:
    """Make an endpoint; raise TooManyEndpoints."""
    with transaction.atomic():
        endpoint = endpoints.add_endpoint(account, **wanted)
        log.record(who, "callback_endpoint.create", endpoint, after=wanted)
    return endpoint


def change(who: Principal, endpoint: CallbackEndpoint, **changes: Any) -> None:
    """Change an endpoint, stop it (`active=False`), or start it again."""
    with transaction.atomic():
        endpoints.change_endpoint(endpoint, **changes)
        before = {name: getattr(endpoint, name) for name in changes}
        log.record(who, "callback_endpoint.change", endpoint, before=before, after=changes)


def delete(who: Principal, endpoint: CallbackEndpoint) -> None:
    with transaction.atomic():
        endpoints.delete(endpoint)
        log.record(who, "callback_endpoint.delete", endpoint, before={"url": endpoint.url})


def rotate(who: Principal, endpoint: CallbackEndpoint, *, drop_old: bool) -> list[str]:
    """Return the secrets that sign from now on, newest first."""
    with transaction.atomic():
        secrets = endpoints.rotate_endpoint(endpoint, drop_old=drop_old)
        log.record(who, "callback_endpoint.rotate_secret", endpoint, after={"drop_old": drop_old})
    return secrets


def rotate_account(who: Principal, account: Account, *, drop_old: bool) -> list[str]:
    """Likewise of what signs calls to casts' own callback_urls."""
    with transaction.atomic():
        secrets = endpoints.rotate_account(account, drop_old=drop_old)
        log.record(who, "account.rotate_callback_secret", account, after={"drop_old": drop_old})
    return secrets


def test(who: Principal, endpoint: CallbackEndpoint) -> Callback:
    """Send an endpoint a test event; raise EndpointDisabled or TooManyTests."""
    with transaction.atomic():
        callback = outbox.enqueue_test(endpoint)
        log.record(who, "callback_endpoint.test", endpoint, after={"callback": callback.pk})
    return callback


def send_again(who: Principal, sent: Callback) -> Callback:
    """Send a message again, now; raise EndpointDisabled or CallbackInFlight."""
    with transaction.atomic():
        callback = outbox.send_again(sent)
        log.record(who, "callback.replay", sent, before={"state": sent.state})
    return callback
