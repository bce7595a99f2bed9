"""How casts and spells look on the wire."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework.response import Response

from accounts.principals import Kind, Principal
from casts import disclosure, links
from casts.access import About, Reach, may_read
from casts.lifecycle import events, slots
from casts.links import with_links
from casts.models import Artifact, Cast
from casts.pricing import Price
from core.api.etags import etag_of, is_current
from core.db.compiled import OneOf, Params, Select
from core.db.documents import StoredBytes
from core.times import stamp


def cast_out(
    cast: Cast, artifacts: Iterable[Artifact] | None = None, mask: disclosure.Mask | None = None
) -> dict[str, Any]:
    """Return a cast as the API shows it; `artifacts` and `mask` are the cast's, if they have been read already."""
    token = links.token_for(cast.pk, cast.links_epoch)
    state = disclosure.public(cast, events.snapshot(cast, artifacts), mask)
    shown = with_links(cast.pk, token, state, main=cast.spell.result_artifact)
    return {
        "cast_id": str(cast.pk),
        "spell_key": cast.spell.key,
        "spell_name": cast.spell.name,
        "spell_version": cast.spell_version,
        "cost_cents": cast.cost_cents,
        "price": Price.of_cast(cast).shown,
        "created_at": stamp(cast.created_at),
        "expires_at": stamp(cast.expires_at),
        **shown,
        "retry_of": str(cast.retry_of_id) if cast.retry_of_id else None,
        "queue_position": position(cast),
        "input": cast.input,
        "metadata": cast.metadata,
        "callback_url": cast.callback_url or None,
        "removed": cast.removed or {},
        "progress_url": links.progress_url(cast.pk, cast.links_epoch),
        "events_url": links.events_url(cast.pk, cast.links_epoch),
    }


def shown_to(principal: Principal, cast: Cast) -> dict[str, Any]:
    """Return a cast with as much of it as may be read; who may read none of it gets `receipt`."""
    reach = may_read(principal, cast)
    if not reach:
        return receipt(cast)
    shown = cast_out(cast)
    if principal.kind == Kind.USER:
        shown = links.without_tokens(shown)
    return shown if reach == Reach.ALL else status_of(shown)


def accepted_out(principal: Principal, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to who has just placed a cast, or had placed it; `body` is all of it."""
    assert principal.account_id is not None  # whoever casts does so for an account
    about = About(uuid.UUID(body["cast_id"]), principal.account_id, body["spell_key"])
    return body if may_read(principal, about) == Reach.ALL else {name: body[name] for name in RECEIPT}


# What is told of a cast to who may place, cancel or retry it, and not read it.
RECEIPT = ("cast_id", "status", "final")


def receipt(cast: Cast) -> dict[str, Any]:
    return {"cast_id": str(cast.pk), "status": cast.status, "final": cast.final}


def status_of(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a cast, in the shape that it is `shown` in, with what a viewer may see."""
    return {
        **{name: shown[name] for name in OUTSIDE},
        **disclosure.status_only(shown),
        "artifact_url": None,
        "input": None,
        "metadata": {},
        "callback_url": None,
        "removed": {},
    }


# What is not in a cast's state, and says nothing of what is in the cast.
OUTSIDE = (
    *("spell_name", "spell_version", "cost_cents", "price", "created_at", "expires_at", "retry_of", "queue_position"),
    *("progress_url", "events_url"),
)


def casts_out(ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Return casts as the API shows them, in this order; in three queries at most, however many they are."""
    casts = {cast.pk: cast for cast in LISTED.all(ids=ids)}
    artifacts: dict[uuid.UUID, list[Artifact]] = {pk: [] for pk, cast in casts.items() if cast.run_finished_at}
    for artifact in ARTIFACTS.all(casts=list(artifacts)) if artifacts else ():
        artifacts[artifact.cast_id].append(artifact)
    masks = disclosure.masks_of(pk for pk, cast in casts.items() if not cast.spell.show_run)
    return [cast_out(casts[pk], artifacts.get(pk, ()), masks.get(pk)) for pk in ids if pk in casts]


# The columns that are shown; to read the rest of a row would take as long again.
SHOWN = (
    *(
        "id",
        "account_id",
        "spell_id",
        "retry_of_id",
        "input",
        "metadata",
        "callback_url",
        "removed",
        "cost_cents",
        "spell_version",
        "price",
        "charged_cents",
        "charge",
        "run_scope",
        "links_epoch",
    ),
    *("status", "status_reason", "message", "progress", "step_name", "run_url", "jobs", "error", "output"),
    *("summary", "annotations"),
    *("created_at", "expires_at", "started_at", "finished_at", "run_finished_at"),
)
# Those of them that may be large.
LARGE = ("input", "metadata", "jobs", "error", "output", "summary", "annotations")


def stored_bytes() -> Any:
    """Return an expression for about how large a cast is as the API shows it, to be asked before it is read."""
    return sum((StoredBytes(name) for name in LARGE[1:]), start=StoredBytes(LARGE[0]))


SHOWN_OF_SPELL = ("id", "key", "name", "runtime", "max_running", "show_run", "result_artifact")
LISTED = Select(
    lambda: (
        Cast.objects.filter(OneOf("pk", Params(Cast, "id", "ids")))
        .select_related("spell")
        .only(*SHOWN, *(f"spell__{name}" for name in SHOWN_OF_SPELL))
        .order_by()
    )
)
ARTIFACTS = Select(lambda: Artifact.objects.filter(OneOf("cast_id", Params(Artifact, "cast", "casts"))).order_by())


def position(cast: Cast) -> int | None:
    """Return a cast's place in the line for a slot (1 is next), None if it waits for none."""
    if cast.status_reason != "waiting_for_slot" or cast.final:
        return None
    wait = slots.wait_of(cast)
    return wait.position if wait else 1


def cast_answer(principal: Principal, cast: Cast, if_none_match: str = "", status: int = 200) -> Response:
    """Return the answer to who reads a cast, or has just placed one."""
    shown = shown_to(principal, cast)
    if "input" not in shown:  # a receipt: not even a fingerprint of the rest
        return Response(shown, status=status)
    # Links are signed anew each time, so they don't count for the ETag.
    steady = {k: v for k, v in shown.items() if not k.endswith("_url") and k != "artifacts"}
    steady["files"] = [{k: v for k, v in a.items() if k != "url"} for a in shown["artifacts"]]
    etag = etag_of(json.dumps(steady, sort_keys=True).encode())
    if is_current(if_none_match, etag):
        return Response(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
    return Response(shown, status=status, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
