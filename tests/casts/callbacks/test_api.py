from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts import keys
from accounts.models import SCOPES, Account
from casts.callbacks import endpoints
from casts.models import Callback, CallbackEndpoint, Cast
from tests.casts.receivers import Receiver, ended, make_due, receiver, work_off

BASE = "/api/v1/callbacks"


class Api:
    """A client with a key."""

    def __init__(self, secret: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {secret}"})

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        kwargs = {} if body is None else {"data": body, "content_type": "application/json"}
        response = getattr(self.client, method)(path, **kwargs)
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json"
        return response


@pytest.fixture
def api(secret: str) -> Api:
    return Api(secret)


@pytest.fixture
def stranger(db: None) -> Api:
    return Api(keys.create(Account.objects.create(name="Another"), name="theirs", scopes=list(SCOPES))[1])


@pytest.fixture
def inbox(settings: Any) -> Iterator[Receiver]:
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver() as running:
        yield running


@pytest.fixture
def delivered(inbox: Receiver, account: Account, api_key: Any, spell: Any) -> Callback:
    """A message that its receiver refused once and then took."""
    endpoints.add_endpoint(account, url=inbox.url, types=["cast.succeeded"])
    inbox.answers = [(500, {}), (200, {})]
    ended(api_key, spell)
    work_off()
    make_due()
    work_off()
    return Callback.objects.get()


# --- casts -----------------------------------------------------------------------------------------------------


def test_a_callback_url_is_checked_when_it_is_given(api, spell):
    for url in ("http://example.com/", "https://10.0.0.1/", "https://u:p@example.com/", "ftp://a/", "", 5):
        response = api("post", "/api/v1/cast", {"spell_key": "greet", "callback_url": url})
        assert response.status_code == 422
        assert [e["pointer"] for e in response.json()["errors"]] == ["/callback_url"]
    assert not Cast.objects.exists()
    response = api("post", "/api/v1/cast", {"spell_key": "greet", "callback_url": "https://hooks.example/x"})
    assert response.status_code == 201
    assert response.json()["callback_url"] == "https://hooks.example/x"


def test_the_reason_is_told(api, spell):
    response = api("post", "/api/v1/cast", {"spell_key": "greet", "callback_url": "https://127.0.0.1/"})
    detail = response.json()["errors"][0]["detail"]
    assert detail == "127.0.0.1 is not an address on the public internet."


# --- endpoints -------------------------------------------------------------------------------------------------


def test_an_endpoint_from_its_making_to_its_end(api, inbox, account, api_key, spell):
    made = api("post", f"{BASE}/endpoints", {"url": inbox.url, "description": "orders"})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    shown = made.json()
    secret, path = shown.pop("secret"), f"{BASE}/endpoints/{shown['id']}"
    assert secret.startswith("whsec_")
    assert shown["types"] == ["cast.succeeded", "cast.failed", "cast.cancelled"]
    assert (shown["active"], shown["disabled_at"], shown["disabled_reason"]) == (True, None, None)
    assert api("get", path).json() == shown
    assert api("get", f"{BASE}/endpoints").json() == {"results": [shown]}
    assert api("get", f"{path}/secret").json() == {"secret": secret, "old_secret": None}

    rotated = api("post", f"{path}/rotate", {}).json()
    assert rotated["old_secret"] == secret
    assert rotated["secret"] != secret
    ended(api_key, spell)
    work_off()
    assert inbox.got[0].verified(secret) == inbox.got[0].verified(rotated["secret"])
    dropped = api("post", f"{path}/rotate", {"drop_old": True}).json()
    assert dropped == {"secret": rotated["secret"], "old_secret": None}

    stopped = api("patch", path, {"active": False, "types": ["cast.failed"]}).json()
    assert (stopped["active"], stopped["types"]) == (False, ["cast.failed"])
    assert stopped["disabled_at"] is not None
    started = api("patch", path, {"active": True}).json()
    assert (started["active"], started["disabled_at"]) == (True, None)

    assert api("delete", path).status_code == 204
    for method, where in (("get", path), ("delete", path), ("get", f"{path}/secret"), ("post", f"{path}/rotate")):
        assert api(method, where).json()["code"] == "ENDPOINT_NOT_FOUND"
    assert api("get", f"{BASE}/endpoints").json() == {"results": []}
    assert api("get", BASE).json()["results"][0]["endpoint_id"] == shown["id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "http://example.com/"}, "/url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
        ({"url": "https://example.com/" + "x" * 2000}, "/url"),
        ({"url": "https://example.com/", "types": []}, "/types"),
        ({"url": "https://example.com/", "types": ["cast.begun"]}, "/types/0"),
        ({"url": "https://example.com/", "secret": "mine"}, "/secret"),
        ({"url": "https://example.com/", "active": False}, "/active"),
    ],
)
def test_endpoints_that_are_refused(api, body, pointer):
    response = api("post", f"{BASE}/endpoints", body)
    assert response.status_code == 422
    assert [e["pointer"] for e in response.json()["errors"]] == [pointer]
    assert not CallbackEndpoint.objects.exists()


def test_a_change_is_as_strict(api, account):
    endpoint = endpoints.add_endpoint(account, url="https://example.com/", types=["cast.failed"])
    bad: tuple[dict[str, object], ...] = (
        {"url": "https://10.0.0.1/"},
        {"active": "yes"},
        {"active": None},
        {"secrets": []},
        {"types": None},
    )
    for body in bad:
        assert api("patch", f"{BASE}/endpoints/{endpoint.pk}", body).status_code == 422
    assert api("post", f"{BASE}/endpoints/{endpoint.pk}/rotate", {"drop_old": 1}).status_code == 422
    assert api("patch", f"{BASE}/endpoints/{endpoint.pk}", {}).status_code == 200
    fresh = CallbackEndpoint.objects.get()
    assert (fresh.url, fresh.types, fresh.secrets) == ("https://example.com/", ["cast.failed"], endpoint.secrets)


def test_the_twenty_first_endpoint_is_refused(api, account):
    for _ in range(20):
        endpoints.add_endpoint(account, url="https://example.com/", types=["cast.failed"])
    response = api("post", f"{BASE}/endpoints", {"url": "https://example.com/"})
    assert (response.status_code, response.json()["code"]) == (409, "TOO_MANY_ENDPOINTS")


def test_the_account_s_secret_is_made_when_asked_for_and_rotates(api, inbox, api_key, spell):
    secret = api("get", f"{BASE}/secret").json()["secret"]
    assert api("get", f"{BASE}/secret").json() == {"secret": secret, "old_secret": None}
    new = api.client.generic("POST", f"{BASE}/secret/rotate").json()  # nothing need be said
    assert new["old_secret"] == secret
    ended(api_key, spell, callback_url=inbox.url)
    work_off()
    assert inbox.got[0].verified(secret) == inbox.got[0].verified(new["secret"])
    assert api("post", f"{BASE}/secret/rotate", {"drop_old": True}).json()["old_secret"] is None


# --- the log ---------------------------------------------------------------------------------------------------


def test_the_log_shows_each_message_and_each_try(api, delivered, inbox):
    [line] = api("get", BASE).json()["results"]
    assert line["id"] == inbox.got[0].headers["webhook-id"]
    assert (line["type"], line["state"], line["tries"]) == ("cast.succeeded", "delivered", 2)
    assert (line["last_status"], line["last_error"], line["next_try_at"]) == (200, None, None)
    assert line["cast_id"] == str(delivered.cast_id)
    detail = api("get", f"{BASE}/{line['id']}").json()
    tries = detail.pop("attempts")
    assert detail == line
    assert [t["status_code"] for t in tries] == [500, 200]
    assert [t["response_excerpt"] for t in tries] == ["thank you", "thank you"]
    assert tries[0]["error"] == "It answered 500; only 2xx counts as delivered."


def test_the_log_can_be_filtered_and_paged(api, inbox, api_key, spell):
    casts = [ended(api_key, spell, callback_url=inbox.url) for _ in range(3)]
    work_off()
    waiting = ended(api_key, spell, callback_url=inbox.url)

    def found(query: str) -> list[str]:
        return [line["cast_id"] for line in api("get", f"{BASE}?{query}").json()["results"]]

    assert found("") == [str(c.pk) for c in [waiting, *reversed(casts)]]
    assert found("state=pending") == [str(waiting.pk)]
    assert found(f"cast={casts[0].pk}") == [str(casts[0].pk)]
    assert found(f"endpoint=ep_{'0' * 32}") == []
    first = api("get", f"{BASE}?page_size=3").json()
    assert len(first["results"]) == 3
    rest = api("get", first["next"]).json()
    assert [line["cast_id"] for line in rest["results"]] == [str(casts[0].pk)]
    back = api("get", rest["previous"]).json()
    assert back["results"] == first["results"]
    lost = (
        "state=lost",
        "cast=1",
        "status=pending",
        "endpoint=%00",
        "%00=1",
        "cursor=x",
        "cursor=***",
        "cursor=cD1hJTAw",
        "state=pending&state=delivered",
    )
    for query in lost:
        assert api("get", f"{BASE}?{query}").json()["code"] == "VALIDATION_ERROR"


def test_replay_sends_the_same_message_again(api, delivered, inbox):
    response = api("post", f"{BASE}/{delivered.pk}/replay")
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["tries"]) == ("pending", 0)
    assert response.json()["next_try_at"] is not None
    work_off()
    assert len({got.headers["webhook-id"] for got in inbox.got}) == 1
    assert len(inbox.got) == 3
    shown = api("get", f"{BASE}/{delivered.pk}").json()
    assert (shown["state"], shown["tries"], len(shown["attempts"])) == ("delivered", 1, 3)


def test_replay_says_why_it_can_t(api, delivered):
    endpoints.disable(delivered.endpoint, why="tests")
    response = api("post", f"{BASE}/{delivered.pk}/replay")
    assert (response.status_code, response.json()["code"]) == (409, "ENDPOINT_DISABLED")
    endpoints.enable(delivered.endpoint)
    Callback.objects.update(lease_until="2100-01-01T00:00:00Z")
    response = api("post", f"{BASE}/{delivered.pk}/replay")
    assert (response.status_code, response.json()["code"]) == (409, "CALLBACK_IN_FLIGHT")
    assert response["Retry-After"] == "5"


def test_paths_that_hold_no_id_are_not_found(api):
    for path in ("msg_x", "%00", "x" * 5000, "msg_" + "0" * 32, "endpoints/%00", "endpoints/ep_" + "0" * 32):
        assert api("get", f"{BASE}/{path}").status_code == 404


# --- who may what ----------------------------------------------------------------------------------------------


def test_another_account_s_endpoints_and_callbacks_are_not_found(stranger, delivered):
    endpoint = f"{BASE}/endpoints/{delivered.endpoint_id}"
    before = CallbackEndpoint.objects.values().get()
    for method, path, body in (
        ("get", endpoint, None),
        ("patch", endpoint, {"active": False}),
        ("delete", endpoint, None),
        ("get", f"{endpoint}/secret", None),
        ("post", f"{endpoint}/rotate", {}),
        ("get", f"{BASE}/{delivered.pk}", None),
        ("post", f"{BASE}/{delivered.pk}/replay", None),
    ):
        response = stranger(method, path, body)
        assert response.status_code == 404, path
        assert response.json()["code"] in ("ENDPOINT_NOT_FOUND", "CALLBACK_NOT_FOUND")
    assert stranger("get", BASE).json()["results"] == []
    assert stranger("get", f"{BASE}/endpoints").json()["results"] == []
    assert stranger("get", f"{BASE}?cast={delivered.cast_id}").json()["results"] == []
    assert CallbackEndpoint.objects.values().get() == before


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "", "callbacks"),
        ("get", "/msg_x", "callbacks"),
        ("post", "/msg_x/replay", "callbacks"),
        ("get", "/endpoints", "callbacks"),
        ("post", "/endpoints", "callbacks"),
        ("get", "/endpoints/ep_x", "callbacks"),
        ("patch", "/endpoints/ep_x", "callbacks"),
        ("delete", "/endpoints/ep_x", "callbacks"),
        ("get", "/endpoints/ep_x/secret", "callbacks"),
        ("post", "/endpoints/ep_x/rotate", "callbacks"),
        ("get", "/secret", "keys"),
        ("post", "/secret/rotate", "keys"),
    ],
)
def test_each_path_needs_its_scope(account, method, path, scope):
    assert Client().generic(method.upper(), BASE + path).status_code == 401
    lacking = [s for s in SCOPES if s != scope]
    response = Api(keys.create(account, name="lacking", scopes=lacking)[1])(method, BASE + path)
    assert (response.status_code, response.json()["required_scope"]) == (403, scope)
    response = Api(keys.create(account, name="enough", scopes=[scope])[1])(method, BASE + path, {})
    assert response.status_code in (200, 404, 422)


# --- the admin -------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_operators_see_the_log_and_send_again(operator, delivered, inbox):
    listed = operator.get("/admin/casts/callback/").content.decode()
    assert delivered.pk in listed
    shown = operator.get(f"/admin/casts/callback/{delivered.pk}/change/").content.decode()
    assert "It answered 500" in shown
    assert "thank you" in shown
    found = operator.get("/admin/casts/callback/", {"q": str(delivered.cast_id)}).content.decode()
    assert delivered.pk in found
    done = operator.post(
        "/admin/casts/callback/", {"action": "send_again", "_selected_action": [delivered.pk]}, follow=True
    )
    assert "1 will be sent again." in done.content.decode()
    work_off()
    assert len(inbox.got) == 3
    endpoints.disable(delivered.endpoint, why="tests")
    done = operator.post(
        "/admin/casts/callback/", {"action": "send_again", "_selected_action": [delivered.pk]}, follow=True
    )
    assert "0 will be sent again." in done.content.decode()
    assert "Its endpoint is disabled" in done.content.decode()


def test_operators_switch_endpoints_and_see_no_secret(operator, delivered):
    endpoint = delivered.endpoint
    shown = operator.get(f"/admin/casts/callbackendpoint/{endpoint.pk}/change/").content.decode()
    assert endpoint.url in shown
    assert "whsec_" not in shown
    for action, active in (("disable", False), ("enable", True)):
        operator.post("/admin/casts/callbackendpoint/", {"action": action, "_selected_action": [endpoint.pk]})
        endpoint.refresh_from_db()
        assert endpoint.active is active


def test_nobody_edits_the_log_and_onlookers_send_nothing(operator, delivered):
    change = f"/admin/casts/callback/{delivered.pk}/change/"
    assert operator.post(change, {"state": "failed"}).status_code == 403
    assert operator.post(f"/admin/casts/callback/{delivered.pk}/delete/", {"post": "yes"}).status_code == 403
    assert operator.get("/admin/casts/callback/add/").status_code == 403
    onlooker = User.objects.create_user("onlooker", is_staff=True)
    onlooker.user_permissions.add(Permission.objects.get(codename="view_callback"))
    client = Client()
    client.force_login(onlooker)
    assert "send_again" not in client.get("/admin/casts/callback/").content.decode()
    client.post("/admin/casts/callback/", {"action": "send_again", "_selected_action": [delivered.pk]})
    delivered.refresh_from_db()
    assert delivered.state == "delivered"
