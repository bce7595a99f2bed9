"""The stream of an account's list of casts: what it tells to whom, and when it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from accounts import keys
from accounts.models import Account, Membership, Role
from casts.live import hub, lists
from casts.models import Cast
from tests.casts.client import Answer, asked, run
from tests.casts.live.test_access import goodbye
from tests.casts.live.test_streams import begin, do, finish, status_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings: Any, monkeypatch: Any) -> None:
    settings.STREAM_FALLBACK_SECONDS = 0.1
    settings.STREAM_HEARTBEAT_SECONDS = 30
    settings.STREAM_ACCESS_SECONDS = 0.1
    monkeypatch.setattr(lists, "PAUSE", 0.05)


@pytest.fixture
def session(account: Account, django_user_model: Any) -> Any:
    """Return what makes a member with a role, and the headers of the member's session."""

    def make(role: Role, of: Account = account) -> dict[str, str]:
        user = django_user_model.objects.create_user(f"{role} of {of.pk}")
        Membership.objects.create(account=of, user=user, role=role)
        client = Client()
        client.force_login(user)
        return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}

    return make


def path_of(account: Account) -> str:
    return f"/home/{account.pk}/events"


async def news(stream: Answer, of: Cast, word: str = "") -> str:
    """Return the next line about a cast that has this word in it; other news is passed over."""
    while (part := await stream.next(10)) is not None:
        if part.startswith(b"data: "):
            for one in json.loads(part.removeprefix(b"data: "))["casts"]:
                if one["id"] == str(of.pk) and word in one["html"]:
                    html: str = one["html"]
                    return html
    raise AssertionError("the stream has ended")


def test_a_list_is_told_how_its_casts_are_and_what_becomes_of_all_of_them(make_cast, account, session):
    first = make_cast(metadata={"order": "17"})
    member, viewer = (session(role) for role in (Role.MEMBER, Role.VIEWER))

    async def scene() -> None:
        async with asked(path_of(account), **member) as whole, asked(path_of(account), **viewer) as outside:
            assert whole.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert "order=17" in await news(whole, first, "Queued")
            shown = await news(outside, first, "Queued")
            assert "order" not in shown
            assert "key tests" not in shown
            new = await do(make_cast, metadata={"a": "<b>"})  # cast after the page was opened
            assert "a=&lt;b&gt;" in await news(whole, new)
            assert "&lt;b&gt;" not in await news(outside, new)
            await do(begin, first)
            await news(whole, first, "Running")
            await do(finish, first)
            await news(whole, first, "Succeeded")
            assert "0.05" in await news(outside, first, "Succeeded")

    run(scene())


def test_nothing_of_another_account_is_told(make_cast, account, session):
    theirs = Account.objects.create(name="Others")
    key = keys.create(theirs, name="k", scopes=["casts:read"])[0]
    headers = session(Role.OWNER, theirs)

    async def scene() -> None:
        assert await status_of(path_of(account), **headers) == 403
        assert await status_of("/home/999/events", **headers) == 403
        assert await status_of(path_of(account)) == 401
        assert await status_of(path_of(account), Authorization="Bearer sk_live_spl_x") == 401
        async with asked(path_of(theirs), **headers) as stream:
            await do(make_cast)
            own = await do(make_cast, account=theirs, api_key=key)
            while (part := await stream.next(10)) is not None:
                if part.startswith(b"data: "):
                    told = {one["id"] for one in json.loads(part.removeprefix(b"data: "))["casts"]}
                    assert told <= {str(own.pk)}
                    if told:
                        return

    run(scene())


def change(role: str) -> Any:
    return lambda: Membership.objects.update(role=role)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: Membership.objects.all().delete(), "membership_ended"),
        (change(Role.VIEWER), "role_changed"),
        (lambda: Membership.objects.get().user.sessions.all().delete(), "session_ended"),
    ],
)
def test_a_list_ends_with_what_opened_it(make_cast, account, session, end, reason):
    headers = session(Role.MEMBER)
    cast = make_cast()

    async def scene() -> None:
        async with asked(path_of(account), **headers) as stream:
            await news(stream, cast)
            await do(end)
            assert await goodbye(stream) == ("access_ended", {"reason": reason})
            assert not hub.hub().lists.topics

    run(scene())


def test_it_costs_as_much_for_many_pages_as_for_one(make_cast, account, session, monkeypatch):
    """One reading tells all of them, and no reading is made where nothing has happened."""
    headers, cast = session(Role.MEMBER), make_cast()
    read: list[int] = []
    frame = lists.Lists._frame

    def counted(own: Any, casts: list[Cast]) -> Any:
        read.append(len(casts))
        return frame(own, casts)

    monkeypatch.setattr(lists.Lists, "_frame", counted)

    async def scene() -> None:
        async with asyncio.TaskGroup() as tasks:
            left = asyncio.Event()
            ready = [asyncio.Event() for _ in range(30)]

            async def page(number: int) -> None:
                async with asked(path_of(account), **headers) as stream:
                    await news(stream, cast, "Queued")
                    ready[number].set()
                    await news(stream, cast, "Succeeded")
                    await left.wait()

            for number in range(30):
                tasks.create_task(page(number))
            for one in ready:
                await one.wait()
            read.clear()
            await do(finish, cast)
            await asyncio.sleep(0.5)
            left.set()

    run(scene())
    assert 1 <= len(read) <= 3  # once, and once more for each look that finds the same
    connections.close_all()
