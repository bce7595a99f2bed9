"""Every kind of problem that the API answers with: what it means, and what helps.

`type` of a problem is the address of a page made of this (`core.api.explained`). The codes are the wire's and stay; the
errors of each app name theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.urls import absolute

PATH = "/problems/"  # not reversed: a problem may be made before there are any URLs


@dataclass(frozen=True)
class Kind:
    """One kind of problem. The texts are for people who call the API, and hold no markup."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str

    @property
    def slug(self) -> str:
        return self.code.lower().replace("_", "-")

    @property
    def url(self) -> str:
        return absolute(PATH + self.slug)


AGAIN = "Send the same request again later"
KINDS = (
    Kind(
        "MALFORMED_JSON",
        400,
        "Bad Request",
        "The body is not JSON, not an object, nested more than a hundred deep, or holds what no database keeps: a NUL "
        "character or half of a surrogate pair.",
        "Let a JSON library write the body, and send it as it is. In a shell, put it in single quotes, or in a file "
        "that curl sends with --data @file.",
    ),
    Kind(
        "MALFORMED_REQUEST",
        400,
        "Malformed request",
        "A header or parameter can't be read: Prefer, Idempotency-Key, Last-Event-ID, after or Host. Or the account "
        "takes no casts without an Idempotency-Key.",
        "Correct what `detail` names. An Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID that you "
        "make for each cast and keep until an answer has come.",
    ),
    Kind(
        "BAD_SIGNATURE",
        400,
        "Bad Request",
        "Of Stripe's webhooks alone: the delivery is not signed with our secret, or not lately.",
        "An operator compares STRIPE_WEBHOOK_SECRET with the endpoint's secret at Stripe, and the server's clock with "
        "the time.",
    ),
    Kind(
        "UNAUTHORIZED",
        401,
        "Not authenticated",
        "The request shows no API key, or one that is unknown, cut, revoked or expired; or it comes by a link that has "
        "expired, was revoked, or was cut when it was copied.",
        "Send the key as “Authorization: Bearer sk_live_spl_…”. If it was revoked, an owner or admin of the account "
        "makes another. A new link comes with the cast itself, as its progress_url.",
    ),
    Kind(
        "BUDGET_CAP_EXCEEDED",
        402,
        "Budget cap exceeded",
        "The price does not fit under the month's cap of the account, the key or the spell any more, or the account "
        "has too little credit. `scope` says which, and the numbers are that cap's. Nothing was placed.",
        "Raise the cap, wait for the next month (`resets_at`), or let casts that hold money end. Where `scope` is "
        "`credit`, top up. `Retry-After` is there when waiting helps.",
    ),
    Kind(
        "FORBIDDEN",
        403,
        "Not allowed",
        "The key is good, and lacks a scope (`required_scope` names it), or may not cast this spell, or would give "
        "away more than it has.",
        "Use a key that may do this, or have an owner or admin of the account make one. A key's scopes never grow.",
    ),
    Kind(
        "NOT_FOUND",
        404,
        "Not Found",
        "There is no such path, or no such page of a list.",
        "Compare the path with the API reference; paths have no slash at their end. Take `next` and `previous` from "
        "the page that you have.",
    ),
    Kind(
        "BILLING_OFF",
        404,
        "Billing is off",
        "This installation takes no payments.",
        "Casts are limited by caps alone. An operator can turn billing on for the installation.",
    ),
    Kind(
        "SPELL_NOT_FOUND",
        404,
        "Spell not found",
        "There is no active spell of that key, or it is another account's own.",
        "GET /api/v1/spells lists what the key may cast.",
    ),
    Kind(
        "SPELL_VERSION_NOT_FOUND",
        404,
        "Version of the spell not found",
        "The spell never had a version of that number, or it was another account's then.",
        "Take the number from a cast's `spell_version`, or leave it out for what the spell is now.",
    ),
    Kind(
        "CAST_NOT_FOUND",
        404,
        "Cast not found",
        "There is no such cast in the key's account, or it is of a spell that the key is not for.",
        "Take the id from the answer that placed it, and use a key of the same account.",
    ),
    Kind(
        "ARTIFACT_NOT_FOUND",
        404,
        "Artifact not found",
        "The cast has no artifact of that name, or its file is missing in the service's storage; `detail` says which.",
        "The cast's `artifacts` lists those it has, with their addresses. Ask the operator for a file that is missing; "
        "if it is lost, cast again.",
    ),
    Kind(
        "NO_RESULT",
        404,
        "No such result",
        "The cast has no output, no summary, or no list of objects at the place that `at` names.",
        "Read the cast: its `output` and `summary` say what there is. A cast has them when it has ended.",
    ),
    Kind(
        "NO_PREVIEW",
        404,
        "No preview",
        "The artifact, or the file in it, is no PNG, JPEG, GIF, WebP, AVIF or PDF, or it is too large to be shown; or "
        "the artifact is a zip that can't be read. `detail` says which.",
        "Download the artifact.",
    ),
    Kind(
        "KEY_NOT_FOUND",
        404,
        "API key not found",
        "There is no such API key in the account.",
        "GET /api/v1/keys lists them. A key's id is a number, and no part of its secret.",
    ),
    Kind(
        "ENDPOINT_NOT_FOUND",
        404,
        "Endpoint not found",
        "There is no such callback endpoint in the account, or it was deleted.",
        "GET /api/v1/callbacks/endpoints lists them.",
    ),
    Kind(
        "CALLBACK_NOT_FOUND",
        404,
        "Callback not found",
        "There is no such callback in the account.",
        "GET /api/v1/callbacks lists them, the newest first.",
    ),
    Kind(
        "TOPUP_NOT_FOUND",
        404,
        "Top-up not found",
        "There is no such top-up in the account.",
        "GET /api/v1/billing/topups lists them.",
    ),
    Kind(
        "METHOD_NOT_ALLOWED",
        405,
        "Method Not Allowed",
        "The path is right, and the method is not one of its.",
        "`Allow` names the methods there are.",
    ),
    Kind(
        "NOT_ACCEPTABLE",
        406,
        "Not Acceptable",
        "The Accept header excludes JSON, which every answer is.",
        "Leave Accept out, or ask for application/json.",
    ),
    Kind(
        "REQUEST_TIMEOUT",
        408,
        "Request Timeout",
        "The body did not come to its end in time: ten seconds passed without a part of it, or a minute in all.",
        f"{AGAIN}. If it happens often, look for a proxy that holds bodies back.",
    ),
    Kind(
        "ARTIFACT_PENDING",
        409,
        "Artifact not copied yet",
        "The artifact is there, and still being copied from where its run left it.",
        "Ask again after `Retry-After`.",
    ),
    Kind(
        "CAST_NOT_FINAL",
        409,
        "Cast has not ended",
        "Only a cast that has ended can be cast again.",
        "Wait for its end, or cancel it first.",
    ),
    Kind(
        "IDEMPOTENCY_CONFLICT",
        409,
        "The same request is in progress",
        "A request with this Idempotency-Key is being worked on at this moment.",
        "Send the same request again after `Retry-After`: it gets the first one's answer.",
    ),
    Kind(
        "CALLBACK_IN_FLIGHT",
        409,
        "Callback is being sent",
        "The callback is being sent at this moment.",
        "Look at it again after `Retry-After`; it may have arrived.",
    ),
    Kind(
        "ENDPOINT_DISABLED",
        409,
        "Endpoint is disabled",
        "The callback's endpoint is disabled or deleted, so nothing can be sent to it.",
        "Enable the endpoint first, or make another.",
    ),
    Kind(
        "TOO_MANY_TESTS",
        429,
        "Too many test events",
        "The endpoint was sent as many test events as it may be within a minute.",
        "Wait a minute, or send one of them again.",
    ),
    Kind(
        "KEY_NOT_ROTATED",
        409,
        "API key not rotated",
        "The API key was revoked, has expired, or was replaced before: a key is replaced once.",
        "Rotate the key that replaced it, or make a new one with POST /api/v1/keys.",
    ),
    Kind(
        "TOO_MANY_KEYS",
        409,
        "Too many API keys",
        "The account has as many valid API keys as it may.",
        "Revoke one that is not used: GET /api/v1/keys tells when each was used last.",
    ),
    Kind(
        "TOO_MANY_ENDPOINTS",
        409,
        "Too many endpoints",
        "The account has as many callback endpoints as it may: the end of every cast is sent to each of them.",
        "Delete one that is not used, or have one receiver pass on what others need.",
    ),
    Kind(
        "CONFLICT",
        409,
        "Conflict",
        "Of GitHub's webhooks alone: a delivery of this GUID was received before, and its body was another one.",
        "Nothing has to be done: the first one counts.",
    ),
    Kind(
        "TOPUP_NOT_CANCELLED",
        409,
        "Top-up not cancelled",
        "The top-up's card is being charged; only what waits for a page of Stripe's can be cancelled.",
        "Wait for its end. An operator can give the money back.",
    ),
    Kind(
        "NOT_BILLED",
        409,
        "Account is not billed",
        "Billing is not turned on for the account; its casts cost no credit.",
        "An operator turns it on.",
    ),
    Kind(
        "NO_CARD",
        409,
        "No saved card",
        "No card is saved for the account, and this needs one.",
        "Save a card on the Money page or with POST /api/v1/billing/setup, or pay on Stripe's page (`hosted`).",
    ),
    Kind(
        "PAYS_BY_INVOICE",
        409,
        "Pays by invoice",
        "The account pays by invoice for what it casts, so it does not top up by itself.",
        "Nothing has to be done. An operator can change how the account pays.",
    ),
    Kind(
        "TOPUP_UNDER_WAY",
        409,
        "A top-up is under way",
        "The saved card is being charged already.",
        "Look at the top-up that `topup_id` names before you ask for another.",
    ),
    Kind(
        "TOO_MANY_TOPUPS",
        409,
        "Too many open top-ups",
        "As many top-ups of the account are under way as may be.",
        "Pay or cancel those that wait: GET /api/v1/billing/topups lists them.",
    ),
    Kind(
        "REFUND_REFUSED",
        409,
        "Refund refused",
        "Of refunds in the admin alone: more than is left of the payment, or the top-up was not paid.",
        "Give back what `detail` says is left.",
    ),
    Kind(
        "ARTIFACT_EXPIRED",
        410,
        "Artifact expired",
        "The time for which the artifact was kept has passed, or it could not be copied; `detail` says which.",
        "Cast again for a new one. An operator can have copied again what is still there, and keep a spell's artifacts "
        "for longer.",
    ),
    Kind(
        "INPUT_REMOVED",
        410,
        "The cast's input was deleted",
        "The cast that is to be cast again is there; its input was kept for as long as it was to be, and is deleted.",
        "Cast anew with POST /api/v1/cast, with an input. `detail` says after how many days it went; the operator can "
        "keep inputs for longer.",
    ),
    Kind(
        "INPUT_TOO_LARGE",
        413,
        "Input too large",
        "The body, or the input in it, is larger than is taken; `max_bytes` or `max_chars` says how large it may be.",
        "Pass a link to bulky data in place of the data.",
    ),
    Kind(
        "URI_TOO_LONG",
        414,
        "URI Too Long",
        "The path and the query are longer than is taken (`max_bytes`).",
        "Filter by fewer values at a time.",
    ),
    Kind(
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "Unsupported media type",
        "The body is not application/json, is compressed, or is not in UTF-8.",
        "Send JSON in UTF-8 as it is, with Content-Type: application/json.",
    ),
    Kind(
        "VALIDATION_ERROR",
        422,
        "Not valid",
        "The request was understood, and it, its input or a filter breaks a rule. Nothing was done.",
        "`errors` lists every place of the body that is wrong, as JSON Pointers; correct them all at once. What a "
        "spell takes is in its `input_schema`: GET /api/v1/spells/{spell_key}.",
    ),
    Kind(
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "Idempotency-Key used for another request",
        "This Idempotency-Key came before with another body, so this is no repetition.",
        "Take a new key for each new request, and the old one for repetitions of the very same body.",
    ),
    Kind(
        "TOPUP_AMOUNT",
        422,
        "Amount not possible",
        "No card can be charged this amount.",
        "`topup` of GET /api/v1/billing tells the least and the most.",
    ),
    Kind(
        "RATE_LIMITED",
        429,
        "Too many requests",
        "More requests were made than the key, the account, the link or the address may make; `allowance` says which.",
        "Come back after `Retry-After`. Follow a cast by its events, or wait with “Prefer: wait=30”, rather than ask "
        "again and again.",
    ),
    Kind(
        "TOO_MANY_OPEN_CASTS",
        429,
        "Too many open casts",
        "The account has as many casts that have not ended as it may (`max_open`). Nothing was placed.",
        "Send it again once some have ended. An operator can raise the number.",
    ),
    Kind(
        "TOO_MANY_AT_ONCE",
        429,
        "Too many requests at once",
        "So many requests of the account, or of the address, are waiting to be worked on that no more may. Nothing was "
        "done.",
        "Send it again after `Retry-After`, and fewer at a time.",
    ),
    Kind(
        "TOO_MANY_STREAMS",
        429,
        "Too many open streams",
        "As many event streams and waiting requests are open as may be (`max_streams`) of what `limit` says.",
        "Close those that nobody reads, or have one stream's news passed on.",
    ),
    Kind(
        "TOO_MANY_DECLINES",
        429,
        "Too many failed top-ups",
        "So many top-ups of the account failed within the hour that the next has to wait.",
        "Come back after `Retry-After`, with another card, or pay on Stripe's page.",
    ),
    Kind(
        "INTERNAL",
        500,
        "Internal Server Error",
        "A fault of the service. It was logged with its trace.",
        "Send the same request again: with an Idempotency-Key nothing is done twice. If it stays, give `request_id` to "
        "the operator.",
    ),
    Kind(
        "SECRETS_UNREADABLE",
        503,
        "Stored secrets can't be read",
        "A signing secret was encrypted with a key that the service no longer has.",
        "Its operator adds that key again; or rotate the secret, which makes a new one.",
    ),
    Kind(
        "UNAVAILABLE",
        503,
        "Service Unavailable",
        "The service can't reach its database, or its storage of artifacts, at the moment; or the database took too "
        "long over what was asked.",
        f"{AGAIN}, after `Retry-After`; with an Idempotency-Key that is safe. If it took too long, ask for less.",
    ),
    Kind(
        "PAYMENTS_UNAVAILABLE",
        503,
        "Payments are not available",
        "Stripe does not answer, or refuses what the service asks.",
        f"{AGAIN}. Nothing is lost: a payment that has begun is found again.",
    ),
)
BY_CODE = {kind.code: kind for kind in KINDS}
BY_SLUG = {kind.slug: kind for kind in KINDS}
