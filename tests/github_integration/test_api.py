"""What we send to GitHub, and what its answers mean."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
import responses
from responses import matchers

from casts.runtime import Run
from github_integration import errors
from github_integration.api import App, GitHub
from github_integration.details import AppDetails, HookConfig, InstallationDetails
from github_integration.wire import SentDelivery

from .doubles import API, DATA, LATER, LONG_TOKEN, REPO, RUN_7, check_request, described, sent_json

INPUTS = {"cast_id": "0190", "spell_key": "greet", "input_data": '{"name": "Zoë; rm -rf /"}'}
GHES = "https://github.example.com/api/v3"
DISPATCH = "/repos/demo/spells/actions/workflows/cast.yml/dispatches"
STARTED = {
    "workflow_run_id": 32_000_000_001,
    "run_url": f"{API}/repos/demo/spells/actions/runs/32000000001",
    "html_url": "https://github.com/demo/spells/actions/runs/32000000001",
}
RUN = Run(key="32000000001", url="https://github.com/demo/spells/actions/runs/32000000001")


def dispatch(github: GitHub) -> Run | None:
    return github.repository(0, REPO).dispatch_workflow("cast.yml", ref="main", inputs=INPUTS, before=LATER)


def dispatch_event(github: GitHub) -> None:
    github.repository(0, REPO).dispatch_event("spell", {"cast_id": "0190"}, before=LATER)


def bodies(http: responses.RequestsMock) -> list[Any]:
    return [sent_json(call) for call in http.calls]


CALLS: dict[str, Callable[[GitHub], Any]] = {
    "dispatch_workflow": dispatch,
    "dispatch_event": dispatch_event,
    "run": lambda g: g.repository(0, REPO).run(7),
    "runs": lambda g: g.repository(0, REPO).runs(event="workflow_dispatch", page=1),
    "jobs": lambda g: g.repository(0, REPO).jobs(7),
    "artifacts": lambda g: g.repository(0, REPO).artifacts(7),
    "cancel": lambda g: g.repository(0, REPO).cancel(7, force=False),
    "force-cancel": lambda g: g.repository(0, REPO).cancel(7, force=True),
    "artifact_bytes": lambda g: list(g.repository(0, REPO).download(7).chunks),
    "job_log": lambda g: g.repository(0, REPO).job_log(7, last_bytes=10),
    "rate_limit": lambda g: g.calls_left(),
    "repository": lambda g: g.repository(0, REPO).details(),
    "workflow": lambda g: g.repository(0, REPO).workflow("cast.yml"),
    "workflows": lambda g: g.repository(0, REPO).workflows(),
}


def answer_everything(http: responses.RequestsMock) -> None:
    http.add(responses.POST, matching("/dispatches"), status=204)
    http.add(responses.POST, matching("cancel"), json={}, status=202)
    http.add(responses.GET, matching("/(zip|logs)"), status=302, headers={"Location": "https://blobs.example/x"})
    http.add(responses.GET, "https://blobs.example/x", body=b"bytes")
    http.add(responses.GET, matching(r"/actions/runs/7"), json={"id": 7, "total_count": 0})
    http.add(responses.GET, matching("(/rate_limit|/demo/spells|/actions/workflows.*)$"), json={"id": 7})
    http.add(responses.GET, matching("/actions/workflows[?]"), json={"total_count": 0, "workflows": []})
    http.add(responses.GET, matching(r"/actions/runs"), json={"total_count": 0, "workflow_runs": []})


def matching(part: str) -> Any:
    return re.compile(re.escape(API) + ".*" + part)


# --- every call ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_every_call_has_a_timeout_and_names_its_agent(by_hand: GitHub, http: responses.RequestsMock, name: str) -> None:
    answer_everything(http)
    CALLS[name](by_hand)
    assert http.calls
    for call in http.calls:
        assert vars(call.request)["req_kwargs"]["timeout"] == 10.0
        assert call.request.headers["User-Agent"] == "spell-platform"


@pytest.mark.parametrize("name", CALLS)
def test_every_call_to_the_api_asks_for_githubs_json_and_is_authorized(
    by_hand: GitHub, http: responses.RequestsMock, name: str
) -> None:
    answer_everything(http)
    CALLS[name](by_hand)
    head = http.calls[0].request.headers
    assert head["Accept"] == "application/vnd.github+json"
    assert head["Authorization"] == "Bearer github_pat_mine"


@pytest.mark.parametrize(
    ("url", "version", "sent"),
    [
        (API, "", "2026-03-10"),
        ("https://api.octocorp.ghe.com", "", "2026-03-10"),
        (GHES, "", None),
        ("https://ghe.com.example.com/api/v3", "", None),
        ("http://127.0.0.1:8001", "", None),
        (API, "2022-11-28", "2022-11-28"),
        (GHES, "2026-03-10", "2026-03-10"),
    ],
)
def test_api_version_is_the_newest_where_it_exists_or_the_one_that_is_set(
    make_github: Callable[..., GitHub], http: responses.RequestsMock, url: str, version: str, sent: str | None
) -> None:
    http.get(f"{url}/repos/{REPO}/actions/runs/7", json={"id": 7})
    make_github(api_url=url, version=version, personal_token="ghp_x").repository(0, REPO).run(7)
    assert http.calls[0].request.headers.get("X-GitHub-Api-Version") == sent


def test_names_are_quoted_in_paths(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(f"{API}/repos/demo/spells/actions/workflows/a%20b%3Fc.yml/dispatches", json=STARTED)
    assert by_hand.repository(0, REPO).dispatch_workflow("a b?c.yml", ref="main", inputs={}, before=LATER) == RUN


# --- about ourselves, and what a spell needs -------------------------------------------------------------

INSTALLATION = InstallationDetails(id=1, account="", url="", suspended_at="", permissions={})
APP = AppDetails(id=1, name="", slug="", owner="", owned_by_organization=False, url="", permissions={}, events=())
# The request, the call that makes it, what is answered, and what the call returns.
AS_APP: dict[str, tuple[str, Callable[[App], Any], Any, Any]] = {
    "app": ("GET /app", lambda app: app.details(), {"id": 1}, APP),
    "installations": (
        "GET /app/installations?per_page=100",
        lambda app: app.installations(),
        [{"id": 1}],
        [INSTALLATION],
    ),
    "installation": ("GET /app/installations/1", lambda app: app.installation(1), {"id": 1}, INSTALLATION),
    "of a repository": (
        f"GET /repos/{REPO}/installation",
        lambda app: app.installation_of(REPO),
        {"id": 1},
        INSTALLATION,
    ),
    "hook_config": (
        "GET /app/hook/config",
        lambda app: app.hook_config(),
        {"url": "https://x"},
        HookConfig(url="https://x"),
    ),
    "deliveries": ("GET /app/hook/deliveries?per_page=100", lambda app: app.deliveries()[0], [], []),
    "delivery": (
        "GET /app/hook/deliveries/9",
        lambda app: app.delivery(9),
        {"id": 9},
        SentDelivery(url="", payload=None),
    ),
    "redeliver": ("POST /app/hook/deliveries/9/attempts", lambda app: app.redeliver(9), {}, None),
}


@pytest.mark.parametrize("name", AS_APP)
def test_what_only_the_app_may_ask_carries_its_jwt_and_is_repeated_after_trouble(
    hub: GitHub, http: responses.RequestsMock, naps: list[float], name: str
) -> None:
    request, call, body, returned = AS_APP[name]
    method, path = request.split()
    http.add(method, API + path, status=502)
    http.add(method, API + path, json=body)
    assert call(hub.app) == returned
    for sent in http.calls:
        proof = sent.request.headers["Authorization"].removeprefix("Bearer ")
        assert jwt.decode(proof, (DATA / "app.pub").read_text(), algorithms=["RS256"])["iss"] == "Iv1.app"
    assert (len(http.calls), len(naps)) == (2, 1)


@pytest.mark.parametrize("name", AS_APP)
def test_what_only_the_app_may_ask_names_the_setting_without_one(make_github: Callable[..., GitHub], name: str) -> None:
    with pytest.raises(errors.NotConfigured, match="GITHUB_APP_ID"):
        AS_APP[name][1](make_github(app_id="", personal_token="ghp_x").app)


@pytest.mark.parametrize("name", [name for name in AS_APP if name != "redeliver"])
def test_what_is_no_json_is_trouble_not_a_crash(
    hub: GitHub, http: responses.RequestsMock, naps: list[float], name: str
) -> None:
    method, path = AS_APP[name][0].split()
    http.add(method, API + path, body="<html>Log in</html>")
    with pytest.raises(errors.Unavailable, match="not a JSON"):
        AS_APP[name][1](hub.app)


@pytest.mark.parametrize(("ref", "query"), [("", ""), ("v1/x y", "?ref=v1%2Fx+y")])
def test_workflow_file_is_asked_for_as_it_is(
    by_hand: GitHub, http: responses.RequestsMock, ref: str, query: str
) -> None:
    address = f"{API}/repos/{REPO}/contents/.github/workflows/cast.yml"
    http.get(address, body="name: Zoë".encode())
    assert by_hand.repository(0, REPO).workflow_text("cast.yml", ref=ref) == "name: Zoë"
    [call] = http.calls
    assert call.request.url == address + query
    assert call.request.headers["Accept"] == "application/vnd.github.raw+json"


def test_workflow_file_is_read_with_a_token_for_reading(
    hub: GitHub, http: responses.RequestsMock, minting: Any
) -> None:
    http.get(f"{API}/repos/{REPO}/contents/.github/workflows/cast.yml", body=b"")
    hub.repository(1, REPO).workflow_text("cast.yml")
    assert json.loads(minting[0].body)["permissions"] == {"contents": "read"}


# --- workflow_dispatch -----------------------------------------------------------------------------------


def test_newest_version_is_asked_without_return_run_details(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(API + DISPATCH, json=STARTED)
    assert dispatch(by_hand) == RUN
    (body,) = bodies(http)
    check_request("actions.create-workflow-dispatch.2026-03-10", body)
    assert body == {"ref": "main", "inputs": INPUTS}


def test_older_version_is_asked_for_the_run(make_github: Callable[..., GitHub], http: responses.RequestsMock) -> None:
    http.post(API + DISPATCH, json=STARTED)
    assert dispatch(make_github(version="2022-11-28", personal_token="ghp_x")) == RUN
    (body,) = bodies(http)
    check_request("actions.create-workflow-dispatch", body)
    assert body == {"ref": "main", "inputs": INPUTS, "return_run_details": True}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "message",
    [
        'Invalid request.\n\n"return_run_details" is not a permitted key.',
        '"return_run_details" is not a permitted key.',
        'Invalid request.\n\n"return_run_details", "version" are not permitted keys.',
    ],
)
def test_old_server_that_refuses_the_key_is_asked_once_more_without_it(
    make_github: Callable[..., GitHub], http: responses.RequestsMock, status: int, message: str
) -> None:
    http.post(GHES + DISPATCH, json={"message": message}, status=status)
    http.post(GHES + DISPATCH, status=204)
    assert dispatch(make_github(api_url=GHES, personal_token="ghp_x")) is None
    first, second = bodies(http)
    check_request("actions.create-workflow-dispatch", first)
    check_request("actions.create-workflow-dispatch.ghes-3.19", second)
    assert first["return_run_details"] is True
    assert second == {"ref": "main", "inputs": INPUTS}


def test_old_server_is_asked_without_the_key_only_once(
    make_github: Callable[..., GitHub], http: responses.RequestsMock
) -> None:
    http.post(GHES + DISPATCH, json={"message": '"return_run_details" is not a permitted key.'}, status=422)
    with pytest.raises(errors.Refused, match="permitted key"):
        dispatch(make_github(api_url=GHES, personal_token="ghp_x"))
    assert len(http.calls) == 2


@pytest.mark.parametrize("message", ['"inputs" is not a permitted key.', "Unexpected inputs: return_run_details"])
def test_other_refusals_by_an_old_server_are_not_repeated(
    make_github: Callable[..., GitHub], http: responses.RequestsMock, message: str
) -> None:
    http.post(GHES + DISPATCH, json={"message": message}, status=422)
    with pytest.raises(errors.Refused):
        dispatch(make_github(api_url=GHES, personal_token="ghp_x"))
    assert len(http.calls) == 1


def test_newest_version_is_never_asked_again(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(API + DISPATCH, json={"message": '"return_run_details" is not a permitted key.'}, status=422)
    with pytest.raises(errors.Refused):
        dispatch(by_hand)
    assert len(http.calls) == 1


@pytest.mark.parametrize("version", ["2022-11-28", "2026-03-10"])
def test_empty_204_names_no_run(make_github: Callable[..., GitHub], http: responses.RequestsMock, version: str) -> None:
    http.post(API + DISPATCH, status=204)
    assert dispatch(make_github(version=version, personal_token="ghp_x")) is None


@pytest.mark.parametrize("operation", ["", ".2026-03-10"])
def test_published_example_of_the_answer_names_the_run(
    by_hand: GitHub, http: responses.RequestsMock, operation: str
) -> None:
    answer = described(f"actions.create-workflow-dispatch{operation}")["responses"]["200"]["examples"]["default"]
    http.post(API + DISPATCH, json=answer)
    assert dispatch(by_hand) == Run(key="1", url="https://github.com/octo-org/octo-repo/actions/runs/1")


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"{}", b'{"workflow_run_id": null}', b'{"workflow_run_id": "x"}']
)
def test_yes_that_can_not_be_read_is_still_a_yes(by_hand: GitHub, http: responses.RequestsMock, answer: bytes) -> None:
    http.post(API + DISPATCH, body=answer)
    assert dispatch(by_hand) is None


# --- repository_dispatch ---------------------------------------------------------------------------------


def test_event_is_sent_as_described(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(f"{API}/repos/{REPO}/dispatches", status=204)
    by_hand.repository(0, REPO).dispatch_event("spell", dict(INPUTS), before=LATER)
    (body,) = bodies(http)
    check_request("repos.create-dispatch-event", body)
    assert body == {"event_type": "spell", "client_payload": INPUTS}


# --- refusals --------------------------------------------------------------------------------------------

REFUSALS = [
    (404, "Not Found", errors.NotFound),
    (403, "Resource not accessible by integration", errors.PermissionMissing),
    (422, "Workflow does not have 'workflow_dispatch' trigger", errors.Refused),
    (422, 'Unexpected inputs provided: ["foo"]', errors.Refused),
    (422, "No ref found for: main", errors.Refused),
    (422, "Provided value '' for input 'debug' not in the list of allowed values", errors.Refused),
    (422, 'Invalid request.\n\n"ref" wasn\'t supplied.', errors.Refused),
    (422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow", errors.Refused),
    (422, "Invalid Argument - failed to parse workflow: (Line: 3)", errors.Refused),
    (422, "inputs are too large.", errors.Refused),
    (503, "No server is currently available to service your request...", errors.Unavailable),
    (400, "Problems parsing JSON", errors.Refused),
    (401, "Bad credentials", errors.AuthFailed),
    (403, "This installation has been suspended", errors.Suspended),
    (409, "Conflict", errors.Conflict),
    (410, "Gone", errors.Gone),
    (500, "Server Error", errors.Unavailable),
    (502, "Server Error", errors.Unavailable),
    (504, "We couldn't respond to your request in time.", errors.Unavailable),
    (408, "Request Timeout", errors.Unavailable),
    (413, "Payload too large", errors.Refused),
    (451, "Repository access blocked", errors.Refused),
]


@pytest.mark.parametrize("call", [dispatch, dispatch_event])
@pytest.mark.parametrize(("status", "message", "kind"), REFUSALS)
def test_refused_dispatch_is_one_request_and_carries_githubs_message(
    by_hand: GitHub, http: responses.RequestsMock, status: int, message: str, kind: type[errors.GitHubError], call: Any
) -> None:
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    http.add(responses.POST, matching("/dispatches"), json=body, status=status)
    with pytest.raises(errors.GitHubError) as caught:
        call(by_hand)
    assert type(caught.value) is kind
    assert str(caught.value) == " ".join(message.split())
    assert caught.value.status == status
    assert len(http.calls) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>unicorn</html>", "GitHub answered 422 without a message"),
        (b"", "GitHub answered 422 without a message"),
        (b"[1]", "GitHub answered 422 without a message"),
        ({"message": "Bad", "errors": [{"message": "too long"}, "also this"]}, "Bad (too long; also this)"),
        (
            {"message": "Bad", "errors": [{"resource": "Run", "field": "ref", "code": "missing"}]},
            "Bad (Run ref missing)",
        ),
        ({"message": "Bad", "errors": "all of it"}, "Bad (all of it)"),
        ({"message": "Bad", "errors": [None, 3, ["x"], {"message": {"deep": 1}}, {}]}, None),
        ({"message": "Bad", "errors": {"ref": ["is missing"]}}, None),
        ({"message": {"odd": True}}, None),
    ],
)
def test_message_is_found_in_any_kind_of_error_body(
    by_hand: GitHub, http: responses.RequestsMock, body: Any, message: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    http.post(API + DISPATCH, body=raw, status=422)
    with pytest.raises(errors.Refused) as caught:
        dispatch(by_hand)
    if message:
        assert str(caught.value) == message


def test_missing_permission_is_named(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(
        API + DISPATCH,
        json={"message": "Resource not accessible by integration"},
        status=403,
        headers={"X-Accepted-GitHub-Permissions": "actions=write"},
    )
    with pytest.raises(errors.PermissionMissing, match="actions=write"):
        dispatch(by_hand)


@pytest.mark.parametrize("secret", [LONG_TOKEN, "github_pat_11AAAA_bbbb", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"])
def test_tokens_never_show_in_messages(by_hand: GitHub, http: responses.RequestsMock, secret: str) -> None:
    http.post(API + DISPATCH, json={"message": f"bad token {secret} given"}, status=422)
    with pytest.raises(errors.Refused) as caught:
        dispatch(by_hand)
    assert str(caught.value).startswith("bad token g")
    assert str(caught.value).endswith("_… given")
    assert secret[11:] not in str(caught.value)


def test_tokens_never_show_in_network_errors(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.post(API + DISPATCH, body=requests.ConnectionError(f"lost: Bearer {LONG_TOKEN}"))
    with pytest.raises(errors.Unavailable) as caught:
        dispatch(by_hand)
    assert "signature-part" not in str(caught.value)


# --- redirects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_moved_repository_is_followed_for_reading(by_hand: GitHub, http: responses.RequestsMock, status: int) -> None:
    moved = f"{API}/repositories/99/actions/runs/7"
    http.get(f"{API}/repos/{REPO}/actions/runs/7", status=status, headers={"Location": moved})
    http.get(moved, json={"id": 7})
    assert by_hand.repository(0, REPO).run(7) == RUN_7
    assert http.calls[1].request.headers["Authorization"] == "Bearer github_pat_mine"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("call", [dispatch, dispatch_event])
def test_moved_repository_is_not_followed_for_dispatching(
    by_hand: GitHub, http: responses.RequestsMock, call: Any, status: int
) -> None:
    http.add(responses.POST, matching("/dispatches"), status=status, headers={"Location": f"{API}/repositories/99/x"})
    with pytest.raises(errors.Refused, match="moved"):
        call(by_hand)
    assert len(http.calls) == 1


# --- rate limits -----------------------------------------------------------------------------------------


def in_seconds(moment: dt.datetime) -> float:
    return (moment - dt.datetime.now(dt.UTC)).total_seconds()


def at(seconds: float) -> str:
    return str(int((dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).timestamp()))


LIMITS = {
    "retry-after goes first": (
        429,
        {"Retry-After": "17", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+900"},
        17,
    ),
    "403 with retry-after": (403, {"Retry-After": "30"}, 30),
    "primary": (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+900"}, 900),
    "primary as 429": (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+900"}, 900),
    "secondary without headers": (403, {}, None),
    "secondary as 429": (429, {}, None),
    "secondary with quota left": (403, {"X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "+900"}, None),
    "a reset in the past, by our clock": (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "-300"}, None),
    "retry-after of nothing": (429, {"Retry-After": "0"}, 1),
    "retry-after that is a date": (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    "retry-after beyond all times": (429, {"Retry-After": "9" * 30}, 24 * 3600),
    "reset beyond all times": (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 30}, 24 * 3600),
}


@pytest.mark.parametrize(("status", "head", "seconds"), LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("name", ["dispatch_workflow", "dispatch_event", "run"])
def test_rate_limit_says_when_it_ends_and_is_not_repeated(
    by_hand: GitHub, http: responses.RequestsMock, name: str, status: int, head: dict[str, str], seconds: float | None
) -> None:
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    head = {key: at(float(value)) if value[0] in "+-" else value for key, value in head.items()}
    for method in ("GET", "POST"):
        http.add(method, matching(""), json={"message": message}, status=status, headers=head)
    with pytest.raises(errors.RateLimited) as caught:
        CALLS[name](by_hand)
    if seconds is None:
        assert caught.value.retry_at is None
    else:
        assert caught.value.retry_at is not None
        assert in_seconds(caught.value.retry_at) == pytest.approx(seconds, abs=5)
    assert len(http.calls) == 1


@pytest.mark.parametrize(
    "message", ["API rate limit exceeded for installation ID 1.", "You have triggered an abuse detection"]
)
def test_403_without_headers_is_known_by_its_words(by_hand: GitHub, http: responses.RequestsMock, message: str) -> None:
    http.post(API + DISPATCH, json={"message": message}, status=403)
    with pytest.raises(errors.RateLimited, match=r"rate limit|abuse"):
        dispatch(by_hand)


def test_missing_permission_with_quota_left_is_no_rate_limit(by_hand: GitHub, http: responses.RequestsMock) -> None:
    head = {"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": at(900)}
    http.post(API + DISPATCH, json={"message": "Must have admin rights"}, status=403, headers=head)
    with pytest.raises(errors.PermissionMissing):
        dispatch(by_hand)


# --- reading ---------------------------------------------------------------------------------------------


def test_runs_are_listed_with_few_filters(by_hand: GitHub, http: responses.RequestsMock) -> None:
    query = {"event": "workflow_dispatch", "per_page": "100", "page": "3"}
    http.get(
        f"{API}/repos/{REPO}/actions/runs",
        json={"total_count": 1, "workflow_runs": [{"id": 7}]},
        match=[matchers.query_param_matcher(query)],
    )
    assert by_hand.repository(0, REPO).runs(event="workflow_dispatch", page=3) == [RUN_7]


@pytest.mark.parametrize(("name", "call"), [("jobs", "jobs"), ("artifacts", "artifacts")])
def test_long_lists_are_read_to_their_end(by_hand: GitHub, http: responses.RequestsMock, name: str, call: str) -> None:
    pages = [[{"id": n, "name": str(n)} for n in range(at, min(at + 100, 256))] for at in (0, 100, 200)]
    for number, page in enumerate(pages, start=1):
        query: dict[str, Any] = {"per_page": "100", "page": str(number)}
        http.get(
            f"{API}/repos/{REPO}/actions/runs/7/{name}",
            json={"total_count": 256, name: page},
            match=[matchers.query_param_matcher(query, strict_match=False)],
        )
    assert [row.id for row in getattr(by_hand.repository(0, REPO), call)(7)] == list(range(256))
    assert len(http.calls) == 3


def test_list_that_is_shorter_than_its_count_ends(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.get(f"{API}/repos/{REPO}/actions/runs/7/jobs", json={"total_count": 5, "jobs": []})
    assert by_hand.repository(0, REPO).jobs(7) == ()
    assert len(http.calls) == 1


def test_jobs_are_those_of_the_latest_attempt(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.get(f"{API}/repos/{REPO}/actions/runs/7/jobs", json={"total_count": 0, "jobs": []})
    by_hand.repository(0, REPO).jobs(7)
    assert "filter=latest" in (http.calls[0].request.url or "")


@pytest.mark.parametrize("body", [b"<html>a captive portal</html>", b"", b"[]", b"null"])
@pytest.mark.parametrize("name", ["run", "runs", "jobs", "artifacts"])
def test_answer_that_is_no_json_object_did_not_come_from_github(
    by_hand: GitHub, http: responses.RequestsMock, naps: list[float], name: str, body: bytes
) -> None:
    http.add(responses.GET, matching(""), body=body)
    with pytest.raises(errors.Unavailable):
        CALLS[name](by_hand)


@pytest.mark.parametrize(("force", "path"), [(False, "cancel"), (True, "force-cancel")])
def test_cancel_asks_gently_or_by_force(by_hand: GitHub, http: responses.RequestsMock, force: bool, path: str) -> None:
    http.post(f"{API}/repos/{REPO}/actions/runs/7/{path}", json={}, status=202)
    by_hand.repository(0, REPO).cancel(7, force=force)
    assert len(http.calls) == 1


def test_cancel_may_be_repeated(by_hand: GitHub, http: responses.RequestsMock, naps: list[float]) -> None:
    http.post(f"{API}/repos/{REPO}/actions/runs/7/cancel", status=502)
    http.post(f"{API}/repos/{REPO}/actions/runs/7/cancel", json={}, status=202)
    by_hand.repository(0, REPO).cancel(7, force=False)
    assert len(naps) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_reading_is_tried_three_times_with_growing_waits(
    by_hand: GitHub, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.get(f"{API}/repos/{REPO}/actions/runs/7", status=status)
    with pytest.raises(errors.Unavailable):
        by_hand.repository(0, REPO).run(7)
    assert len(http.calls) == 3
    assert 0.3 < naps[0] < naps[1] * 1.01 < 2


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
def test_reading_is_not_repeated_after_a_no(
    by_hand: GitHub, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.get(f"{API}/repos/{REPO}/actions/runs/7", status=status)
    with pytest.raises(errors.GitHubError):
        by_hand.repository(0, REPO).run(7)
    assert len(http.calls) == 1
