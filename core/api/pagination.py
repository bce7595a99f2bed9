"""Pages of a list, and the parameters of a query."""

from __future__ import annotations

import re
import uuid
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from core.errors import BadQuery
from core.urls import absolute


def once_each(request: Request) -> dict[str, str]:
    """Return a query's parameters. Raise BadQuery for one that is given twice, of which one would be ignored."""
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise BadQuery(f"{name[:100]!r} is there {len(values)} times; name each parameter once.")
    return request.query_params.dict()


class NewestFirst(CursorPagination):
    """Newest first; ids sort by time."""

    ordering = "-id"
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        page: list[Any] = super().paginate_queryset(queryset, request, view) or []
        # Links begin with PUBLIC_URL, as all of ours do, whatever host the request came to.
        self.base_url = absolute(request.get_full_path())
        return page

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size", str(self.page_size))
        if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= self.max_page_size:
            raise BadQuery(f"page_size is a number from 1 to {self.max_page_size}; not {given[:20]!r}.")
        return int(given)

    def decode_cursor(self, request: Request) -> Any:
        """Return where the page begins. Raise BadQuery for a cursor that we did not make."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                uuid.UUID(str(cursor.position))
        except (NotFound, ValueError) as exc:
            raise BadQuery("This cursor is not one of ours; take it from `next` or `previous` of a page.") from exc
        return cursor
