"""API keys: `sk_live_spl_<30 random base62><6 base62 of their CRC32>`.

With the tail, a client or a secret scanner can tell a mistyped or invented key without asking us (the scheme GitHub
describes for its own tokens: https://github.blog/engineering/behind-githubs-new-authentication-token-formats/).
178 random bits need no slow hash: SHA-256 is stored, and the row is found by the key's public prefix.
"""

import datetime as dt
import hashlib
import hmac
import secrets
import string
import uuid
import zlib
from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from accounts import budget, principals
from accounts.errors import KeyNotRotated, TooManyKeys
from accounts.models import Account, ApiKey, BudgetScope, usual_scopes
from accounts.principals import Principal
from core import access, limits, shares
from core.db.compiled import Param, Select
from core.errors import Forbidden, Unauthorized

KEY_MARK = "sk_live_spl_"
RANDOM_CHARS, TAIL_CHARS, PREFIX_CHARS = 30, 6, 20
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
BY_PREFIX = Select(lambda: ApiKey.objects.filter(prefix=Param(ApiKey, "prefix")).select_related("account").order_by())
LAST_USED_EVERY = dt.timedelta(minutes=1)  # a write per request would make every read a write


def tail(body: str) -> str:
    """Return the six base62 digits of `body`'s CRC32."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(TAIL_CHARS):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def well_formed(secret: str) -> bool:
    """Whether `secret` has a key's form and its tail fits; no look-up."""
    body = secret[:-TAIL_CHARS]
    return (
        secret.startswith(KEY_MARK)
        and len(secret) == len(KEY_MARK) + RANDOM_CHARS + TAIL_CHARS
        and secret.isascii()
        and hmac.compare_digest(secret[-TAIL_CHARS:], tail(body))
    )


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def create(
    account: Account,
    *,
    name: str,
    scopes: list[str] | None = None,
    spell_keys: list[str] | None = None,
    expires_at: dt.datetime | None = None,
    by: Principal | None = None,
    form: uuid.UUID | None = None,
) -> tuple[ApiKey, str]:
    """Create a key; return its row and the secret, which can't be read again. Raise ValidationError on bad scopes.

    `by`: who makes it, which the key remembers. `form`: the number of the form that asked for it.
    """
    body = KEY_MARK + "".join(secrets.choice(BASE62) for _ in range(RANDOM_CHARS))
    secret = body + tail(body)
    key = ApiKey(
        account=account,
        name=name,
        prefix=secret[:PREFIX_CHARS],
        digest=digest(secret),
        scopes=usual_scopes() if scopes is None else scopes,
        spell_keys=spell_keys,
        expires_at=expires_at,
        created_by_key=by.key if by else None,
        created_by_user=by.user if by else None,
        form=form,
    )
    key.full_clean()
    key.save(force_insert=True)
    return key, secret


def authenticate(secret: str) -> ApiKey:
    """Return the key with this secret. Raise Unauthorized, saying what to fix."""
    try:
        key = _authenticated(secret)
    except Unauthorized:
        shares.forget(secret)  # whoever still has it takes no thread of its account
        raise
    shares.remember(secret, shares.account_lane(key.account_id))
    return key


def _authenticated(secret: str) -> ApiKey:
    if not well_formed(secret):
        raise Unauthorized(
            "That is not a whole API key: a key is sk_live_spl_ and 36 letters and digits. Was it cut when copied?"
        )
    key = BY_PREFIX.first(prefix=secret[:PREFIX_CHARS])
    if key is None or not hmac.compare_digest(key.digest, digest(secret)):
        raise Unauthorized("This API key is not known here. Was it made on another installation?")
    access.note(key=key.prefix, account=key.account_id)  # an old one too: somebody still uses it
    check_usable(key)
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def check_usable(key: ApiKey) -> None:
    """Raise Unauthorized for a key that was revoked or has expired."""
    if key.revoked_at is not None:
        raise Unauthorized("This API key was revoked. Ask whoever manages your account's keys for another.")
    if not key.usable:
        raise Unauthorized("This API key has expired. Ask whoever manages your account's keys for another.")


def revoke(key: ApiKey) -> bool:
    """Revoke a key for good; return whether this call did it. The keys that it made stay valid."""
    # Only the first time counts, and stays.
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()))


def revoke_with_descendants(roots: Iterable[ApiKey]) -> list[ApiKey]:
    """Revoke keys and all their descendants, for good, all or none; return those that this call revoked."""
    chosen = {key.pk for key in roots}
    revoked: list[ApiKey] = []
    done: set[int] = set()
    with transaction.atomic():
        while tree := (chosen | ids_below(chosen)) - done:
            # A key that is making another one holds its own row: when we have that row, the new one is there to be
            # found. In order, so that nobody waits for each other; makers come before what they made.
            locked = ApiKey.objects.select_for_update(no_key=True).filter(pk__in=tree).order_by("pk")
            still_valid = [key for key in locked if key.revoked_at is None]
            ApiKey.objects.filter(pk__in=[key.pk for key in still_valid]).update(revoked_at=timezone.now())
            revoked += still_valid
            done |= tree
    return revoked


def ids_below(makers: Iterable[int]) -> set[int]:
    """Return the descendants of keys: those that they made, those that these made, and so on."""
    below: set[int] = set()
    level = set(makers)
    while level := set(ApiKey.objects.filter(created_by_key__in=level).values_list("pk", flat=True)) - below:
        below |= level
    return below


def usable_below(makers: Iterable[ApiKey]) -> list[ApiKey]:
    """Return the descendants of keys that are neither revoked nor expired, oldest first."""
    below = ApiKey.objects.filter(pk__in=ids_below(key.pk for key in makers), revoked_at=None).order_by("pk")
    return [key for key in below if key.usable]


def create_below(
    maker: ApiKey,
    *,
    name: str,
    scopes: list[str] | None = None,
    spell_keys: list[str] | None = None,
    expires_at: dt.datetime | None = None,
) -> tuple[ApiKey, str]:
    """Create a key that can do no more than `maker`.

    Raise Forbidden, naming what is too much, TooManyKeys, and Unauthorized if the maker is revoked just then.
    """
    with transaction.atomic():
        # Whoever revokes it and all that it made waits for this row, and then finds the new key.
        maker = ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("account").get(pk=maker.pk)
        check_usable(maker)
        check_no_cap(maker)
        check_room(maker.account)
        scopes = list(maker.scopes) if scopes is None else scopes
        if excess := [scope for scope in scopes if scope not in maker.scopes]:
            raise Forbidden(f"Your key has not the scope(s) {', '.join(excess)}, so it can't give them away.")
        if maker.spell_keys is not None:
            spell_keys = list(maker.spell_keys) if spell_keys is None else spell_keys
            if excess := [key for key in spell_keys if key not in maker.spell_keys]:
                raise Forbidden(f"Your key may not cast {', '.join(excess)}, so it can't make a key that may.")
        if maker.expires_at is not None and (expires_at is None or expires_at > maker.expires_at):
            raise Forbidden(f"Your key expires at {maker.expires_at.isoformat()}; the new one must not outlive it.")
        return create(
            maker.account,
            name=name,
            scopes=scopes,
            spell_keys=spell_keys,
            expires_at=expires_at,
            by=principals.of_key(maker),
        )


def check_no_cap(maker: ApiKey) -> None:
    """Raise Forbidden: what another key casts does not count under the maker's cap, which would bind nobody.

    Whoever may change caps may lift that one.
    """
    if (
        "budget:write" not in maker.scopes
        and budget.cap_of(maker.account, scope=BudgetScope.KEY, ref=str(maker.pk)) is not None
    ):
        raise Forbidden(
            "Your key has a cap of its own, under which another key's casts would not count, so it can't make or "
            "rotate keys. Have an owner do it, or use a key without a cap."
        )


def check_room(account: Account) -> None:
    """Raise TooManyKeys. Until the transaction's end, nobody else makes keys for the account."""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    valid = ApiKey.objects.filter(account=account, revoked_at=None).exclude(expires_at__lte=timezone.now())
    if valid.count() >= limits.KEYS:
        raise TooManyKeys(f"An account has {limits.KEYS} valid keys at most; revoke one first.")


def rotate(old: ApiKey, *, overlap: dt.timedelta, by: Principal) -> tuple[ApiKey, str]:
    """Replace a key by a new one with the same rights, and let the old one expire after `overlap`; once for each key.

    A key that asks makes the new one, which can do no more than it and is its descendant: whoever stole a key does
    not get rid of what revokes it. The old key's descendants stay its own. A cap of the key is the new one's too, and
    counts from nothing. Raise KeyNotRotated, and what `create_below` raises.
    """
    with transaction.atomic():
        rows = [old.pk] if by.key is None else [old.pk, by.key.pk]
        locked = ApiKey.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=rows).order_by("pk")
        old = next(key for key in locked.select_related("account") if key.pk == old.pk)
        check_rotates(old)
        rights = {"scopes": old.scopes, "spell_keys": old.spell_keys, "expires_at": old.expires_at}
        if by.key is not None:
            if old.spell_keys is None and by.key.spell_keys is not None:  # None would be taken for the maker's own
                raise Forbidden("Your key may cast some spells only, so it can't make a key that may cast all.")
            made = create_below(by.key, name=old.name, **rights)
        else:
            check_room(old.account)
            made = create(old.account, name=old.name, by=by, **rights)
        ends = timezone.now() + overlap
        old.replaced_by, old.expires_at = made[0], ends if old.expires_at is None else min(old.expires_at, ends)
        old.save(update_fields=["replaced_by", "expires_at"])
        cap = budget.cap_of(old.account, scope=BudgetScope.KEY, ref=str(old.pk))
        if cap is not None:
            budget.set_cap(old.account, cap_cents=cap, scope=BudgetScope.KEY, ref=str(made[0].pk))
    return made


def check_rotates(key: ApiKey) -> None:
    """Raise KeyNotRotated."""
    if key.revoked_at is not None:
        raise KeyNotRotated("This API key was revoked, so there is nothing to rotate. Make a new one.")
    if key.replaced_by_id is not None:
        raise KeyNotRotated("This API key was rotated before: another took its place. Rotate that one.")
    if not key.usable:
        raise KeyNotRotated("This API key has expired, so there is nothing to rotate. Make a new one.")
