"""How casts and spells look on the wire."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework.response import Response

from casts import disclosure, links
from casts.lifecycle import events, slots
from casts.links import with_links
from casts.models import Artifact, Cast
from core.api.etags import etag_of, is_current
from core.db.compiled import OneOf, Params, Select
from core.times import stamp


def cast_out(
    cast: Cast, artifacts: Iterable[Artifact] | None = None, mask: disclosure.Mask | None = None
) -> dict[str, Any]:
    """Return a cast as the API shows it; `artifacts` and `mask` are the cast's, if they have been read already."""
    shown = with_links(cast.pk, disclosure.public(cast, events.snapshot(cast, artifacts), mask))
    return {
        "cast_id": str(cast.pk),
        "spell_key": cast.spell.key,
        "spell_name": cast.spell.name,
        "cost_cents": cast.cost_cents,
        "created_at": stamp(cast.created_at),
        "expires_at": stamp(cast.expires_at),
        **shown,
        "retry_of": str(cast.retry_of_id) if cast.retry_of_id else None,
        "queue_position": position(cast),
        "input": cast.input,
        "metadata": cast.metadata,
        "callback_url": cast.callback_url or None,
        "progress_url": links.progress_url(cast.pk),
        "events_url": links.events_url(cast.pk),
    }


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
        "cost_cents",
        "charged_cents",
        "run_scope",
    ),
    *("status", "status_reason", "message", "progress", "step_name", "run_url", "jobs", "error", "output"),
    *("created_at", "expires_at", "started_at", "finished_at", "run_finished_at"),
)
SHOWN_OF_SPELL = ("id", "key", "name", "runtime", "max_running", "show_run")
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


def cast_answer(cast: Cast, if_none_match: str = "", status: int = 200) -> Response:
    shown = cast_out(cast)
    # Links are signed anew each time, so they don't count for the ETag.
    steady = {k: v for k, v in shown.items() if not k.endswith("_url") and k != "artifacts"}
    steady["files"] = [{k: v for k, v in a.items() if k != "url"} for a in shown["artifacts"]]
    etag = etag_of(json.dumps(steady, sort_keys=True).encode())
    if is_current(if_none_match, etag):
        return Response(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
    return Response(shown, status=status, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
