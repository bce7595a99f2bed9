"""Looks at a run that has not changed are free: ETags, for the token that got them and no other."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses
from responses import matchers

from github_integration import errors, wire
from github_integration.api import GitHub
from github_integration.auth import Scope
from github_integration.etags import Etags

from .doubles import API, REPO, RUN_7, answer, loopback

RUN = f"{API}/repos/{REPO}/actions/runs/7"
JOBS = f"{RUN}/jobs"


class Tagged:
    """Answers as GitHub does: an ETag for the body and the token, and 304 to whom that is known."""

    def __init__(self, http: responses.RequestsMock, url: str, body: Any, **query: Any) -> None:
        self.body = body
        self.statuses: list[int] = []
        self.asked: list[requests.PreparedRequest] = []
        match = [matchers.query_param_matcher(query)] if query else []
        http.add_callback("GET", url, callback=self, match=match)

    def __call__(self, request: Any) -> tuple[int, dict[str, str], str]:
        self.asked.append(request)
        etag = f'W/"{abs(hash((json.dumps(self.body), request.headers["Authorization"])))}"'
        known = request.headers.get("If-None-Match") == etag
        self.statuses.append(304 if known else 200)
        return self.statuses[-1], {"ETag": etag}, "" if known else json.dumps(self.body)


# --- looks ----------------------------------------------------------------------------------------------------------


def test_run_that_has_not_changed_is_sent_once_and_read_again(by_hand: GitHub, http: responses.RequestsMock) -> None:
    run = Tagged(http, RUN, {"id": 7, "status": "queued", "event": "workflow_dispatch", "display_title": "Zoë"})
    repository = by_hand.repository(0, REPO)
    assert [repository.run(7) for _ in range(3)] == [wire.run_seen(REPO, run.body)] * 3
    assert run.statuses == [200, 304, 304]
    run.body = run.body | {"status": "completed"}
    assert [repository.run(7).status for _ in range(2)] == ["completed"] * 2
    assert run.statuses == [200, 304, 304, 200, 304]


def test_jobs_are_remembered_page_by_page(by_hand: GitHub, http: responses.RequestsMock) -> None:
    jobs = [{"id": number} for number in range(150)]
    pages = [
        Tagged(http, JOBS, {"total_count": 150, "jobs": jobs[part]}, filter="latest", per_page=100, page=n)
        for n, part in ((1, slice(100)), (2, slice(100, None)))
    ]
    repository = by_hand.repository(0, REPO)
    assert repository.jobs(7) == repository.jobs(7) == tuple(wire.job_seen(job) for job in jobs)
    assert [page.statuses for page in pages] == [[200, 304]] * 2


def test_runs_their_newest_page_and_jobs_alone_are_asked_conditionally(
    by_hand: GitHub, http: responses.RequestsMock
) -> None:
    runs = Tagged(http, f"{API}/repos/{REPO}/actions/runs", {"total_count": 0, "workflow_runs": []})
    artifacts = Tagged(http, f"{RUN}/artifacts", {"total_count": 0, "artifacts": []})
    repository = by_hand.repository(0, REPO)
    for _ in range(2):
        repository.runs(event="workflow_dispatch", page=2)
        repository.artifacts(7)
    assert runs.statuses == artifacts.statuses == [200, 200]
    assert not any("If-None-Match" in request.headers for request in runs.asked + artifacts.asked)


def test_new_token_asks_anew_and_the_old_ones_answers_are_dropped(
    hub: GitHub, http: responses.RequestsMock, minting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Tagged(http, RUN, {"id": 7})
    hub.repository(1, REPO).run(7)
    scope = Scope(1, REPO, (("actions", "write"),))
    first = hub.auth.access_tokens.get(scope)
    hub.auth.access_tokens.drop(scope, first)
    assert hub.etags.get(first.value, f"/repos/{REPO}/actions/runs/7", {}) is None
    assert [hub.repository(1, REPO).run(7) for _ in range(2)] == [RUN_7] * 2
    assert run.statuses == [200, 200, 304]
    assert "If-None-Match" not in run.asked[1].headers


def test_token_that_is_replaced_before_it_expires_takes_its_answers_along(
    hub: GitHub, http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .conftest import mint_into

    minted = mint_into(http, lives=dt.timedelta(minutes=4))
    run = Tagged(http, RUN, {"id": 7})
    hub.repository(1, REPO).run(7)
    hub.repository(1, REPO).run(7)
    assert (len(minted), run.statuses) == (2, [200, 200])
    assert hub.etags.get("ghs_1", f"/repos/{REPO}/actions/runs/7", {}) is None
    assert hub.etags.get("ghs_2", f"/repos/{REPO}/actions/runs/7", {}) is not None


def test_401_in_answer_to_a_conditional_look_replaces_the_token_and_asks_plainly(
    hub: GitHub, http: responses.RequestsMock, minting: Any, naps: list[float]
) -> None:
    http.get(RUN, json={"id": 7}, headers={"ETag": '"a"'})
    http.get(RUN, json={"message": "Bad credentials"}, status=401)
    hub.repository(1, REPO).run(7)
    for _ in range(3):  # the token is fresh: it is waited for
        http.get(RUN, json={"message": "Bad credentials"}, status=401)
    http.get(RUN, json={"id": 8})
    assert hub.repository(1, REPO).run(7) == dataclasses.replace(RUN_7, run_key="8")
    sent = [call.request.headers for call in http.calls if call.request.url == RUN]
    assert (sent[-2]["If-None-Match"], sent[-2]["Authorization"]) == ('"a"', "Bearer ghs_1")
    assert ("If-None-Match" in sent[-1], sent[-1]["Authorization"]) == (False, "Bearer ghs_2")


def test_answer_without_etag_and_answer_that_is_no_object_are_not_remembered(
    by_hand: GitHub, http: responses.RequestsMock, naps: list[float]
) -> None:
    http.get(RUN, json={"id": 7})
    by_hand.repository(0, REPO).run(7)
    http.replace("GET", RUN, body="<html>a proxy</html>", headers={"ETag": '"p"'})
    with pytest.raises(errors.Unavailable):
        by_hand.repository(0, REPO).run(7)
    run = Tagged(http, JOBS, {"total_count": 0})
    by_hand.repository(0, REPO).jobs(7)
    assert not any("If-None-Match" in call.request.headers for call in http.calls)
    assert run.statuses == [200]


def test_304_that_we_did_not_ask_for_is_no_answer(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.get(RUN, status=304)
    with pytest.raises(errors.Unavailable, match="304"):
        by_hand.repository(0, REPO).run(7)


def test_error_in_answer_to_a_conditional_look_is_an_error_and_forgets_nothing(
    by_hand: GitHub, http: responses.RequestsMock
) -> None:
    http.get(RUN, json={"id": 7}, headers={"ETag": '"a"'})
    http.get(RUN, json={"message": "Not Found"}, status=404)
    http.get(RUN, status=304, headers={"ETag": '"a"'})
    by_hand.repository(0, REPO).run(7)
    with pytest.raises(errors.NotFound):
        by_hand.repository(0, REPO).run(7)
    assert by_hand.repository(0, REPO).run(7) == RUN_7


def test_moved_repositorys_run_is_remembered_too(by_hand: GitHub, http: responses.RequestsMock) -> None:
    http.get(RUN, status=301, headers={"Location": f"{API}/repositories/5/actions/runs/7"})
    run = Tagged(http, f"{API}/repositories/5/actions/runs/7", {"id": 7})
    assert [by_hand.repository(0, REPO).run(7) for _ in range(2)] == [RUN_7] * 2
    assert run.statuses == [200, 304]


def test_on_a_real_socket_the_connection_is_kept_after_a_304(make_github: Callable[..., GitHub]) -> None:
    replies = (
        answer(200, {"id": 7}, ETag='W/"1"'),
        answer(304, ETag='W/"1"', Content_Length="0"),
        answer(200, {"id": 8}),
    )
    with loopback(*replies) as server:
        github = make_github(api_url=server.url, personal_token="ghp_x")
        assert [github.repository(0, REPO).run(7).run_key for _ in range(3)] == ["7", "7", "8"]
        assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, 'W/"1"', 'W/"1"']
        assert len({asked.connection for asked in server.asked}) == 1


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    etags = Etags(entries=2)
    for path in "ab":
        etags.put("t", path, {}, etag=path, body=b"{}")
    assert etags.get("t", "a", {}) is not None
    etags.put("t", "c", {}, etag="c", body=b"{}")
    assert [etags.get("t", path, {}) is not None for path in "abc"] == [True, False, True]


def test_queries_and_tokens_are_told_apart_and_order_is_not() -> None:
    etags = Etags()
    etags.put("t", "p", {"page": 1, "per_page": 100}, etag="x", body=b"x")
    assert etags.get("t", "p", {"per_page": "100", "page": "1"}) is not None
    assert etags.get("t", "p", {"page": 2, "per_page": 100}) is None
    assert etags.get("u", "p", {"page": 1, "per_page": 100}) is None


def test_larger_than_everything_is_not_kept_and_leaves_no_stale_answer() -> None:
    noise = random.Random(1).randbytes(2000)
    etags = Etags(size=1000)
    etags.put("t", "p", {}, etag="old", body=b"{}")
    etags.put("t", "p", {}, etag="new", body=noise)
    assert etags.get("t", "p", {}) is None


def test_never_more_than_allowed_whatever_is_put_and_dropped() -> None:
    chance = random.Random(7)
    etags = Etags(entries=20, size=5_000)
    truth: dict[tuple[str, str], bytes] = {}
    for _ in range(3000):
        token, path = chance.choice("abc"), str(chance.randrange(30))
        if chance.random() < 0.02:
            etags.drop(token)
            truth = {key: body for key, body in truth.items() if key[0] != token}
        elif chance.random() < 0.5:
            body = chance.randbytes(chance.randrange(900))
            etags.put(token, path, {}, etag="e", body=body)
            truth[token, path] = body
        elif (kept := etags.get(token, path, {})) is not None:
            assert kept.body() == truth[token, path]
        assert len(etags._kept) <= 20
        assert etags._bytes == sum(len(kept.packed) for kept in etags._kept.values()) <= 5_000


def test_threads_may_share_it() -> None:
    etags, wrong = Etags(entries=50), []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(500):
            path = str(chance.randrange(80))
            etags.put("t", path, {}, etag=path, body=path.encode() * 50)
            if (kept := etags.get("t", path, {})) and kept.body() != path.encode() * 50:
                wrong.append(path)
            if chance.random() < 0.01:
                etags.drop("t")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    [t.start() for t in threads]
    [t.join(20) for t in threads]
    assert not wrong
    assert etags._bytes == sum(len(kept.packed) for kept in etags._kept.values())


def test_no_token_is_kept_in_it() -> None:
    etags = Etags()
    etags.put("ghs_secret", "p", {}, etag="x", body=b"{}")
    assert "ghs_secret" not in repr(etags._kept)
