"""Secrets at rest: sealed with keys that are not in the database, so that a copy of it signs nothing.

The newest of FIELD_ENCRYPTION_KEYS seals; all of them open, and so do keys derived from SECRET_KEY and its fallbacks,
with which it works without a setting. Fernet: https://github.com/fernet/spec/blob/master/Spec.md
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

from core.errors import SpellError

SALT = b"spell-platform.fields"  # so that what is derived here serves for nothing else


class SecretsUnreadable(SpellError):
    """A secret was sealed with a key that is not among ours: an operator must name it again."""

    code, status, title = "SECRETS_UNREADABLE", 503, "Stored secrets can't be read"


def seal(value: Any) -> str:
    """Return what is JSON, sealed."""
    return _sealer().encrypt(json.dumps(value).encode()).decode()


def unseal(sealed: str) -> Any:
    """Return what was sealed; raise SecretsUnreadable."""
    try:
        return json.loads(_sealer().decrypt(sealed.encode()))
    except InvalidToken:
        raise SecretsUnreadable(
            "A secret that is stored here was encrypted with a key that this service no longer has. Its operator must "
            "add that key to FIELD_ENCRYPTION_KEYS, or the old SECRET_KEY to SECRET_KEY_FALLBACKS; or rotate the "
            "secret, which makes a new one."
        ) from None


def reseal(rows: models.QuerySet[Any], field: str) -> tuple[int, list[Any]]:
    """Seal a field of all rows with the newest key; return how many, and the keys of rows that can't be read.

    What somebody changes meanwhile is sealed with the newest key already, and stays.
    """
    done, unreadable = 0, []
    for key, sealed in list(rows.exclude(**{field: ""}).values_list("pk", field)):
        try:
            anew = _sealer().rotate(sealed.encode()).decode()
        except InvalidToken:
            unreadable.append(key)
        else:
            done += rows.filter(**{"pk": key, field: sealed}).update(**{field: anew})
    return done, unreadable


def _sealer() -> MultiFernet:
    return _made_of(tuple(settings.FIELD_ENCRYPTION_KEYS), (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=4)
def _made_of(given: tuple[str, ...], secret_keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in [*given, *(derived(key) for key in secret_keys)]])


def derived(secret_key: str) -> str:
    made = HKDF(algorithm=SHA256(), length=32, salt=SALT, info=b"").derive(secret_key.encode())
    return base64.urlsafe_b64encode(made).decode()


def is_key(text: str) -> bool:
    try:
        Fernet(text)
    except ValueError:
        return False
    return True
