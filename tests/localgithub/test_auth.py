import time

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from localgithub.clock import later

from .conftest import Api


def mint(as_app: Api, **body):
    return as_app.post("/app/installations/77/access_tokens", body)


def with_claims(server, make_jwt, **claims) -> requests.Response:
    return Api(server.config.base_url, make_jwt(**claims)).get("/app")


def test_app_is_known_by_client_id_and_by_app_id(server, make_jwt):
    assert with_claims(server, make_jwt).json()["client_id"] == "Iv1.local"
    assert with_claims(server, make_jwt, iss=1).status_code == 200
    assert with_claims(server, make_jwt, iss="1").status_code == 200


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        (lambda now: {"exp": int(now) + 3000}, 401, "'Expiration time' claim ('exp') is too far in the future"),
        (
            lambda now: {"exp": 1},
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time",
        ),
        (
            lambda now: {"iat": int(now) + 600},
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time",
        ),
        (lambda now: {"iat": now - 60.5}, 401, "'Issued at' claim ('iat') must be an Integer representing the time"),
        (lambda now: {"iss": "Iv1.somebody"}, 404, "Integration not found"),
    ],
)
def test_wrong_claim_is_told_in_githubs_words(server, make_jwt, claims, status, message):
    answer = with_claims(server, make_jwt, **claims(time.time()))  # not when the suite began to be collected
    assert answer.status_code == status
    assert answer.json()["message"].startswith(message)


def test_jwt_of_another_key_is_refused(server):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    present = int(time.time())
    forged = jwt.encode({"iat": present, "exp": present + 60, "iss": "1"}, stranger, algorithm="RS256")
    answer = Api(server.config.base_url, forged).get("/app")
    assert (answer.status_code, answer.json()["message"]) == (401, "A JSON web token could not be decoded")


def test_token_has_the_new_long_form_and_lasts_an_hour(as_app):
    token = mint(as_app).json()
    assert token["token"].startswith("ghs_1_")
    assert len(token["token"]) == 520
    assert token["token"].count(".") == 2
    everything = {"actions": "write", "checks": "write", "contents": "write", "metadata": "read", "statuses": "write"}
    assert token["permissions"] == everything


def test_token_can_be_narrowed_never_widened(as_app):
    narrow = mint(as_app, repositories=["spells"], permissions={"actions": "read"}).json()
    assert narrow["permissions"] == {"actions": "read", "metadata": "read"}
    assert [r["name"] for r in narrow["repositories"]] == ["spells"]
    by_id = mint(as_app, repository_ids=[narrow["repositories"][0]["id"]]).json()
    assert [r["name"] for r in by_id["repositories"]] == ["spells"]
    assert mint(as_app, permissions={"issues": "read"}).status_code == 422
    assert mint(as_app, repositories=["elsewhere"]).status_code == 422


def test_narrow_token_is_refused_with_the_permission_that_is_missing(server, as_app):
    reader = Api(server.config.base_url, mint(as_app, permissions={"actions": "read"}).json()["token"])
    refused = reader.dispatch("many.yml")
    assert refused.status_code == 403
    assert refused.json()["message"] == "Resource not accessible by integration"
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "actions=write"
    assert reader.post(reader.repo("dispatches"), {"event_type": "x"}).headers["X-Accepted-GitHub-Permissions"] == (
        "contents=write"
    )
    assert reader.get(reader.repo("actions/runs")).status_code == 200


def test_token_for_one_repository_does_not_see_the_other(server, as_app):
    other = Api(server.config.base_url, mint(as_app, repositories=["other"]).json()["token"])
    assert other.get(other.repo("actions/runs")).status_code == 404
    assert other.get("/repos/octo-org/other/actions/runs").status_code == 200
    assert other.get("/installation/repositories").json()["total_count"] == 1


def test_revoked_expired_and_invented_tokens_are_bad_credentials(server, as_app):
    token = mint(as_app).json()["token"]
    api = Api(server.config.base_url, token)
    assert api("DELETE", "/installation/token").status_code == 204
    assert api.get("/installation/repositories").json()["message"] == "Bad credentials"
    stale = mint(as_app).json()["token"]
    server.world.auth._tokens[stale].expires_at = later(seconds=-1)
    assert Api(server.config.base_url, stale).get("/installation/repositories").status_code == 401
    assert Api(server.config.base_url, "ghs_x").get("/installation/repositories").status_code == 401


def test_caller_without_token_sees_nothing_of_a_private_repository(server):
    assert Api(server.config.base_url).get("/repos/octo-org/spells/actions/runs").status_code == 404


def test_personal_token_is_taken_too(server):
    api = Api(server.config.base_url, "github_pat_local")
    assert api.get(api.repo("actions/workflows")).status_code == 200


def test_installation_is_found_by_repository(as_app):
    found = as_app.get("/repos/octo-org/spells/installation").json()
    assert found == as_app.get("/app/installations/77").json() == as_app.get("/app/installations").json()[0]
    assert as_app.get("/repos/octo-org/none/installation").status_code == 404
    assert as_app.get("/app/installations/78").status_code == 404


def test_suspended_installation_mints_nothing_but_is_still_shown(as_app, api, control, receiver):
    control("faults", suspended=True)
    refused = mint(as_app)
    assert (refused.status_code, refused.json()["message"]) == (403, "This installation has been suspended")
    assert api.get(api.repo("actions/runs")).status_code == 403
    assert as_app.get("/app/installations/77").json()["suspended_at"]
    control("faults", suspended=False)
    assert mint(as_app).status_code == 201
    end = time.monotonic() + 5
    while [body["action"] for headers, body in receiver.got if headers["x-github-event"] == "installation"][-2:] != [
        "suspend",
        "unsuspend",
    ]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_request_without_user_agent_is_forbidden(server):
    answer = requests.get(server.config.base_url + "/app", headers={"User-Agent": ""}, timeout=5)
    assert answer.status_code == 403
    assert "User-Agent" in answer.text


def test_unknown_version_is_400_and_the_known_ones_are_listed(server, token):
    assert Api(server.config.base_url, token, "2020-01-01").get("/rate_limit").status_code == 400
    assert Api(server.config.base_url, token).get("/versions").json() == ["2022-11-28", "2026-03-10"]
    assert "rate" in Api(server.config.base_url, token).get("/rate_limit").json()
    new = Api(server.config.base_url, token, "2026-03-10")
    assert "has_downloads" not in new.get("/repos/octo-org/spells").json()


def test_known_etag_is_answered_304_and_costs_nothing(api):
    first = api.get(api.repo("actions/workflows"))
    before = int(api.get("/rate_limit").headers["X-RateLimit-Used"])
    again = api.get(api.repo("actions/workflows"), headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert int(again.headers["X-RateLimit-Used"]) == before
