"""A cast as a line of a list: on the page, and in the stream that keeps the page fresh."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.template.loader import render_to_string

from casts.models import Cast
from core.money import money
from core.times import spoken

SHOWN = 50  # casts of a page
ENTRIES_SHOWN, ENTRY_CHARS = 3, 60  # of the metadata
READ = (
    *("id", "account_id", "status", "status_reason", "progress", "cost_cents", "charged_cents", "metadata", "price"),
    *("created_at", "started_at", "finished_at", "spell__name", "spell__key"),
    *("api_key__name", "placed_by__username"),
)


def casts() -> QuerySet[Cast]:
    """Return all casts, with the columns that a line shows, and without the large ones."""
    return Cast.objects.select_related("spell", "api_key", "placed_by").only(*READ)


def out(cast: Cast, *, whole: bool) -> dict[str, Any]:
    """Return a cast's line as the stream sends it; `whole`: for who may read what is in the cast."""
    return {"id": str(cast.pk), "html": render_to_string("casts/_row.html", {"row": Row(cast, whole=whole)})}


class Row:
    """What a line says. Where the cast runs is not in it, nor its messages, which may quote its run."""

    def __init__(self, cast: Cast, *, whole: bool) -> None:
        self.cast, self.whole = cast, whole

    @property
    def reason(self) -> str:
        said = self.cast.status_reason
        return "" if said == self.cast.status else said.replace("_", " ")

    @property
    def progress(self) -> int | None:
        return None if self.cast.final or not self.cast.progress else self.cast.progress

    @property
    def took(self) -> str:
        """Return how long an ended cast's run was at work."""
        began, ended = self.cast.started_at, self.cast.finished_at
        return f"took {spoken(ended - began)}" if began and ended else ""

    @property
    def price(self) -> str:
        charged = self.cast.charged_cents
        if charged is not None:
            return money(charged)
        upto = self.cast.price is not None and self.cast.price.get("kind", "flat") != "flat"
        return f"up to {money(self.cast.cost_cents)}" if upto else money(self.cast.cost_cents)

    @property
    def who(self) -> str:
        """Return who cast it: a member, or an API key by its name."""
        if not self.whole:
            return ""
        if self.cast.placed_by is not None:
            return self.cast.placed_by.get_username()
        return f"key {self.cast.api_key.name}" if self.cast.api_key else ""

    @property
    def metadata(self) -> list[str]:
        if not self.whole:
            return []
        entries = list(self.cast.metadata.items())
        shown = [cut(f"{name}={value}") for name, value in entries[:ENTRIES_SHOWN]]
        return shown + ([f"and {len(entries) - ENTRIES_SHOWN} more"] if len(entries) > ENTRIES_SHOWN else [])

    @property
    def digits(self) -> str:
        """Return the first digits of the id: as many as tell casts of one millisecond apart, mostly."""
        return str(self.cast.pk)[:18]


def cut(text: str) -> str:
    return text if len(text) <= ENTRY_CHARS else f"{text[: ENTRY_CHARS - 1]}…"
