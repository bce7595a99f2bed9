"""Who may do what, written from the rules: the expected answer for every URL, method and identity.

An entry says what a method needs; a method without an entry is refused with 405 to everybody who is not refused
because of who they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.matrix.identities import Identity

IN = "in"  # past every guard, whatever the answer then is
LOGIN = "login"  # sent to the login page
NOT_FOUND, UNKNOWN, FORBIDDEN, NO_METHOD = "404", "401", "403", "405"


@dataclass(frozen=True)
class Open:
    """Anybody."""

    def answer(self, who: Identity) -> str:
        return IN


@dataclass(frozen=True)
class Key:
    """An API key with a scope; of the right account, and where `spell` is said, one that may use that spell."""

    scope: str
    ours: bool = False  # about one object of the account
    also: str = ""  # a second scope
    spell: str = ""  # about one spell, or a cast of it: the answer to a key of other spells

    def answer(self, who: Identity) -> str:
        if not who.known:
            return UNKNOWN
        if self.scope not in who.scopes or (self.also and self.also not in who.scopes):
            return FORBIDDEN
        if self.ours and not who.same_account:
            return NOT_FOUND
        return self.spell if self.spell and who.other_spells else IN


@dataclass(frozen=True)
class Reader:
    """Whoever may read a cast: by link, key, role or permission. `contents`: more than its status."""

    contents: bool = False
    page: bool = False

    def answer(self, who: Identity) -> str:
        if who.shows_link:
            return IN if who.opens_cast else FORBIDDEN if self.page else UNKNOWN
        if who.headers:
            answer = Key("casts:read", ours=True, spell=NOT_FOUND).answer(who)
            return LOGIN if self.page and answer == UNKNOWN else answer
        if who.user is None:
            return LOGIN if self.page else UNKNOWN
        if who.everything or "casts.view_cast" in who.permissions:
            return IN
        if who.role == "viewer":
            return FORBIDDEN if self.contents else IN
        return IN if who.role else NOT_FOUND


@dataclass(frozen=True)
class LoggedIn:
    """Whoever has logged in."""

    def answer(self, who: Identity) -> str:
        return IN if who.user else LOGIN


@dataclass(frozen=True)
class Member:
    """A user with one of these roles in the account; it is not there for who is no member of it."""

    roles: tuple[str, ...]

    def answer(self, who: Identity) -> str:
        if who.user is None:
            return LOGIN
        return IN if who.role in self.roles else FORBIDDEN if who.role else NOT_FOUND


KEEPERS = Member(("owner", "admin"))


@dataclass(frozen=True)
class Follower:
    """A member of the account with a session, of whatever role. A program is not redirected."""

    def answer(self, who: Identity) -> str:
        return UNKNOWN if who.user is None else IN if who.role else FORBIDDEN


@dataclass(frozen=True)
class Actor:
    """A member who may act on a cast; those who may only look are told so, and it is not there for others."""

    def answer(self, who: Identity) -> str:
        if who.user is None:
            return LOGIN
        if who.role in ("owner", "admin", "member"):
            return IN
        looks = who.role or who.everything or "casts.view_cast" in who.permissions
        return FORBIDDEN if looks else NOT_FOUND


@dataclass(frozen=True)
class Staff:
    """Staff with one of these permissions; nobody at all if there are none."""

    permissions: tuple[str, ...] = ()
    anybody: bool = False  # any staff

    def answer(self, who: Identity) -> str:
        if not who.staff:
            return LOGIN
        if self.anybody:
            return IN
        allowed = bool(self.permissions) and (who.everything or not who.permissions.isdisjoint(self.permissions))
        return IN if allowed else FORBIDDEN


@dataclass(frozen=True)
class Superuser:
    """Superusers alone."""

    def answer(self, who: Identity) -> str:
        return IN if who.everything else FORBIDDEN if who.staff else LOGIN


Need = Open | Actor | Key | Reader | LoggedIn | Member | Follower | Staff | Superuser
API: dict[str, dict[str, Need]] = {
    "api:cast-create": {"POST": Key("casts:write", ours=True, spell=FORBIDDEN)},
    "api:casts": {"GET": Key("casts:read"), "POST": Key("casts:write", ours=True, spell=FORBIDDEN)},
    "api:cast": {"GET": Key("casts:read", ours=True, spell=NOT_FOUND)},
    "api:cast-cancel": {"POST": Key("casts:write", ours=True, spell=NOT_FOUND)},
    "api:cast-retry": {"POST": Key("casts:write", ours=True, spell=NOT_FOUND)},
    "api:cast-links": {"DELETE": Key("casts:write", also="casts:read", ours=True, spell=NOT_FOUND)},
    "api:cast-events": {"GET": Reader()},
    "api:cast-artifact": {"GET": Reader(contents=True)},
    "api:cast-preview": {"GET": Reader(contents=True)},
    "api:cast-artifacts-zip": {"GET": Reader(contents=True)},
    "api:cast-output": {"GET": Reader(contents=True)},
    "api:cast-output-csv": {"GET": Reader(contents=True)},
    "api:cast-summary": {"GET": Reader(contents=True)},
    "api:spells": {"GET": Key("spells:read")},
    "api:spell": {"GET": Key("spells:read", ours=True, spell=FORBIDDEN)},
    "api:budget": {"GET": Key("budget:read"), "PATCH": Key("budget:write")},
    "api:audit": {"GET": Key("audit")},
    "api:usage": {"GET": Key("budget:read")},
    "api:keys": {"GET": Key("keys"), "POST": Key("keys")},
    "api:key": {"DELETE": Key("keys", ours=True)},
    "api:key-rotate": {"POST": Key("keys", ours=True, spell=FORBIDDEN)},  # of a key for all spells
    "api:callbacks": {"GET": Key("callbacks")},
    "api:callback": {"GET": Key("callbacks", ours=True, spell=NOT_FOUND)},
    "api:callback-replay": {"POST": Key("callbacks", ours=True, spell=NOT_FOUND)},
    "api:callback-secret": {"GET": Key("keys")},
    "api:callback-secret-rotate": {"POST": Key("keys")},
    "api:callback-endpoints": {"GET": Key("callbacks"), "POST": Key("callbacks")},
    "api:callback-endpoint": {
        "GET": Key("callbacks", ours=True),
        "PATCH": Key("callbacks", ours=True),
        "DELETE": Key("callbacks", ours=True),
    },
    "api:callback-endpoint-secret": {"GET": Key("callbacks", ours=True)},
    "api:callback-endpoint-rotate": {"POST": Key("callbacks", ours=True)},
    "api:callback-endpoint-test": {"POST": Key("callbacks", ours=True)},
    "billing:overview": {"GET": Key("billing"), "PATCH": Key("billing")},
    "billing:setup": {"POST": Key("billing")},
    "billing:portal": {"POST": Key("billing")},
    "billing:topups": {"GET": Key("billing"), "POST": Key("billing")},
    "billing:topup": {"GET": Key("billing", ours=True)},
    "billing:topup-cancel": {"POST": Key("billing", ours=True)},
    "billing:invoices": {"GET": Key("billing")},
    "api:schema": {"GET": Open()},
    "api:docs": {"GET": Open()},
}
ROLES = ("owner", "admin", "member", "viewer")
PAGES: dict[str, dict[str, Need]] = {
    "cast-page": {"GET": Reader(page=True)},
    **{f"cast-page-{deed}": {"POST": Actor()} for deed in ("again", "cancel", "links")},
    "attention": {"GET": Staff(anybody=True)},
    "spell-times": {"GET": Staff(("casts.view_cast", "casts.view_spell"))},
    "import-spells": {"GET": Staff(("casts.add_spell",)), "POST": Staff(("casts.add_spell",))},
    "github-connect": {"GET": Superuser(), "POST": Superuser()},
    "github-connected": {"GET": Superuser()},
    "github-installed": {"GET": Open(), "POST": Staff(("casts.add_spell",))},
    "guide": {"GET": Open()},
    "guides": {"GET": Open()},
    "problem": {"GET": Open()},
    "problems": {"GET": Open()},
    "start": {"GET": LoggedIn()},
    "home": {"GET": LoggedIn()},
    "spells-page": {"GET": LoggedIn()},
    # Who may see it sends its form for other things than a cast, too: tests/casts/pages/test_spell_page.py.
    "spell-page": {
        "GET": Member(("owner", "admin", "member", "viewer")),
        "POST": Member(("owner", "admin", "member", "viewer")),
    },
    "home-events": {"GET": Follower()},
    "account": {"GET": LoggedIn()},
    "sessions": {"GET": LoggedIn(), "POST": LoggedIn()},
    "money-accounts": {"GET": LoggedIn()},
    **{f"account-keys{tail}": {"GET": KEEPERS, "POST": KEEPERS} for tail in ("-new", "-one")},
    "account-keys": {"GET": KEEPERS},
    "account-budget": {"GET": Member(("owner", "admin", "member")), "POST": KEEPERS},
    "account-usage-file": {"GET": Member(("owner", "admin", "member", "viewer"))},
    "account-usage": {"GET": Member(("owner", "admin", "member", "viewer"))},
    "money": {"GET": Member(("owner", "admin", "member")), "POST": Member(("owner", "admin"))},
    "money-to-stripe": {"GET": Member(("owner", "admin"))},
    "account-audit": {"GET": Member(("owner",))},
    "account-callbacks": {"GET": Member(("owner", "admin")), "POST": Member(("owner", "admin"))},
    "account-callbacks-endpoint": {"GET": Member(("owner", "admin")), "POST": Member(("owner", "admin"))},
    "account-settings": {"GET": Member(("owner", "admin")), "POST": Member(("owner", "admin"))},
    "account-members": {"GET": Member(ROLES), "POST": Member(("owner",))},
    "account-members-one": {"GET": Member(("owner",)), "POST": Member(("owner",))},
    "readyz": {"GET": Open()},  # what it tells whom: tests/core/test_health.py
    "account_login": {"GET": Open(), "POST": Open()},
    "account_logout": {"GET": LoggedIn(), "POST": Open()},
    "account_reset_password": {"GET": Open(), "POST": Open()},
    "reset_sent": {"GET": Open()},
    "account_change_password": {"GET": LoggedIn(), "POST": LoggedIn()},
    "account_reauthenticate": {"GET": LoggedIn(), "POST": LoggedIn()},
    "mfa_index": {"GET": LoggedIn()},
    **{
        name: {"GET": LoggedIn(), "POST": LoggedIn()}
        for name in (
            *("mfa_reauthenticate", "mfa_reauthenticate_webauthn", "mfa_activate_totp"),
            *("mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes"),
            "mfa_add_webauthn",
        )
    },
}

# What the admin lets be done with each model at all; to whom, Django's permission of that name says. What has been used
# (the rows here) is never deleted: accounts and spells.
ADMIN: dict[str, set[str]] = {
    "auth.group": {"view", "add", "change", "delete"},
    "auth.user": {"view", "add", "change", "delete"},
    "accounts.account": {"view", "add", "change"},
    "accounts.apikey": {"view", "add", "change", "delete"},
    "accounts.auditentry": {"view"},
    "accounts.budgetperiod": {"view"},
    "accounts.credit": {"view", "add"},
    "accounts.invitation": {"view"},
    "accounts.ledgerentry": {"view"},
    "accounts.refusal": {"view"},
    "casts.artifact": {"view"},
    "casts.alarm": {"view"},
    "casts.alarmmessage": {"view"},
    "casts.callback": {"view"},
    "casts.callbackendpoint": {"view"},
    "casts.cast": {"view"},
    "casts.castevent": {"view"},
    "casts.spell": {"view", "add", "change"},
    "github_integration.installation": {"view", "change"},
    "github_integration.repositorylist": {"view"},
    "github_integration.spellrepository": {"view"},
    "payments.customer": {"view", "add", "change"},
    "payments.dispute": {"view"},
    "payments.eventsweep": {"view"},
    "payments.invoice": {"view"},
    "payments.meterreport": {"view"},
    "payments.refund": {"view"},
    "payments.stripeevent": {"view"},
    "payments.subscription": {"view"},
    "payments.topup": {"view"},
    "payments.verification": {"view"},
    "webhooks.delivery": {"view"},
    "webhooks.deliverysweep": {"view"},
}
# Who adds users can give them any permission, so Django asks for the one to change them too.
NEED_MORE = {("auth.user", "add")}
# Actions on lists, and the permission that each needs.
ACTIONS: dict[str, str] = {
    "accounts.apikey revoke": "accounts.change_apikey",
    "accounts.invitation revoke": "accounts.change_invitation",
    "casts.alarmmessage send_again": "casts.change_alarmmessage",
    "casts.artifact copy_again": "casts.change_artifact",
    "casts.callback send_again": "casts.change_callback",
    "casts.callbackendpoint disable": "casts.change_callbackendpoint",
    "casts.callbackendpoint enable": "casts.change_callbackendpoint",
    "casts.cast cancel": "casts.change_cast",
    "casts.cast revoke_links": "casts.change_cast",
    "casts.cast copy_artifacts_again": "casts.change_artifact",
    "casts.cast cast_again": "casts.change_cast",
    "casts.cast leave_uncharged": "casts.change_cast",
    "casts.cast look_now": "casts.change_cast",
    "casts.cast send_callbacks_again": "casts.change_callback",
    "casts.spell check_on_github": "casts.change_spell",
    "casts.spell hand_over_to_files": "casts.change_spell",
    "github_integration.installation resume": "github_integration.change_installation",
    "github_integration.spellrepository look_now": "github_integration.change_spellrepository",
    "payments.meterreport try_again": "payments.change_meterreport",
    "payments.refund look_now": "payments.change_refund",
    "payments.stripeevent apply_again": "payments.change_stripeevent",
    "payments.subscription look_now": "payments.change_subscription",
    "payments.topup look_now": "payments.change_topup",
    "payments.topup settled": "payments.change_topup",
    "payments.topup refund": "payments.add_refund",
    "webhooks.deliverysweep sweep_again": "webhooks.change_deliverysweep",
    "auth.user end_sessions": "auth.change_user",
    "auth.user remove_second_factors": "auth.change_user",
    "webhooks.delivery apply_again": "webhooks.change_delivery",
    "auth.group delete_selected": "auth.delete_group",
}
# The admin's URLs that belong to no model; a text says why one is not asked here.
ADMIN_PAGES: dict[str, Need | str] = {
    "admin:index": Staff(anybody=True),
    "admin:app_list": "a part of the index; 404 without a permission in it",
    "admin:jsi18n": Staff(anybody=True),
    "admin:login": "leads to /login/, which is everybody's",
    "admin:logout": "by POST, for whoever is logged in",
    "admin:password_change": Staff(anybody=True),
    "admin:password_change_done": Staff(anybody=True),
    "admin:autocomplete": "a search for a field of a form, which the form's model guards",
    "admin:casts_alarmmessage_test": "a button of the list, by POST (tests/casts/alarms/test_alarms.py)",
    "admin:casts_spell_try": "POST alone, for who may add spells (tests/casts/test_console.py)",
    "admin:casts_spell_try_changed": "POST alone, for who may change spells (tests/casts/test_console.py)",
    "admin:casts_spell_versions": "what a spell's versions say, for whoever may look at it (tests/casts/test_admin.py)",
    "admin:view_on_site": "leads to no page of ours",
    "admin:auth_user_password_change": "of another user: needs auth.change_user",
}
