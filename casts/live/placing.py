"""Casts of one account that wait together are accepted together (core.rounds, `casting.accept_all`).

A view checks what it is asked in a thread, and leaves the rest to who serves it: for a round no thread waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from casts.casting import Accepted, Placement, accept_all
from core.api import problems
from core.db.threads import rendered
from core.rounds import Rounds
from core.shares import account_lane, lane_of

IN_ROUNDS = "spell.rounds"  # in a request's META
MOST = 32  # casts in one round
# Who waits for a round has no thread any more: without a bound of its own an account could have any number wait.
ROUNDS: Rounds[Placement, Accepted] = Rounds(
    lambda some: accept_all(some), most=MOST, waiting=lambda: settings.WEB_QUEUE_EACH
)


class ToBePlaced(Response):
    """The answer to an order that has been checked; `fill_in` makes it whole once that is accepted."""

    def __init__(self, placement: Placement, fill_in: Callable[..., Response], **options: Any) -> None:
        super().__init__(**options)
        self.placement, self.fill_in = placement, fill_in


def serve(request: Request) -> bool:
    """Return whether who serves this request places what its view has checked."""
    return IN_ROUNDS in request.META


def coming(request: HttpRequest) -> AbstractContextManager[None]:
    """Have a round of this account wait a moment for what a request may ask it for."""
    return ROUNDS.coming(lane_of(request)) if request.method == "POST" else nullcontext()


def begun(view: Callable[..., HttpResponseBase], request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
    """Return a view's answer, rendered if it is whole."""
    request.META[IN_ROUNDS] = True
    response = view(request, **kwargs)
    return response if isinstance(response, ToBePlaced) else rendered(response)


async def whole(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the whole answer, once its order is accepted or refused. Raise what is no refusal."""
    if not isinstance(response, ToBePlaced):
        return response
    try:
        lane = account_lane(response.placement.cast.account.pk)
        accepted = await ROUNDS.ask(lane, response.placement, request=request)
    except Exception as exc:
        return refused(response, exc)
    answer: Response = response.fill_in(response, accepted=accepted)
    return rendered(answer)


def refused(response: Any, exc: Exception) -> HttpResponseBase:
    """Return the answer to an exception as the view would have given it; raise it again if it is unexpected."""
    problem = problems.render(exc, response.renderer_context)
    if problem is None:
        raise exc
    for name, value in response.headers.items():
        problem.headers.setdefault(name, value)
    return problem
