"""Entries of the audit log as a person reads them."""

from __future__ import annotations

from typing import Any

from accounts.audit.models import AuditEntry

# What somebody did, as it follows who did it.
ACTIONS = {
    "account.change": "changed the account's settings",
    "account.rotate_callback_secret": "changed the secret that signs calls to callback_urls",
    "billing.cancel_top_up": "cancelled a top-up",
    "billing.open_portal": "opened the page of invoices at Stripe",
    "billing.remove_card": "removed the card",
    "billing.save_card": "began to save a card",
    "billing.set_auto_topup": "changed topping up by itself",
    "billing.set_low": "changed below what credit is low",
    "billing.top_up": "topped up credit",
    "budget.set_cap": "changed caps",
    "callback.replay": "sent a callback again",
    "callback_endpoint.change": "changed a callback endpoint",
    "callback_endpoint.create": "made a callback endpoint",
    "callback_endpoint.delete": "deleted a callback endpoint",
    "callback_endpoint.rotate_secret": "changed a callback endpoint's secret",
    "callback_endpoint.test": "sent a test event",
    "cast.cancel": "cancelled a cast",
    "cast.create": "cast",
    "cast.retry": "cast again",
    "cast.revoke_links": "ended the links to a cast",
    "key.create": "made an API key",
    "key.revoke": "revoked an API key",
    "key.rotate": "rotated an API key",
    "member.change_role": "gave a member another role",
    "member.invite": "invited somebody",
    "member.invite_again": "sent an invitation again",
    "member.join": "became a member",
    "member.leave": "left the account",
    "member.remove": "removed a member",
    "member.revoke_invitation": "took an invitation back",
    "retention.change": "changed for how long things are kept",
    "spell.set_price": "set the account's own price for a spell",
}
KINDS = {"callbackendpoint": "endpoint", "apikey": "API key", "membership": "member"}
NAMES = ("user", "email", "name", "url")  # facts that tell a person more than an id does
VALUE_CHARS = 200


def said(entry: AuditEntry) -> str:
    """Return what somebody did; of what operators did in the admin, in its own words."""
    if entry.action in ACTIONS:
        return ACTIONS[entry.action]
    place, _, rest = entry.action.partition(".")
    if place == "admin":
        kind, _, verb = rest.partition(".")
        return f"in the admin: {verb.replace('_', ' ')}, {kind}"
    return entry.action.replace("_", " ").replace(".", ": ")


def about(entry: AuditEntry) -> str:
    """Return what was changed: by its name, where the entry has one, else by its id."""
    facts = {**(entry.after or {}), **(entry.before or {})}
    named = next((text(facts[name]) for name in NAMES if facts.get(name)), entry.object_id)
    return f"{KINDS.get(entry.object_kind, entry.object_kind)} {named}".strip()


def changed(entry: AuditEntry, chars: int = VALUE_CHARS) -> list[tuple[str, str, str]]:
    """Return each fact's name, what it was and what it became, as short texts; blank for what is not told."""
    before, after = entry.before or {}, entry.after or {}
    return [
        (name.replace("_", " "), text(before.get(name), chars), text(after.get(name), chars))
        for name in {**before, **after}
    ]


def text(value: Any, chars: int = VALUE_CHARS) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    shown = str(value)
    return shown if len(shown) <= chars else shown[: chars - 1] + "…"
