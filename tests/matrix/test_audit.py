"""Whoever changes something leaves exactly one entry in the audit log, and who is refused leaves none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from accounts import credit
from accounts.audit.models import AuditEntry
from payments import topup_work, topups
from payments.models import TopUp
from tests.matrix.conftest import World
from tests.matrix.identities import Identity
from tests.matrix.rules import ACTIONS, API
from tests.payments.conftest import turn_on
from tests.payments.paying import with_card

CHANGES = sorted((name, method) for name, needs in API.items() for method in needs if method != "GET")
# What is sent so that it succeeds, and what the entry says; a blank body where nothing is said.
BODIES: dict[tuple[str, str], Any] = {
    ("api:budget", "PATCH"): {"cap_cents": 77},
    ("api:keys", "POST"): {"name": "new"},
    ("api:key-rotate", "POST"): {},
    ("api:callback-endpoints", "POST"): {"url": "https://example.com/new"},
    ("api:callback-endpoint", "PATCH"): {"description": "new"},
    ("api:callback-endpoint-rotate", "POST"): {},
    ("api:callback-secret-rotate", "POST"): {},
    ("billing:overview", "PATCH"): {"auto_topup": {"below_cents": 500, "cents": 2000}},
    ("billing:topups", "POST"): {"cents": 2000},
}
ACTION = {
    ("api:budget", "PATCH"): "budget.set_cap",
    ("api:keys", "POST"): "key.create",
    ("api:key", "DELETE"): "key.revoke",
    ("api:key-rotate", "POST"): "key.rotate",
    ("api:cast-create", "POST"): "cast.create",
    ("api:casts", "POST"): "cast.create",
    ("api:cast-cancel", "POST"): "cast.cancel",
    ("api:cast-retry", "POST"): "cast.retry",
    ("api:cast-links", "DELETE"): "cast.revoke_links",
    ("api:callback-endpoints", "POST"): "callback_endpoint.create",
    ("api:callback-endpoint", "PATCH"): "callback_endpoint.change",
    ("api:callback-endpoint", "DELETE"): "callback_endpoint.delete",
    ("api:callback-endpoint-rotate", "POST"): "callback_endpoint.rotate_secret",
    ("api:callback-endpoint-test", "POST"): "callback_endpoint.test",
    ("api:callback-secret-rotate", "POST"): "account.rotate_callback_secret",
    ("api:callback-replay", "POST"): "callback.replay",
    ("billing:overview", "PATCH"): "billing.set_auto_topup",
    ("billing:setup", "POST"): "billing.save_card",
    ("billing:portal", "POST"): "billing.open_portal",
    ("billing:topups", "POST"): "billing.top_up",
    ("billing:topup-cancel", "POST"): "billing.cancel_top_up",
}


def named(world: World, name: str) -> Identity:
    return next(who for who in world.identities if who.name == name)


def send(world: World, name: str, method: str, who: Identity) -> int:
    body = BODIES.get((name, method), world.bodies.get((name, method), {}))
    path = reverse(name, kwargs=world.arguments.get(name, {}))
    text = json.dumps(body) if method in ("POST", "PATCH") else ""
    answer: Any = world.client_of(who).generic(method, path, text, content_type="application/json", headers=who.headers)
    return int(answer.status_code)


def test_every_change_over_the_api_is_known_here():
    assert set(CHANGES) == set(ACTION)


@pytest.mark.parametrize(("name", "method"), CHANGES)
def test_a_change_over_the_api_leaves_one_entry_and_a_refused_one_none(
    world: World, name: str, method: str, request: pytest.FixtureRequest
):
    if name.startswith("billing:"):
        stripe = request.getfixturevalue("stripe_server")
        turn_on(request.getfixturevalue("settings"), stripe.url, stripe.key)
        customer = with_card(stripe, world.cast.account)
        if name == "billing:topup-cancel":
            page = topup_work.advance(topups.begin(customer, 2000, by="somebody", hosted=True))
            world.arguments[name] = {"topup_id": str(page.pk)}
    nobody = ["revoked key", "key with spells:read", "nobody"]
    # Of what belongs to everybody, another account has its own.
    nobody += ["key of another account"] if name in world.arguments else []
    for who in nobody:
        assert send(world, name, method, named(world, who)) in (401, 403, 404)
    assert AuditEntry.objects.count() == 0
    if name == "api:cast-retry":
        world.end_cast()
    assert send(world, name, method, named(world, "key with every scope")) < 300
    [entry] = AuditEntry.objects.all()
    assert (entry.action, entry.actor_kind, entry.account_id) == (ACTION[name, method], "key", world.cast.account_id)
    assert entry.actor.startswith("sk_live_spl_")
    assert "whsec_" not in json.dumps([entry.before, entry.after])
    if entry.action != "key.create" and "cast_id" in world.arguments.get(name, {}) and name != "api:cast-retry":
        assert entry.object_id == str(world.cast.pk)


@pytest.fixture
def operator(db: None) -> Client:
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_an_action_of_the_admin_leaves_one_entry(operator: Client, rows: dict[str, Any], action: str):
    before = AuditEntry.objects.count()
    label, _, word = action.partition(" ")
    path = reverse("admin:{}_{}_changelist".format(*label.split(".")))
    sent = {"action": word, "_selected_action": [str(rows[label].pk)], "post": "yes", "asked": "yes", "confirmed": "1"}
    if word == "refund":
        credit.begin_billing(rows["accounts.account"])
        TopUp.objects.update(state="succeeded")
        sent |= {"amount": "1", "reason": "a reason", "spent_too": "on"}
    assert operator.post(path, sent).status_code < 400
    [entry] = AuditEntry.objects.all()[: AuditEntry.objects.count() - before]
    assert entry.action == f"admin.{label.split('.')[1]}.{word}"
    assert (entry.actor_kind, entry.actor, entry.object_id) == ("user", "operator", str(rows[label].pk))


def test_a_form_of_the_admin_leaves_one_entry_with_what_was_and_what_became(operator: Client, rows: dict[str, Any]):
    group = rows["auth.group"]
    assert operator.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "others"}).status_code == 302
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.action, entry.before, entry.after) == ("admin.group.change", {"name": "some"}, {"name": "others"})
    form = {"username": "eskarina", "password1": "a long pass phrase", "password2": "a long pass phrase"}
    added = operator.post(reverse("admin:auth_user_add"), form | {"usable_password": "true"})
    assert added.status_code == 302, added.content
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert entry.action == "admin.user.add"
    assert "a long pass phrase" not in json.dumps(entry.after)
    assert operator.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}).status_code == 302
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert entry.action == "admin.group.delete"


def test_an_entry_is_never_changed_and_an_owner_reads_those_of_the_account(world: World):
    send(world, "api:keys", "POST", named(world, "key with every scope"))
    send(world, "api:keys", "POST", named(world, "key of another account"))
    client = world.client_of(named(world, "key with audit"))
    answer = client.get("/api/v1/audit?action=key.create", headers=named(world, "key with audit").headers)
    [entry] = answer.json()["results"]
    assert (entry["object_kind"], entry["after"]["name"], entry["before"]) == ("apikey", "new", None)
    assert "sk_live_spl_" not in json.dumps(entry["after"]).replace(entry["after"]["prefix"], "")
