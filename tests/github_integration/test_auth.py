"""Who we are to GitHub: the App's key, its JWT, and installation tokens."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from github_integration import api, auth, errors
from github_integration.api import GitHub
from github_integration.auth import AccessToken, Scope, TokenCache, app_jwt, private_key

from .conftest import mint_into
from .doubles import API, DATA, LATER, LONG_TOKEN, REPO, RUN_7, answer, check_request, loopback

PEM = (DATA / "app.pem").read_text()
PUBLIC = (DATA / "app.pub").read_text()
MINT = f"{API}/app/installations/1/access_tokens"
RUN = f"{API}/repos/{REPO}/actions/runs/7"
DISPATCH = f"{API}/repos/{REPO}/actions/workflows/cast.yml/dispatches"
BAD = {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}


def dispatch(github: GitHub) -> Any:
    return github.repository(1, REPO).dispatch_workflow("cast.yml", ref="main", inputs={}, before=LATER)


def authorizations(http: responses.RequestsMock, url: str) -> list[str]:
    return [call.request.headers["Authorization"] for call in http.calls if (call.request.url or "").startswith(url)]


# --- the JWT ---------------------------------------------------------------------------------------------


def test_jwt_is_backdated_a_minute_and_lives_no_more_than_the_ten_minutes_github_allows() -> None:
    now = time.time()
    claims = jwt.decode(app_jwt("Iv1.app", PEM, now=now), PUBLIC, algorithms=["RS256"])
    assert claims == {"iat": int(now) - 60, "exp": int(now) + 540, "iss": "Iv1.app"}
    assert claims["exp"] <= now + 600


def test_jwt_times_are_integers_and_the_issuer_a_string_also_for_a_number() -> None:
    claims = jwt.decode(app_jwt(12345, PEM, now=time.time() + 0.75), PUBLIC, algorithms=["RS256"])  # type: ignore[arg-type]
    assert type(claims["iat"]) is int
    assert type(claims["exp"]) is int
    assert claims["iss"] == "12345"


def test_jwt_says_rs256() -> None:
    assert jwt.get_unverified_header(app_jwt("1", PEM, now=time.time()))["alg"] == "RS256"


# --- the private key -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [PEM, PEM.replace("\n", "\\n"), f"  {PEM}\n\n", f"\ufeff{PEM}", str(DATA / "app.pem")],
    ids=["a PEM", "a PEM with \\n", "a PEM with space around", "a PEM with a byte order mark", "a path"],
)
def test_private_key_may_be_given_as(value: str) -> None:
    assert jwt.decode(app_jwt("1", private_key(value), now=time.time()), PUBLIC, algorithms=["RS256"])["iss"] == "1"


def encrypted() -> str:
    key = serialization.load_pem_private_key(PEM.encode(), None)
    locked = serialization.BestAvailableEncryption(b"open sesame")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked).decode()


def elliptic() -> str:
    form = serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.mark.parametrize(
    "value",
    ["", "  ", "/no/such/key.pem", "/", "~nosuchuser/key.pem", "x" * 5000, PEM[:200], PUBLIC, encrypted(), elliptic()],
    ids=["nothing", "space", "no file", "a folder", "no user", "junk", "half", "public", "encrypted", "not RSA"],
)
def test_wrong_private_key_names_the_setting(value: str) -> None:
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_PRIVATE_KEY") as caught:
        private_key(value)
    assert "MII" not in str(caught.value)


def test_private_key_file_may_begin_with_a_byte_order_mark(tmp_path: Any) -> None:
    (tmp_path / "app.pem").write_text(PEM, encoding="utf-8-sig")
    assert private_key(str(tmp_path / "app.pem")) == PEM


def test_private_key_file_that_is_no_text_names_the_setting(tmp_path: Any) -> None:
    der = tmp_path / "app.der"
    der.write_bytes(bytes(range(256)))
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_PRIVATE_KEY"):
        private_key(str(der))


def test_without_app_and_token_the_message_names_the_settings(make_github: Callable[..., GitHub]) -> None:
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_ID"):
        make_github(app_id="", pem="").repository(1, REPO).run(7)


def test_app_without_installation_names_the_setting(hub: GitHub) -> None:
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_INSTALLATION_ID"):
        hub.repository(0, REPO).run(7)


# --- minting ---------------------------------------------------------------------------------------------


def test_token_is_asked_for_with_a_jwt_and_narrowed_to_repository_and_permission(
    hub: GitHub, http: responses.RequestsMock, minting: Any
) -> None:
    http.get(RUN, json={"id": 7})
    hub.repository(1, REPO).run(7)
    asked = json.loads(minting[0].body)
    check_request("apps.create-installation-access-token", asked)
    assert asked == {"repositories": ["spells"], "permissions": {"actions": "write"}}
    proof = minting[0].headers["Authorization"].removeprefix("Bearer ")
    assert jwt.decode(proof, PUBLIC, algorithms=["RS256"])["iss"] == "Iv1.app"
    assert authorizations(http, RUN) == ["Bearer ghs_1"]


def test_only_repository_dispatch_asks_for_contents(hub: GitHub, http: responses.RequestsMock, minting: Any) -> None:
    http.post(DISPATCH, json={"workflow_run_id": 7})
    http.post(f"{API}/repos/{REPO}/dispatches", status=204)
    dispatch(hub)
    hub.repository(1, REPO).dispatch_event("spell", {}, before=LATER)
    assert [json.loads(m.body)["permissions"] for m in minting] == [{"actions": "write"}, {"contents": "write"}]
    assert authorizations(http, f"{API}/repos/{REPO}/dispatches") == ["Bearer ghs_2"]


def test_token_is_used_again_per_installation_repository_and_permissions(
    hub: GitHub, http: responses.RequestsMock, minting: Any
) -> None:
    other = f"{API}/app/installations/2/access_tokens"
    http.post(other, json={"token": "ghs_other", "expires_at": "2100-01-01T00:00:00Z"}, status=201)
    for repository in (REPO, "demo/other"):
        http.get(f"{API}/repos/{repository}/actions/runs/7", json={"id": 7})
    for _ in range(3):
        hub.repository(1, REPO).run(7)
        hub.repository(1, "demo/other").run(7)
        hub.repository(2, REPO).run(7)
    assert len(minting) == 2
    assert http.assert_call_count(other, 1)


def test_token_is_replaced_five_minutes_before_it_expires(hub: GitHub, http: responses.RequestsMock) -> None:
    http.get(RUN, json={"id": 7})
    minted = mint_into(http, lives=dt.timedelta(minutes=4, seconds=58))
    hub.repository(1, REPO).run(7)
    hub.repository(1, REPO).run(7)
    assert len(minted) == 2


def test_token_with_more_than_five_minutes_is_kept(hub: GitHub, http: responses.RequestsMock) -> None:
    http.get(RUN, json={"id": 7})
    minted = mint_into(http, lives=dt.timedelta(minutes=5, seconds=10))
    hub.repository(1, REPO).run(7)
    hub.repository(1, REPO).run(7)
    assert len(minted) == 1


def test_sixteen_threads_mint_one_token(make_github: Callable[..., GitHub]) -> None:
    def mint_slowly(connection: Any) -> bool:
        time.sleep(0.1)
        connection.sendall(answer(201, {"token": LONG_TOKEN, "expires_at": "2100-01-01T00:00:00Z"}))
        return True

    with loopback(mint_slowly, answer(200, {"id": 7})) as server:
        github = make_github(api_url=server.url)
        at_once = threading.Barrier(16)

        def ask() -> None:
            at_once.wait()
            github.repository(1, REPO).run(7)

        threads = [threading.Thread(target=ask) for _ in range(16)]
        [t.start() for t in threads]
        [t.join(10) for t in threads]
    paths = [asked.path for asked in server.asked]
    assert paths.count("/app/installations/1/access_tokens") == 1
    assert paths.count(f"/repos/{REPO}/actions/runs/7") == 16


def test_other_repositories_need_not_wait_for_a_token_being_made() -> None:
    started, go_on = threading.Event(), threading.Event()

    def mint(scope: Scope) -> AccessToken:
        if scope.repository == "slow/one":
            started.set()
            assert go_on.wait(5)
        return AccessToken("ghs_x", dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), time.monotonic())

    cache = TokenCache(mint)
    thread = threading.Thread(target=cache.get, args=(Scope(1, "slow/one", ()),))
    thread.start()
    assert started.wait(5)
    assert cache.get(Scope(1, "quick/one", ())).value == "ghs_x"
    go_on.set()
    thread.join(5)


def test_token_of_520_characters_with_dots_is_sent_whole(hub: GitHub, http: responses.RequestsMock) -> None:
    assert len(LONG_TOKEN) == 520
    http.post(MINT, json={"token": LONG_TOKEN, "expires_at": "2100-01-01T00:00:00Z"}, status=201)
    http.get(RUN, json={"id": 7})
    hub.repository(1, REPO).run(7)
    assert authorizations(http, RUN) == [f"Bearer {LONG_TOKEN}"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, BAD, errors.AuthFailed),
        (403, {"message": "This installation has been suspended"}, errors.Suspended),
        (404, {"message": "Not Found"}, errors.InstallationGone),
        (422, {"message": "The permissions requested are not granted to this installation."}, errors.Refused),
        (429, {"message": "slow down"}, errors.RateLimited),
    ],
)
def test_refusal_to_mint_is_told_as_what_it_is(
    hub: GitHub, http: responses.RequestsMock, naps: list[float], status: int, body: Any, kind: type[Exception]
) -> None:
    http.post(MINT, json=body, status=status)
    with pytest.raises(kind, match=body["message"]):
        hub.repository(1, REPO).run(7)
    assert len(http.calls) == 1


@pytest.mark.parametrize("trouble", [{"status": 502}, {"body": "<html>hello, I am a proxy</html>"}, {"json": {}}])
def test_when_no_token_is_to_be_had_the_dispatch_was_not_sent(
    hub: GitHub, http: responses.RequestsMock, naps: list[float], trouble: dict[str, Any]
) -> None:
    http.post(MINT, **trouble)
    with pytest.raises(errors.NotSent):
        dispatch(hub)
    assert {call.request.url for call in http.calls} == {MINT}


def test_minting_is_repeated_after_a_bad_gateway(hub: GitHub, http: responses.RequestsMock, naps: list[float]) -> None:
    http.post(MINT, status=502)
    http.post(MINT, json={"token": "ghs_late", "expires_at": "2100-01-01T00:00:00Z"}, status=201)
    http.get(RUN, json={"id": 7})
    assert hub.repository(1, REPO).run(7) == RUN_7


# --- 401 -------------------------------------------------------------------------------------------------


def ask_for_run(github: GitHub) -> Any:
    return github.repository(1, REPO).run(7)


@pytest.mark.parametrize(("method", "url", "call"), [("GET", RUN, ask_for_run), ("POST", DISPATCH, dispatch)])
def test_401_on_a_fresh_token_is_waited_out(
    hub: GitHub, http: responses.RequestsMock, minting: Any, naps: list[float], method: str, url: str, call: Any
) -> None:
    for _ in range(3):
        http.add(method, url, json=BAD, status=401)
    http.add(method, url, json={"id": 7, "workflow_run_id": 7})
    assert call(hub)
    assert naps == [1.0, 2.0, 3.0]
    assert len(minting) == 1


@pytest.mark.parametrize(("method", "url", "call"), [("GET", RUN, ask_for_run), ("POST", DISPATCH, dispatch)])
def test_401_on_an_old_token_drops_it_and_mints_once_more(
    hub: GitHub,
    http: responses.RequestsMock,
    minting: Any,
    naps: list[float],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    url: str,
    call: Any,
) -> None:
    monkeypatch.setattr(auth, "FRESH_SECONDS", 0.0)
    http.add(method, url, json=BAD, status=401)
    http.add(method, url, json={"id": 7, "workflow_run_id": 7})
    assert call(hub)
    assert naps == []
    assert authorizations(http, url) == ["Bearer ghs_1", "Bearer ghs_2"]


def test_401_that_stays_is_told_after_one_new_token(
    hub: GitHub, http: responses.RequestsMock, minting: Any, naps: list[float]
) -> None:
    http.get(RUN, json=BAD, status=401)
    with pytest.raises(errors.AuthFailed, match="Bad credentials"):
        hub.repository(1, REPO).run(7)
    assert len(minting) == 2
    assert sum(naps) <= 6.0


def test_401_on_a_download_drops_an_old_token_too(
    hub: GitHub, http: responses.RequestsMock, minting: Any, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "FRESH_SECONDS", 0.0)
    log = f"{API}/repos/{REPO}/actions/jobs/9/logs"
    http.get(log, json=BAD, status=401)
    http.get(log, status=302, headers={"Location": "https://blobs.example/9"})
    http.get("https://blobs.example/9", body="done")
    assert hub.repository(1, REPO).job_log(9, last_bytes=100) == "done"
    assert authorizations(http, log) == ["Bearer ghs_1", "Bearer ghs_2"]


def test_dropping_a_token_spares_the_one_that_replaced_it() -> None:
    made = [AccessToken(f"ghs_{n}", dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), 0.0) for n in range(2)]
    cache = TokenCache(lambda scope: made.pop(0))
    scope = Scope(1, REPO, ())
    old = cache.get(scope)
    cache.drop(scope, old)
    new = cache.get(scope)
    cache.drop(scope, old)
    assert cache.get(scope) is new


# --- a personal token ------------------------------------------------------------------------------------


def test_personal_token_is_used_as_it_is_and_nothing_is_minted(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.get(RUN, json={"id": 7})
    by_hand.repository(0, REPO).run(7)
    assert authorizations(http, API) == ["Bearer github_pat_mine"]


def test_401_on_a_personal_token_is_not_repeated(
    by_hand: GitHub, http: responses.RequestsMock, naps: list[float]
) -> None:
    http.post(DISPATCH, json=BAD, status=401)
    with pytest.raises(errors.AuthFailed):
        dispatch(by_hand)
    assert (len(http.calls), naps) == (1, [])


def test_credentials_of_the_machine_never_replace_ours(
    by_hand: GitHub, http: responses.RequestsMock, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.github.com login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    http.get(RUN, json={"id": 7})
    by_hand.repository(0, REPO).run(7)
    assert authorizations(http, API) == ["Bearer github_pat_mine"]


@pytest.mark.parametrize(("app_id", "token", "used"), [("1", "ghp_x", ""), ("", "ghp_x", "ghp_x")])
def test_app_goes_before_a_personal_token(settings: Any, app_id: str, token: str, used: str) -> None:
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = app_id, token
    api.github.cache_clear()
    try:
        assert api.github().personal_token == used
    finally:
        api.github.cache_clear()
