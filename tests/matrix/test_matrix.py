"""Every URL, every method, every kind of caller: who gets in is who should, by rules written beside the code's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from tests.matrix.conftest import World
from tests.matrix.identities import Identity
from tests.matrix.rules import (
    ACTIONS,
    ADMIN,
    ADMIN_PAGES,
    API,
    FORBIDDEN,
    IN,
    LOGIN,
    NEED_MORE,
    NO_METHOD,
    NOT_FOUND,
    PAGES,
    UNKNOWN,
    Key,
)
from tests.matrix.urls import every_name

# Nothing here depends on which database there is, and it is a lot.
pytestmark = pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="once is enough")

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
ENTRIES = API | PAGES
LOGIN_PATHS = ("/login/", "/admin/login/")
REFUSALS = {401: UNKNOWN, 403: FORBIDDEN, 404: NOT_FOUND, 405: NO_METHOD}
# Guards of their own, tested where they are: not of somebody, but of what is sent.
ELSEWHERE = {
    "mfa_authenticate": "the second half of a login (tests/accounts)",
    "mfa_login_webauthn": "a login by passkey (tests/accounts)",
    "mfa_list_webauthn": "leads on to all second factors",
    "mfa_remove_webauthn": "of one's own passkey (tests/accounts)",
    "reset_confirm": "guarded by the token in a mail (tests/accounts)",
    "invitation": "guarded by the token in a mail (tests/accounts)",
    "^api/": "answers 404 to everything below /api/ that is not there",
    "github-webhook": "guarded by its signature (tests/webhooks)",
    "stripe-webhook": "guarded by its signature (tests/payments)",
}


def test_every_url_has_its_rule():
    apart = {name for name in every_name() if name.startswith("admin")}
    known = set(ENTRIES) | set(ELSEWHERE)
    assert every_name() - apart - known == set(), "say in rules.py who may use these"
    assert known - every_name() == set(), "these are no longer there"


def verdict(response: Any) -> str:
    """Return what an answer says of who asked."""
    if response.status_code in (301, 302):
        return LOGIN if response.headers["Location"].startswith(LOGIN_PATHS) else IN
    asks_whether_ready = response.request["PATH_INFO"] == "/readyz"  # 503 is its word for: no worker
    assert response.status_code < 500 or asks_whether_ready, response
    return REFUSALS.get(response.status_code, IN)


# Who is asked about methods that there are not: of each kind one.
FEW = {"nobody", "revoked key", "key with casts:read", "key with every scope", "link", "member", "superuser"}
RESULTS = ("api:cast-preview", "api:cast-artifacts-zip", "api:cast-output", "api:cast-output-csv", "api:cast-summary")
# Views that look at the method first; HEAD where it is not GET without its body.
METHOD_FIRST = {
    *RESULTS,
    *("api:cast-artifact", "api:cast-events", "api:docs", "api:schema"),
    *("account", "cast-page", "home", "spell-page", "spells-page", "reset_sent", "sessions", "start"),
    *("money", "money-accounts", "money-to-stripe", "home-events"),
    *("account-budget", "account-keys", "account-keys-new", "account-keys-one", "account-usage", "account-usage-file"),
    *("account-members", "account-members-one", "account-audit", "account-settings"),
    *("account-callbacks", "account-callbacks-endpoint"),
    *("cast-page-again", "cast-page-cancel", "cast-page-links"),
    *("guide", "guides", "problem", "problems"),
    *("github-connect", "github-connected", "github-installed", "readyz"),
}
NO_HEAD = {"api:cast-events", "home-events"}
# What pages elsewhere may ask by link, after a browser has asked with OPTIONS (CORS).
BY_PAGES = {"api:cast-artifact", "api:cast-events", *RESULTS}
# Views of pages that look at the person first.
PERSON_FIRST = {"attention", "import-spells", "spell-times"}
# Pages of a library, whose answers to those who are logged in depend on what these have set up (tests/accounts).
LIBRARY = {name for name in PAGES if name.startswith(("account_", "mfa_"))}


def expected(name: str, method: str, who: Identity) -> str:
    needs = ENTRIES[name]
    if name in PERSON_FIRST:
        answer = needs["GET"].answer(who)
        return answer if answer != IN or method in (*needs, "HEAD") else NO_METHOD
    if method == "HEAD" and "GET" in needs and name not in NO_HEAD:
        return needs["GET"].answer(who)
    if method in needs:
        return needs[method].answer(who)
    if name in METHOD_FIRST:
        told = who.shows_link if name in BY_PAGES else name == "reset_sent"
        return IN if method == "OPTIONS" and told else NO_METHOD
    if not who.known:
        return UNKNOWN
    if method != "OPTIONS":
        return NO_METHOD
    # It tells which methods there are, to whoever may GET, or has any key where there is no GET.
    get = needs.get("GET")
    return FORBIDDEN if isinstance(get, Key) and get.scope not in who.scopes else IN


def ask(world: World, name: str, method: str, who: Identity) -> str:
    """Send one request, and undo what it did."""
    client = world.client_of(who)
    path = reverse(name, kwargs=world.arguments.get(name, {})) + (f"?{who.query}" if who.query else "")
    body = json.dumps(world.bodies.get((name, method), {})) if method in ("POST", "PUT", "PATCH") else ""
    with transaction.atomic():
        response: Any = client.generic(method, path, body, content_type="application/json", headers=who.headers)
        transaction.set_rollback(True)
    return verdict(response)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_who_gets_in_is_who_should(world: World, name: str):
    differences = [
        f"{method} as {who}: {found}, should be {wanted}"
        for who in world.identities
        if name not in LIBRARY or who.user is None
        for method in (METHODS if name not in LIBRARY else ENTRIES[name])
        if method in ENTRIES[name] or method == "HEAD" or who.name in FEW
        if (found := ask(world, name, method, who)) != (wanted := expected(name, method, who))
    ]
    assert not differences, "\n".join(differences)


def labels(admins: Any) -> dict[str, Any]:
    return {model._meta.label_lower: one for model, one in admins.items()}


def test_every_model_of_the_admin_and_every_action_has_its_rule():
    registered = labels(admin.site._registry)
    assert set(registered) == set(ADMIN)
    actions = {f"{label} {name}" for label, one in registered.items() for name in offered_by(one)}
    assert actions == set(ACTIONS)


def offered_by(one: admin.ModelAdmin[Any]) -> set[str]:
    """Return the actions that a superuser is offered."""
    request = RequestFactory().get("/")
    request.user = User(is_staff=True, is_superuser=True, is_active=True)
    return set(one.get_actions(request))


def test_every_url_of_the_admin_belongs_to_a_model_or_has_its_rule():
    usual = ("changelist", "csv", "add", "change", "delete", "history")
    of_models = {f"admin:{label.replace('.', '_')}_{view}" for label in ADMIN for view in usual}
    apart = {name for name in every_name() if name.startswith("admin:")}
    assert apart - of_models - set(ADMIN_PAGES) == set(), "say in rules.py who may use these"
    unnamed = {name for name in every_name() if name.startswith("admin/")}
    assert all(name.endswith(("<path:object_id>/", "(?P<url>.*)$")) for name in unnamed), "name these"


GUARDED_PAGES = {name: need for name, need in ADMIN_PAGES.items() if not isinstance(need, str)}


@pytest.mark.parametrize("name", sorted(GUARDED_PAGES))
def test_who_sees_the_admins_own_pages(world: World, name: str):
    differences = []
    for who in world.identities:
        found, wanted = ask(world, name, "GET", who), GUARDED_PAGES[name].answer(who)
        if found != wanted:
            differences.append(f"{who}: {found}, should be {wanted}")
    assert not differences, "\n".join(differences)


VERBS = {
    "changelist": ("view", "change"),
    "csv": ("view", "change"),
    "add": ("add",),
    "change": ("view", "change"),
    "delete": ("delete",),
    "history": ("view", "change"),
}


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Log in new staff with these permissions only."""

    def made(*permissions: str, **fields: Any) -> Client:
        user = User.objects.create_user(f"staff-{User.objects.count()}", is_staff=True, **fields)
        names = [permission.partition(".")[2] for permission in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client(raise_request_exception=False)
        client.force_login(user)
        return client

    return made


@pytest.mark.parametrize("label", sorted(ADMIN))
def test_staff_may_do_with_a_model_what_their_permissions_say(
    staff: Callable[..., Client], rows: dict[str, Any], label: str
):
    app, name = label.split(".")
    row = rows[label]
    people = {
        "nobody": Client(),
        "staff without a permission": staff(),
        **{verb: staff(f"{app}.{verb}_{name}") for verb in ("view", "add", "change", "delete")},
        "superuser": staff(is_superuser=True),
    }
    differences = []
    for view, needed in VERBS.items():
        arguments = [row.pk] if view in ("change", "delete", "history") else []
        path = reverse(f"admin:{app}_{name}_{view}", args=arguments)
        for who, client in people.items():
            found = verdict(client.get(path))
            # Who may change may also look, even where nothing can be changed.
            possible = needed[0] in ADMIN[label]
            may = possible and (who == "superuser" or (who in needed and (label, view) not in NEED_MORE))
            wanted = LOGIN if who == "nobody" else IN if may else FORBIDDEN
            if found != wanted:
                differences.append(f"{view} as {who}: {found}, should be {wanted}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_an_action_is_offered_and_done_only_with_its_permission(
    staff: Callable[..., Client], rows: dict[str, Any], action: str
):
    label, _, word = action.partition(" ")
    app, name = label.split(".")
    path = reverse(f"admin:{app}_{name}_changelist")
    only_view = (f"{app}.view_{name}", ACTIONS[action] == f"{app}.view_{name}")
    for permission, may in (only_view, (ACTIONS[action], True)):
        client = staff(f"{app}.view_{name}", permission)
        offered = f'value="{word}"' in client.get(path).content.decode()
        assert offered is may, permission
    if only_view[1]:
        return
    before = LogEntry.objects.count()
    sent = {"action": word, "_selected_action": [str(rows[label].pk)], "post": "yes"}
    staff(f"{app}.view_{name}").post(path, sent)
    assert LogEntry.objects.count() == before
    assert type(rows[label]).objects.filter(pk=rows[label].pk).exists()
