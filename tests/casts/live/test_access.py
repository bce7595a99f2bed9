"""Streams and waits whose caller may not read any more, or whose time is over: they end, and cost nothing meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Membership, Role
from casts import links
from casts.access import Reach
from casts.lifecycle import operators
from casts.live import grants, hub
from casts.live.frames import RETRY_FRAME, Frame
from casts.live.grants import ByKey, ByLink, BySession, Grant, Refused
from casts.models import Cast
from tests.casts.client import asked, run
from tests.casts.live.test_streams import begin, do, finish, path_of, progress, status_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1
    settings.STREAM_HEARTBEAT_SECONDS = 30
    settings.STREAM_ACCESS_SECONDS = 0.1


async def goodbye(stream):
    """Return the name and the data of a stream's last event, which must end by itself."""
    parts = (await stream.body()).decode().split("\n\n")
    found = re.fullmatch(r"retry: [0-9]{3,4}\nevent: ([a-z_]+)\ndata: (.*)", parts[-2])
    assert found is not None, parts
    return found[1], json.loads(found[2])


@pytest.fixture
def member(account, django_user_model):
    user = django_user_model.objects.create_user("member", password="a long enough secret")
    account.members.add(user)
    return user


@pytest.fixture
def browser(member):
    made = Client()
    made.force_login(member)
    return made


def change_password(member):
    member.set_password("another long secret")
    member.save()


def delete_keys(*_):
    Cast.objects.update(api_key=None)
    ApiKey.objects.all().delete()


def sessions():
    return import_module(settings.SESSION_ENGINE).SessionStore.get_model_class().objects


def expire_sessions(*_):
    sessions().update(expire_date=timezone.now())


ENDS = {
    "its key is revoked": ("key", lambda *_: keys.revoke(ApiKey.objects.get()), "key_revoked", 401),
    "its key expires": ("key", lambda *_: ApiKey.objects.update(expires_at=timezone.now()), "key_expired", 401),
    "its key is deleted": ("key", delete_keys, "key_revoked", 401),
    "its user logs out": ("session", lambda user, browser: browser.logout(), "session_ended", 401),
    "its session is deleted": ("session", lambda *_: sessions().all().delete(), "session_ended", 401),
    "its session expires": ("session", expire_sessions, "session_ended", 401),
    "its user is deactivated": (
        "session",
        lambda user, _: type(user).objects.update(is_active=False),
        "session_ended",
        401,
    ),
    "its user is deleted": ("session", lambda user, _: user.delete(), "session_ended", 401),
    "the password changes": ("session", lambda user, _: change_password(user), "session_ended", 401),
    "the membership ends": ("session", lambda *_: Membership.objects.all().delete(), "membership_ended", 404),
    "the member becomes a viewer": (
        "session",
        lambda *_: Membership.objects.update(role="viewer"),
        "role_changed",
        200,
    ),
    "the permission is taken away": (
        "operator",
        lambda user, _: user.user_permissions.clear(),
        "membership_ended",
        404,
    ),
}


@pytest.mark.parametrize(("way", "end", "reason", "afterwards"), ENDS.values(), ids=ENDS)
def test_a_stream_ends_when(cast, make_cast, member, browser, secret, way, end, reason, afterwards):
    """It says why, sends nothing of what happens then, and is not opened again; other people's streams stay."""
    another = make_cast()
    if way == "operator":
        Membership.objects.all().delete()
        member.user_permissions.add(Permission.objects.get(codename="view_cast"))
    headers: Any = {
        "key": {"Authorization": f"Bearer {secret}"},
    }.get(way, {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"})

    async def scene():
        linked = asked(path_of(another, f"?token={links.token_for(another.pk)}"))
        async with asked(path_of(cast), **headers) as stream, linked as unconcerned:
            assert stream.status == 200
            await stream.event()
            await unconcerned.event()
            await do(end, member, browser)
            assert await goodbye(stream) == ("access_ended", {"reason": reason})
            assert await status_of(path_of(cast), **headers) == afterwards
            await do(begin, another)
            assert (await unconcerned.event())[0] == 2

    run(scene())


def test_the_streams_of_a_casts_links_end_when_these_are_revoked(cast, make_cast, secret):
    """Those of its keys stay, and those of another cast's links."""
    another = make_cast()

    async def scene():
        async with AsyncExitStack() as held:
            old, others, keys_own = [
                await held.enter_async_context(one)
                for one in (
                    asked(path_of(cast, f"?token={links.token_for(cast.pk)}")),
                    asked(path_of(another, f"?token={links.token_for(another.pk)}")),
                    asked(path_of(cast), Authorization=f"Bearer {secret}"),
                )
            ]
            for stream in (old, others, keys_own):
                await stream.event()
            await do(operators.revoke_links, cast.pk)
            assert await goodbye(old) == ("access_ended", {"reason": "link_revoked"})
            assert await status_of(path_of(cast, f"?token={links.token_for(cast.pk)}")) == 401
            signed_anew = asked(path_of(cast, f"?token={links.token_for(cast.pk, 1)}"))
            new = await held.enter_async_context(signed_anew)
            await do(finish, cast)
            for stream in (new, keys_own):
                assert (await stream.events())[-1][1]["final"]
            await do(finish, another)
            assert (await others.event())[1]["final"]

    run(scene())


def test_a_links_stream_ends_with_the_link(cast, settings, monkeypatch):
    token = links.token_for(cast.pk)

    async def scene():
        async with asked(path_of(cast, f"?token={token}")) as stream:
            await stream.event()
            in_a_week = time.time() + settings.LINK_DAYS * 86_400
            monkeypatch.setattr(time, "time", lambda: in_a_week - 60)
            await asyncio.sleep(0.3)
            monkeypatch.setattr(time, "time", lambda: in_a_week + 1)
            assert await goodbye(stream) == ("access_ended", {"reason": "link_expired"})
            assert await status_of(path_of(cast, f"?token={token}")) == 401

    run(scene())


def test_what_has_not_been_sent_is_not_sent_to_who_is_refused():
    async def scene():
        subscriber = hub.Subscriber()
        subscriber.grant = ByKey(1)
        parts = hub.stream(subscriber, [Frame(1, b"one", False), Frame(2, b"two", False)], after=0)
        assert [await anext(parts), await anext(parts)] == [RETRY_FRAME, b"one"]
        subscriber.deliver([Frame(3, b"three", True)])
        subscriber.close(Refused.KEY_REVOKED)
        subscriber.close()  # the process stops just then
        rest = [part async for part in parts]
        assert len(rest) == 1
        assert b'event: access_ended\ndata: {"reason": "key_revoked"}' in rest[0]

    asyncio.run(scene())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wait_ends_when_its_key_is_revoked(cast, secret, method):
    path, body = ("/api/v1/cast", {"spell_key": "greet"}) if method == "POST" else (f"/api/v1/casts/{cast.pk}", None)

    async def scene():
        waited = hub.hub().topics.copy()
        sent = json.dumps(body).encode() if body else b""
        asking = asked(path, method=method, body=sent, Authorization=f"Bearer {secret}", Prefer="wait=25")

        async def revoke():
            while hub.hub().topics == waited or not all(
                s.grant for t in hub.hub().topics.values() for s in t.subscribers
            ):
                await asyncio.sleep(0.01)
            await do(ApiKey.objects.update, revoked_at=timezone.now())

        revoking = asyncio.create_task(revoke())
        async with asking as answer:
            shown = await answer.json()
        await revoking
        if method == "GET":
            assert (answer.status, shown["code"]) == (401, "UNAUTHORIZED")
        else:  # the cast was made while the key was good
            assert (answer.status, shown["status"]) == (201, "queued")
            assert "Preference-Applied" not in answer.headers
        assert hub.hub().topics == {}

    run(scene())


def test_a_stream_whose_time_is_over_reconnects_and_misses_nothing(cast, secret, settings):
    settings.STREAM_MAX_SECONDS = 0.3
    begin(cast)

    async def scene():
        seen: list[int] = []

        async def follow():
            last: Any = {"Last-Event-ID": f"{seen[-1]}"} if seen else {}
            async with asked(path_of(cast, "?after=0"), Authorization=f"Bearer {secret}", **last) as stream:
                body = (await stream.body()).decode()
            seen.extend(int(number) for number in re.findall(r"^id: ([0-9]+)$", body, re.MULTILINE))
            return body

        for number in range(1, 7, 2):
            during = asyncio.create_task(do(progress, cast, number))
            assert (await follow()).endswith("event: restarting\ndata: {}\n\n")
            await during
            await do(progress, cast, number + 1)  # while it is away
        await do(finish, cast)
        assert '"final":true' in await follow()
        assert seen == list(range(1, 10))

    run(scene())


def test_streams_that_opened_together_do_not_end_together(settings):
    settings.STREAM_MAX_SECONDS = 900
    ends = sorted(hub.end_of_stream() - time.monotonic() for _ in range(1000))
    assert 719 < ends[0] < 740
    assert 880 < ends[-1] <= 900


def test_many_open_streams_cost_a_statement_for_each_kind_of_access(
    cast, make_cast, account, member, browser, django_user_model
):
    """However many they are; and those that wait for their first look cost none."""

    def viewer(name):
        user, visitor = django_user_model.objects.create_user(name), Client()
        account.members.add(user, through_defaults={"role": Role.VIEWER})
        visitor.force_login(user)
        opened_by = (visitor.cookies["sessionid"].value, user.pk, user.get_session_auth_hash())
        return BySession(*opened_by, account.pk, Reach.STATUS)

    key = browser.cookies["sessionid"].value
    session = BySession(key, member.pk, member.get_session_auth_hash(), account.pk, Reach.ALL)
    kinds: dict[str, list[Grant]] = {
        "keys": [ByKey(keys.create(account, name=f"{n}")[0].pk) for n in range(30)],
        "links": [ByLink(make_cast().pk, 0, 2**40) for _ in range(30)],
        "sessions": [session, *(session._replace(session_key=f"{n}") for n in range(30))],
        "viewers": [viewer(f"{n}") for n in range(10)],
    }

    def statements(some):
        with CaptureQueriesContext(connection) as asked_for:
            grants.refused(some)
        return len(asked_for)

    assert statements([]) == 0
    for kind, some in kinds.items():
        assert statements(some) == statements(some[:1]) == {"keys": 1, "links": 1, "sessions": 3, "viewers": 3}[kind]
    found = grants.refused([one for some in kinds.values() for one in some])
    assert set(found.values()) == {Refused.SESSION_ENDED}
    assert len(found) == 30


def test_a_database_that_is_away_ends_no_stream_but_those_whose_time_is_over(cast, secret, settings, monkeypatch):
    def away(some):
        raise RuntimeError("the database is away")

    monkeypatch.setattr(grants, "refused", away)

    async def scene():
        async with AsyncExitStack() as held:
            stream = await held.enter_async_context(asked(path_of(cast), Authorization=f"Bearer {secret}"))
            await stream.event()
            settings.STREAM_MAX_SECONDS = 0.1
            short = await held.enter_async_context(asked(path_of(cast), Authorization=f"Bearer {secret}"))
            assert await goodbye(short) == ("restarting", {})
            await do(finish, cast)
            assert (await stream.event())[1]["final"]

    run(scene())


def test_no_access_lasts_because_it_was_asked_for_in_time(api_key):
    now = timezone.now()
    ApiKey.objects.update(expires_at=now + dt.timedelta(minutes=1))
    assert grants.refused([ByKey(api_key.pk)]) == {}
    ApiKey.objects.update(expires_at=now)
    assert grants.refused([ByKey(api_key.pk)]) == {ByKey(api_key.pk): Refused.KEY_EXPIRED}
