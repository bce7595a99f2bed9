"""The API's operations in the order in which one uses them: groups, examples that work as they stand, and problems.

The description (`casts.api.openapi`) takes from here what it can't see in the views; the page `/api/v1/docs` is made of
the description.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Operation:
    """What is told of one operation beside what its view says."""

    name: str  # its operationId
    summary: str
    scope: str = ""  # that the key needs; blank: a link or a session opens it as well
    problems: tuple[str, ...] = ()  # codes, beside those that every request may get
    ids: dict[str, str] = field(default_factory=dict)  # a path's or query's values in the example
    body: Any = None  # of the example
    headers: dict[str, str] = field(default_factory=dict)
    saves: str = ""  # what the example calls the file that it downloads
    needs: str = ""  # what the example needs that no example before it makes
    # Shell variables that later examples use, and where the answer has them.
    gives: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Operations that belong together."""

    name: str
    about: str
    guide: str  # a page below docs/, for more
    operations: tuple[Operation, ...]


KEYED = ("UNAUTHORIZED", "FORBIDDEN")
# Whatever is asked; those below are named once for all, under "default".
ANY = ("RATE_LIMITED", "TOO_MANY_AT_ONCE")
ELSE = (
    *("METHOD_NOT_ALLOWED", "NOT_ACCEPTABLE", "REQUEST_TIMEOUT", "URI_TOO_LONG", "INTERNAL", "UNAVAILABLE"),
    "NOT_FOUND",  # a path that is none of the operations'
    "MALFORMED_REQUEST",  # a Host that is not ours
    "INPUT_TOO_LARGE",  # a body that is too large for anything, also where none is read
)
BODY = ("MALFORMED_JSON", "INPUT_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "VALIDATION_ERROR")
QUERY = ("VALIDATION_ERROR",)
ONCE = ("MALFORMED_REQUEST", "IDEMPOTENCY_CONFLICT", "IDEMPOTENCY_KEY_REUSED")
PAYS = ("BUDGET_CAP_EXCEEDED", "TOO_MANY_OPEN_CASTS", "TOO_MANY_STREAMS")
BILLED = ("BILLING_OFF", "NOT_BILLED")
STRIPE = (*BILLED, "PAYMENTS_UNAVAILABLE")
OF_CAST = {"cast_id": "$CAST_ID"}
OF_ENDPOINT = {"endpoint_id": "$ENDPOINT_ID"}
ENDPOINT = "https://example.com/hooks/spells"
GREET = {"spell_key": "greet", "input": {"name": "Ada"}}

GROUPS = (
    Group(
        "Casting",
        "A cast is one request to run a spell. Placing it holds its price; the run starts behind the answer, and the "
        "price is taken or given back when it ends.",
        "reference/api.md#casting",
        (
            Operation(
                "cast",
                "Cast a spell",
                "casts:write",
                (*BODY, *ONCE, *PAYS, "SPELL_NOT_FOUND"),
                body=GREET,
                headers={"Prefer": "wait=30"},
                gives={"CAST_ID": "cast_id"},
            ),
            Operation(
                "get_cast",
                "Read a cast, or wait for its end",
                "casts:read",
                ("CAST_NOT_FOUND", "MALFORMED_REQUEST", "TOO_MANY_STREAMS"),
                OF_CAST,
                headers={"Prefer": "wait=30"},
            ),
            Operation(
                "cast_events",
                "Follow a cast live",
                "",
                ("CAST_NOT_FOUND", "MALFORMED_REQUEST", "TOO_MANY_STREAMS"),
                OF_CAST,
            ),
            Operation("list_casts", "List casts", "casts:read", QUERY, {"status": "succeeded", "page_size": "5"}),
            Operation(
                "get_artifact",
                "Download an artifact",
                "",
                ("CAST_NOT_FOUND", "ARTIFACT_NOT_FOUND", "ARTIFACT_PENDING", "ARTIFACT_EXPIRED"),
                OF_CAST | {"name": "spell-result"},
                saves="spell-result.zip",
            ),
            Operation(
                "get_artifact_preview",
                "Show a picture or PDF among artifacts",
                "",
                ("CAST_NOT_FOUND", "ARTIFACT_NOT_FOUND", "ARTIFACT_PENDING", "ARTIFACT_EXPIRED", "NO_PREVIEW"),
                OF_CAST | {"name": "report", "member": "chart.png"},
                saves="chart.png",
                needs="an artifact named report with a picture chart.png in it",
            ),
            Operation(
                "get_artifacts",
                "Download all artifacts as one zip",
                "",
                ("CAST_NOT_FOUND", "ARTIFACT_NOT_FOUND", "ARTIFACT_PENDING", "ARTIFACT_EXPIRED"),
                OF_CAST,
                saves="artifacts.zip",
            ),
            Operation(
                "get_output",
                "Download the output as JSON",
                "",
                ("CAST_NOT_FOUND", "NO_RESULT"),
                OF_CAST,
                saves="output.json",
            ),
            Operation(
                "get_output_table",
                "Download a table as CSV",
                "",
                ("CAST_NOT_FOUND", "NO_RESULT"),
                OF_CAST,
                saves="output.csv",
                needs="an output that is a list of objects",
            ),
            Operation(
                "get_summary",
                "Download the summary",
                "",
                ("CAST_NOT_FOUND", "NO_RESULT"),
                OF_CAST,
                saves="summary.md",
            ),
            Operation("cancel_cast", "Cancel a cast", "casts:write", ("CAST_NOT_FOUND",), OF_CAST),
            Operation(
                "retry_cast",
                "Cast the same again",
                "casts:write",
                (
                    *(
                        "CAST_NOT_FOUND",
                        "CAST_NOT_FINAL",
                        "INPUT_REMOVED",
                        "SPELL_NOT_FOUND",
                        "VALIDATION_ERROR",
                        "INPUT_TOO_LARGE",
                    ),
                    *ONCE,
                    *PAYS,
                ),
                OF_CAST,
            ),
            Operation("revoke_links", "Revoke a cast's links", "casts:write", ("CAST_NOT_FOUND",), OF_CAST),
            Operation(
                "create_cast",
                "Cast a spell, by the list's own path",
                "casts:write",
                (*BODY, *ONCE, *PAYS, "SPELL_NOT_FOUND"),
                body=GREET,
            ),
        ),
    ),
    Group(
        "Spells",
        "What a key may cast: its input and output schemas, its price, its limits.",
        "reference/api.md#spells",
        (
            Operation("list_spells", "List spells", "spells:read"),
            Operation(
                "get_spell",
                "Read a spell",
                "spells:read",
                ("SPELL_NOT_FOUND", "SPELL_VERSION_NOT_FOUND", *QUERY),
                {"spell_key": "greet"},
            ),
        ),
    ),
    Group(
        "Budget and usage",
        "The month's money in cents: the caps, what open casts hold, what was spent.",
        "reference/api.md#budget",
        (
            Operation("get_budget", "Read the budget", "budget:read"),
            Operation(
                "set_cap",
                "Change a cap",
                "budget:write",
                (*BODY, "KEY_NOT_FOUND", "SPELL_NOT_FOUND"),
                body={"scope": "spell", "spell_key": "greet", "cap_cents": 500},
            ),
            Operation("get_usage", "Read what was spent", "budget:read", QUERY),
        ),
    ),
    Group(
        "Keys",
        "API keys make API keys, which can do no more than they do themselves.",
        "reference/api.md#managing-keys",
        (
            Operation(
                "create_key",
                "Make a key",
                "keys",
                (*BODY, "TOO_MANY_KEYS"),
                body={"name": "nightly report", "scopes": ["casts:read"]},
                gives={"NEW_KEY_ID": "id"},
            ),
            Operation("list_keys", "List keys", "keys"),
            Operation(
                "rotate_key",
                "Rotate a key",
                "keys",
                (*BODY, "KEY_NOT_FOUND", "KEY_NOT_ROTATED", "TOO_MANY_KEYS"),
                {"key_id": "$NEW_KEY_ID"},
                body={"overlap_seconds": 3600},
            ),
            Operation("revoke_key", "Revoke a key", "keys", ("KEY_NOT_FOUND", *QUERY), {"key_id": "$NEW_KEY_ID"}),
        ),
    ),
    Group(
        "Callbacks",
        "Signed messages to addresses of yours when casts end, with a log of every try.",
        "reference/callbacks.md",
        (
            Operation(
                "create_callback_endpoint",
                "Add an endpoint",
                "callbacks",
                (*BODY, "TOO_MANY_ENDPOINTS"),
                body={"url": ENDPOINT, "description": "The shop"},
                gives={"ENDPOINT_ID": "id"},
            ),
            Operation("list_callback_endpoints", "List endpoints", "callbacks"),
            Operation("get_callback_endpoint", "Read an endpoint", "callbacks", ("ENDPOINT_NOT_FOUND",), OF_ENDPOINT),
            Operation(
                "change_callback_endpoint",
                "Change an endpoint",
                "callbacks",
                (*BODY, "ENDPOINT_NOT_FOUND"),
                OF_ENDPOINT,
                body={"description": "The shop's new server"},
            ),
            Operation(
                "test_callback_endpoint",
                "Send an endpoint a test",
                "callbacks",
                ("ENDPOINT_NOT_FOUND", "ENDPOINT_DISABLED", "TOO_MANY_TESTS"),
                OF_ENDPOINT,
            ),
            Operation(
                "get_callback_endpoint_secret",
                "Read an endpoint's secret",
                "callbacks",
                ("ENDPOINT_NOT_FOUND", "SECRETS_UNREADABLE"),
                OF_ENDPOINT,
            ),
            Operation(
                "rotate_callback_endpoint_secret",
                "Rotate an endpoint's secret",
                "callbacks",
                (*BODY, "ENDPOINT_NOT_FOUND", "SECRETS_UNREADABLE"),
                OF_ENDPOINT,
                body={},
            ),
            Operation(
                "list_callbacks", "Read the delivery log", "callbacks", QUERY, gives={"CALLBACK_ID": "results/0/id"}
            ),
            Operation(
                "get_callback",
                "Read one message's tries",
                "callbacks",
                ("CALLBACK_NOT_FOUND",),
                {"callback_id": "$CALLBACK_ID"},
            ),
            Operation(
                "replay_callback",
                "Send a message again",
                "callbacks",
                ("CALLBACK_NOT_FOUND", "CALLBACK_IN_FLIGHT", "ENDPOINT_DISABLED"),
                {"callback_id": "$CALLBACK_ID"},
            ),
            Operation(
                "delete_callback_endpoint", "Delete an endpoint", "callbacks", ("ENDPOINT_NOT_FOUND",), OF_ENDPOINT
            ),
            Operation(
                "get_callback_secret", "Read the secret of casts' own addresses", "keys", ("SECRETS_UNREADABLE",)
            ),
            Operation(
                "rotate_callback_secret",
                "Rotate the secret of casts' own addresses",
                "keys",
                (*BODY, "SECRETS_UNREADABLE"),
                body={},
            ),
        ),
    ),
    Group(
        "Audit log",
        "Who changed what in the account.",
        "reference/api.md#audit-log",
        (Operation("list_audit", "Read the audit log", "audit", QUERY, {"page_size": "5"}),),
    ),
    Group(
        "Billing",
        "Where the installation takes payments: credit, cards, top-ups and invoices, at Stripe. Elsewhere these answer "
        "with 404 BILLING_OFF.",
        "how-to/billing.md",
        (
            Operation("get_billing", "Read how the account pays", "billing", BILLED[:1]),
            Operation(
                "create_topup",
                "Top up",
                "billing",
                (
                    *(*BODY, *ONCE, *STRIPE, "NO_CARD", "TOPUP_AMOUNT", "TOPUP_UNDER_WAY", "TOO_MANY_TOPUPS"),
                    "TOO_MANY_DECLINES",
                ),
                body={"cents": 2500, "hosted": True},
                headers={"Idempotency-Key": "invoice-2026-11"},
                gives={"TOPUP_ID": "id"},
            ),
            Operation("get_topup", "Read a top-up", "billing", (*BILLED, "TOPUP_NOT_FOUND"), {"topup_id": "$TOPUP_ID"}),
            Operation(
                "cancel_topup",
                "Cancel a top-up",
                "billing",
                (*STRIPE, "TOPUP_NOT_FOUND", "TOPUP_NOT_CANCELLED"),
                {"topup_id": "$TOPUP_ID"},
            ),
            Operation("list_topups", "List top-ups", "billing", (*BILLED, *QUERY)),
            Operation("set_up_card", "Save a card", "billing", (*BODY, *STRIPE), body={}),
            Operation(
                "change_billing",
                "Top up by itself, or say when credit is low",
                "billing",
                (*BODY, *STRIPE, "NO_CARD", "TOPUP_AMOUNT", "PAYS_BY_INVOICE"),
                body={"low_cents": 500},
            ),
            Operation("open_billing_portal", "Open Stripe's page of invoices", "billing", (*BODY, *STRIPE), body={}),
            Operation("list_invoices", "List invoices", "billing", BILLED),
        ),
    ),
)
OPERATIONS = {one.name: one for group in GROUPS for one in group.operations}
GROUP_OF = {one.name: group for group in GROUPS for one in group.operations}
