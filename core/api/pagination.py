"""Pages of a list, and the parameters of a query."""

from __future__ import annotations

import re
import uuid
from itertools import accumulate
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from core import limits
from core.errors import BadQuery
from core.urls import absolute


def once_each(request: Request) -> dict[str, str]:
    """Return a query's parameters. Raise BadQuery for one that is given twice, of which one would be ignored."""
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise BadQuery(f"{name[:100]!r} is there {len(values)} times; name each parameter once.")
    return request.query_params.dict()


class NewestFirst(CursorPagination):
    """Newest first; ids sort by time.

    Rows that know how large they are (`stored_bytes`) make a page shorter that would be too large; another follows.
    """

    ordering = "-id"
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = limits.PAGE_SIZE

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        page: list[Any] = super().paginate_queryset(queryset, request, view) or []
        # Links begin with PUBLIC_URL, as all of ours do, whatever host the request came to.
        self.base_url = absolute(request.get_full_path())
        self.page = self._cut(page)
        return self.page

    def _cut(self, page: list[Any]) -> list[Any]:
        """Return as many of a page's rows as are not too large together, one at least, from where the page begins."""
        back = self.cursor is not None and self.cursor.reverse
        nearest_first = page[::-1] if back else page
        sizes = accumulate(getattr(row, "stored_bytes", 0) for row in nearest_first)
        fit = max(1, sum(size <= limits.PAGE_BYTES for size in sizes))
        if fit >= len(page):
            return page
        position = self._get_position_from_instance(nearest_first[fit], self.ordering)
        if back:
            self.has_previous, self.previous_position = True, position
            return page[-fit:]
        self.has_next, self.next_position = True, position
        return page[:fit]

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size", str(self.page_size))
        if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= self.max_page_size:
            raise BadQuery(f"page_size is a number from 1 to {self.max_page_size}; not {given[:20]!r}.")
        return int(given)

    def decode_cursor(self, request: Request) -> Any:
        """Return where the page begins. Raise BadQuery for a cursor that we did not make."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None:  # all of ours have a position; what base64 skips as none of its letters has not
                self.check_position(str(cursor.position))
        except (NotFound, ValueError) as exc:
            raise BadQuery("This cursor is not one of ours; take it from `next` or `previous` of a page.") from exc
        return cursor

    def check_position(self, text: str) -> None:
        """Raise ValueError for what is no position in the list."""
        uuid.UUID(text)
