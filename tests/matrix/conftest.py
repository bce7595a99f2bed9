from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey, Membership
from casts.lifecycle import ending
from casts.models import Artifact, Callback, CallbackEndpoint, Cast, Spell
from core.sealing import seal
from payments.models import Customer, TopUp
from tests.casts.conftest import accept_cast
from tests.matrix import identities
from tests.matrix.identities import Identity
from tests.one_of_each import one_of_each
from tests.payments.conftest import turn_on
from tests.spells import stored_spell


@dataclass
class World:
    """What one account has, and everybody who may come for it."""

    cast: Cast
    arguments: dict[str, dict[str, Any]]  # of each URL's name
    bodies: dict[tuple[str, str], Any]  # by name and method; others are sent an empty object
    identities: list[Identity]
    clients: dict[str, Client] = field(default_factory=dict)

    def end_cast(self) -> None:
        ending.cancel(self.cast.pk)

    def client_of(self, who: Identity) -> Client:
        """Return a browser of this identity, logged in if it is a user."""
        if who.name not in self.clients:
            client = self.clients[who.name] = Client(raise_request_exception=False)
            if who.user is not None:
                client.force_login(who.user)
        return self.clients[who.name]


@pytest.fixture
def world(account: Account, spell: Spell, api_key: ApiKey, settings: Any) -> World:
    turn_on(settings, "http://127.0.0.1:9", "sk_test_local")
    other = Account.objects.create(name="Another account")
    cast = accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})
    Cast.objects.filter(pk=cast.pk).update(output=[{"a": 1}], summary="Done.")
    told = accept_cast(api_key=api_key, spell=spell, input={"name": "Cy"})
    foreign_key = keys.create(other, name="foreign", scopes=list(SCOPES))[0]
    foreign = accept_cast(api_key=foreign_key, spell=spell, input={"name": "Bob"})
    # Not everybody's: the casts of before stay who made them.
    spell.account = account
    spell.save()
    later = timezone.now() + dt.timedelta(days=1)
    Artifact.objects.create(cast=cast, name="report", remote_id=1, size_bytes=3, expires_at=later)
    endpoint = CallbackEndpoint.objects.create(
        account=account, url="https://example.com/", sealed_secrets=seal(["whsec_eA=="])
    )
    callback = Callback.objects.create(
        account=account,
        cast=told,
        endpoint=endpoint,
        url=endpoint.url,
        type="cast.succeeded",
        created_at=timezone.now(),
    )
    spare = keys.create(account, name="spare", scopes=["keys"])[0]
    customer = Customer.objects.create(account=account)
    topup = TopUp.objects.create(customer=customer, cents=1, origin="member", state="succeeded")
    looked_at = User.objects.create_user("somebody-else")
    Membership.objects.create(account=account, user=looked_at)
    of_cast = {"cast_id": str(cast.pk)}
    of_endpoint, of_callback = {"endpoint_id": endpoint.pk}, {"callback_id": callback.pk}
    return World(
        cast=cast,
        arguments={
            **{f"api:{name}": of_cast for name in ("cast", "cast-cancel", "cast-retry", "cast-events", "cast-links")},
            **{f"api:cast-{name}": of_cast for name in ("artifacts-zip", "output", "output-csv", "summary")},
            **{f"api:cast-{name}": of_cast | {"name": "report"} for name in ("artifact", "preview")},
            "api:spell": {"spell_key": spell.key},
            "problem": {"slug": "forbidden"},
            "guide": {"name": "glossary.md"},
            "api:key": {"key_id": spare.pk},
            "api:key-rotate": {"key_id": spare.pk},
            "billing:topup": {"topup_id": str(topup.pk)},
            "billing:topup-cancel": {"topup_id": str(topup.pk)},
            **{f"cast-page{tail}": of_cast for tail in ("", "-again", "-cancel", "-links")},
            "home-events": {"account_id": account.pk},
            **{f"account-{page}": {"account_id": account.pk} for page in ("members", "audit", "callbacks", "settings")},
            "account-callbacks-endpoint": {"account_id": account.pk, **of_endpoint},
            "spell-times": {"spell_id": spell.pk},
            "account-members-one": {"account_id": account.pk, "user_id": looked_at.pk},
            "spell-page": {"spell_key": stored_spell(key="own", name="Own", account=account).key},
            "money": {"account_id": account.pk},
            **{
                f"account-{name}": {"account_id": account.pk}
                for name in ("usage", "usage-file", "budget", "keys", "keys-new")
            },
            "account-keys-one": {"account_id": account.pk, "key_id": spare.pk},
            "money-to-stripe": {"account_id": account.pk, "kind": "card", "pk": topup.pk},
            **{f"api:callback-endpoint{tail}": of_endpoint for tail in ("", "-secret", "-rotate", "-test")},
            **{f"api:callback{tail}": of_callback for tail in ("", "-replay")},
        },
        bodies={
            (name, "POST"): {"spell_key": spell.key, "input": {"name": "Ada"}}
            for name in ("api:cast-create", "api:casts")
        },
        identities=[
            Identity("nobody"),
            Identity("key that was never made", identities.bearer("sk_live_spl_" + "a" * 32)),
            *identities.of_keys(account, other),
            *identities.of_links(cast, foreign),
            *identities.of_users(account, other),
        ],
    )


@pytest.fixture
def rows(account: Account, api_key: ApiKey, spell: Spell) -> dict[str, Any]:
    """One row of every model of ours and of Django's users, by label."""
    own = one_of_each(account, api_key, spell)
    Cast.objects.update(jobs=[], observation=None, last_seq=1)  # whatever a database can hold; here they are read
    found = {model._meta.label_lower: row for model, row in own.items()}
    found |= {"auth.user": User.objects.create_user("somebody"), "auth.group": Group.objects.create(name="some")}
    return found
