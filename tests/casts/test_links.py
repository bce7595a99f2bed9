"""Signed links: what they open, and that all of one cast's can be revoked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.core import signing
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys
from accounts.models import Account
from casts import links
from casts.access import Reach
from casts.lifecycle import operators
from casts.live.frames import frames_of
from casts.live.grants import ByKey, ByLink, BySession
from casts.models import Artifact, Cast, CastEvent
from core.asgi.handler import close
from tests.casts.client import Api, problem
from tests.casts.conftest import history

pytestmark = pytest.mark.django_db
CASTS = "/admin/casts/cast/"


def local(url):
    return url.removeprefix("http://testserver")


def opened(url, client=None):
    """Return the status of what a link answers, without a key, and without a session unless it is this client's."""
    answer = (client or Client()).get(local(url))
    close(answer)  # a stream that nobody reads counts as open
    return answer.status_code


def links_in(shown):
    found = [shown["progress_url"], shown["events_url"], shown["artifact_url"], *(a["url"] for a in shown["artifacts"])]
    assert all(found)
    return found


@pytest.fixture
def with_artifact(cast):
    Artifact.objects.create(cast=cast, name="spell-result", remote_id=1, state="expired", expires_at=cast.created_at)
    Cast.objects.filter(pk=cast.pk).update(run_finished_at=cast.created_at)
    return cast


def test_revoked_links_open_nothing_and_new_ones_do(api, with_artifact, make_cast):
    cast, other = with_artifact, make_cast()
    others = api.get(f"/casts/{other.pk}").json()["progress_url"]
    old = links_in(api.get(f"/casts/{cast.pk}").json())
    assert [opened(url) for url in old] == [200, 200, 410, 410]
    for times in (1, 2):
        assert api.delete(f"/casts/{cast.pk}/links").status_code == 204
        assert [opened(url) for url in old] == [403, 401, 401, 401]
        [listed, _] = sorted(api.get("/casts").json()["results"], key=lambda one: one["cast_id"])
        for shown in (api.get(f"/casts/{cast.pk}").json(), listed):
            assert [opened(url) for url in links_in(shown)] == [200, 200, 410, 410], times
        old += links_in(listed)
        old = old[-4:]
    assert opened(others) == 200
    assert history(cast) == ["accepted"]


def test_the_page_and_events_carry_links_that_open(api, with_artifact):
    cast = with_artifact
    operators.revoke_links(cast.pk)
    page = Client().get(local(api.get(f"/casts/{cast.pk}").json()["progress_url"])).content.decode()
    [events] = re.findall(r'data-events="([^"]+)"', page)
    assert opened(events) == 200
    [address, _] = re.findall(r'"(http[^"]+)"', frame_with_artifact(cast).data.decode())
    assert opened(address) == 410


def frame_with_artifact(cast):
    event = CastEvent.objects.get(cast=cast)
    event.data = event.data | {"artifacts": [{"name": "spell-result"}]}
    event.save()
    [(_, frame)] = frames_of(CastEvent.objects.filter(pk=event.pk), lambda _: True)
    return frame


def yesterdays(cast, epoch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: timezone.now().timestamp() - 86_400)
        return links.token_for(cast.pk, epoch)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_link_hands_out_no_link_that_opens_for_longer(with_artifact, epoch):
    Cast.objects.update(links_epoch=epoch)
    cast = with_artifact
    own = yesterdays(cast, epoch)
    assert own != links.token_for(cast.pk, epoch)
    page = Client().get(f"/casts/{cast.pk}/?token={own}").content.decode()
    assert set(re.findall(r"token=([\w.-]+)", page)) == {own}
    read = links.read_token(cast.pk, own)
    assert read is not None
    event = frame_with_artifact(cast).told_to(ByLink(cast.pk, *read)).decode()
    assert set(re.findall(r"token=([\w.-]+)", event)) == {own}


def test_who_is_let_in_by_a_session_is_shown_no_link_that_outlives_it(
    with_artifact, account, client, django_user_model
):
    cast, member = with_artifact, django_user_model.objects.create_user("member")
    account.members.add(member)
    client.force_login(member)
    page = client.get(f"/casts/{cast.pk}/").content.decode()
    # But for the one to hand out, which is shown with its end.
    assert "token=" not in re.sub(r'<input id="share-link"[^>]*>', "", page)
    [events] = re.findall(r'data-events="([^"]+)"', page)
    assert opened(events, client) == 200
    frame = frame_with_artifact(cast)
    session = BySession("key", member.pk, "", account.pk, Reach.ALL)
    event = frame.told_to(session).decode()
    assert "token=" not in event
    [artifact, _] = re.findall(r'"(http[^"]+)"', event)
    assert opened(artifact, client) == 410
    account.members.clear()
    assert [opened(url, client) for url in (events, artifact)] == [404, 404]
    assert frame.told_to(ByKey(1)) == frame.data
    assert "token=" in frame.data.decode()


def test_links_of_the_release_before_open(cast):
    token = signing.TimestampSigner(salt=f"casts.links:{cast.pk}", sep=".").sign("r").removeprefix("r.")
    assert links.token_for(cast.pk).count(".") == token.count(".") == 1
    assert opened(f"/api/v1/casts/{cast.pk}/events?token={token}") == 200


def test_a_token_that_is_not_ours_costs_no_statement(cast):
    operators.revoke_links(cast.pk)
    first, second = links.token_for(cast.pk), links.token_for(cast.pk, 1)
    assert opened(f"/api/v1/casts/{cast.pk}/events?token={second}") == 200
    for forged in (
        *("", "x", "1", "1.", "..", "1..x", f"1.{first}", f"0.{first}", f".{first}", second.partition(".")[2]),
        *(f"2{second[1:]}", f"01{second[1:]}", f"{second}.", links.token_for(cast.spell_id)),
    ):
        for path in (f"/casts/{cast.pk}/", f"/api/v1/casts/{cast.pk}/events", f"/api/v1/casts/{cast.pk}/artifacts/x"):
            with CaptureQueriesContext(connection) as asked:
                assert opened(f"{path}?token={forged}") in (401, 403), (path, forged)
            assert len(asked) == 0, (path, forged)


def test_who_may_revoke_links(api, account, cast):
    path = f"/casts/{cast.pk}/links"
    stranger = Api(keys.create(Account.objects.create(name="Other"), name="theirs")[1])
    reader = Api(keys.create(account, name="reader", scopes=["casts:read"])[1])
    problem(Api(None).delete(path), 401, "UNAUTHORIZED")
    problem(stranger.delete(path), 404, "CAST_NOT_FOUND")
    writer = Api(keys.create(account, name="writer", scopes=["casts:write"])[1])
    elsewhere = Api(keys.create(account, name="elsewhere", spell_keys=["other"])[1])
    problem(elsewhere.delete(path), 404, "CAST_NOT_FOUND")
    problem(reader.delete(path), 403, "FORBIDDEN")
    problem(writer.delete(path), 403, "FORBIDDEN")
    problem(api.delete("/casts/nonsense/links"), 404, "CAST_NOT_FOUND")
    link = urlsplit(links.progress_url(cast.pk))
    problem(Api(None).delete(f"{path}?{link.query}"), 401, "UNAUTHORIZED")
    assert Cast.objects.get().links_epoch == 0


def test_an_operator_revokes_links_on_the_casts_page(admin_client, cast):
    page = admin_client.get(f"{CASTS}{cast.pk}/change/").content.decode()
    forms = re.findall(r"<form[^>]*action=\"/admin/casts/cast/\".*?</form>", page, re.DOTALL)
    [button] = [form for form in forms if "revoke_links" in form]
    posted = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', button))
    answer = admin_client.post(CASTS, posted)
    assert (answer.status_code, answer["Location"]) == (302, f"{CASTS}{cast.pk}/change/")
    assert opened(links.progress_url(cast.pk)) == 403
    assert "links revoked (1)" in admin_client.get(f"{CASTS}{cast.pk}/change/").content.decode()
    assert history(cast) == ["accepted", "links_revoked"]
    assert CastEvent.objects.get(kind="links_revoked").by == "admin"
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Revoke links."]


def test_who_may_only_look_at_casts_revokes_no_links(client, cast, django_user_model):
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_cast"))
    client.force_login(viewer)
    assert "Revoke links" not in client.get(f"{CASTS}{cast.pk}/change/").content.decode()
    client.post(CASTS, {"action": "revoke_links", "_selected_action": [str(cast.pk)]})
    assert Cast.objects.get().links_epoch == 0
