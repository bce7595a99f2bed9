"""Telling an account's owner what happened to it, each thing once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from accounts.models import AccountEvent


def tell(account_id: int, kind: str, dedupe: str, data: dict[str, Any]) -> bool:
    """Keep an event, and have those told whom ACCOUNT_TOLD names, in this transaction.

    Return False, and do nothing, if the account has one with this `dedupe` already.
    """
    with transaction.atomic(savepoint=False):
        event, made = AccountEvent.objects.get_or_create(
            account_id=account_id, dedupe=dedupe, defaults={"kind": kind, "data": data}
        )
        if made:
            for path in settings.ACCOUNT_TOLD:
                import_string(path)(event)
    return made
