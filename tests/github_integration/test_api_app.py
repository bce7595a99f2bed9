"""What an App may ask about itself: authorized by its JWT, not by an installation's token."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import jwt
import pytest
import responses
from responses import matchers

from github_integration import auth, errors, wire
from github_integration.api import GitHub
from github_integration.wire import SentDelivery

from .doubles import API, DATA, described

LOG = f"{API}/app/hook/deliveries"
PUBLIC = (DATA / "app.pub").read_text()
LINES = described("apps.list-webhook-deliveries")["responses"]["200"]["examples"]["default"]
DETAILS = described("apps.get-webhook-delivery")["responses"]["200"]["examples"]["default"]


def proofs(http: responses.RequestsMock) -> list[str]:
    return [call.request.headers["Authorization"].removeprefix("Bearer ") for call in http.calls]


def test_log_is_read_page_by_page_with_our_jwt(hub: GitHub, http: responses.RequestsMock) -> None:
    first, second = ({"per_page": "100"}, {"per_page": "100", "cursor": "v1_17"})
    link = {"Link": f'<{LOG}?per_page=100&cursor=v1_17>; rel="next"'}
    http.get(LOG, json=LINES, headers=link, match=[matchers.query_param_matcher(first)])
    http.get(LOG, json=[], match=[matchers.query_param_matcher(second)])
    assert hub.app.deliveries() == ([wire.delivery_logged(line) for line in LINES], "v1_17")
    assert hub.app.deliveries("v1_17") == ([], "")
    for proof in proofs(http):
        assert jwt.decode(proof, PUBLIC, algorithms=["RS256"])["iss"] == "Iv1.app"


def test_one_delivery_is_shown_with_what_was_sent(hub: GitHub, http: responses.RequestsMock) -> None:
    http.get(f"{LOG}/12345678", json=DETAILS)
    assert hub.app.delivery(12345678) == SentDelivery(DETAILS["url"], DETAILS["request"]["payload"])
    http.get(f"{LOG}/9", json={"message": "Not Found"}, status=404)
    with pytest.raises(errors.NotFound):
        hub.app.delivery(9)


def test_repeated_after_a_5xx(hub: GitHub, http: responses.RequestsMock, naps: list[float]) -> None:
    http.get(LOG, status=502)
    http.get(LOG, json=[])
    assert hub.app.deliveries() == ([], "")
    assert len(naps) == 1


@pytest.mark.parametrize("body", ['{"message": "hello"}', "<html>", "", "null"])
def test_answer_that_is_no_list_is_none(hub: GitHub, http: responses.RequestsMock, body: str) -> None:
    http.get(LOG, body=body)
    with pytest.raises(errors.Unavailable):
        hub.app.deliveries()


def test_without_an_app_nobody_may_ask(make_github: Callable[..., GitHub], http: responses.RequestsMock) -> None:
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_ID"):
        make_github(app_id="", pem="", personal_token="ghp_x").app.deliveries()
    assert not http.calls


def test_jwt_is_used_for_a_minute(hub: GitHub, http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    http.get(LOG, json=[])
    now, started = time.time(), time.monotonic()
    for later in (0, 50, 70):
        clock = SimpleNamespace(time=lambda at=now + later: at, monotonic=lambda at=started + later: at)
        monkeypatch.setattr(auth, "time", clock)
        hub.app.deliveries()
    first, second, third = proofs(http)
    assert first == second != third
