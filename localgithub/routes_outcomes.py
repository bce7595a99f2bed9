"""Commit statuses and check runs: what Apps write on commits, and what the jobs of runs leave there."""

import re
from typing import Any

from werkzeug.wrappers import Request, Response

from . import outcome_bodies
from .answers import ApiError, answer_json, not_found, page, read_object
from .apps import ACTIONS_APP
from .auth import Token
from .outcome_bodies import CHECK_DOCS, STATUS_DOCS
from .outcomes import CheckRun, Status, combined
from .repositories import Repository
from .world import World

MAX_STATUSES = 1000  # of one context on one commit
_SHA = re.compile(r"[0-9a-f]{40}$")


def create_status(world: World, request: Request, owner: str, repo: str, sha: str) -> Response:
    found, token = world.allowed(request, owner, repo, "statuses", "write", STATUS_DOCS)
    body = read_object(request)
    _check_sha(found, sha, STATUS_DOCS)
    facts = outcome_bodies.status_of(body)
    if sum(one.context == facts["context"] for one in world.outcomes.statuses(found, sha)) >= MAX_STATUSES:
        said = "This SHA and context has reached the maximum number of statuses."
        raise outcome_bodies.invalid_status(("base", said))
    status = Status(found, sha, creator=world.auth.login(token), **facts)
    world.outcomes.add_status(status)
    return answer_json(world.render.status(status), 201)


def statuses(world: World, request: Request, owner: str, repo: str, ref: str) -> Response:
    found, _ = world.allowed(request, owner, repo, "statuses", docs="/commits/statuses")
    sha = _commit(found, ref)
    shown = [world.render.status(one) for one in world.outcomes.statuses(found, sha)]
    return page(request, world.config.base_url, shown)


def combined_status(world: World, request: Request, owner: str, repo: str, ref: str) -> Response:
    found, _ = world.allowed(request, owner, repo, "statuses", docs="/commits/statuses")
    sha = _commit(found, ref)
    state, newest = combined(world.outcomes.statuses(found, sha))
    url = f"{world.render.repository_url(found)}/commits/{sha}"
    extra = {
        "state": state,
        "sha": sha,
        "repository": world.render.minimal_repository(found),
        "commit_url": url,
        "url": f"{url}/status",
    }
    shown = [world.render.simple_status(one) for one in newest]
    return page(request, world.config.base_url, shown, "statuses", extra)


def create_check(world: World, request: Request, owner: str, repo: str) -> Response:
    found, token = world.allowed(request, owner, repo, "checks", "write", CHECK_DOCS)
    app_id = _app_id(world, token)
    body = read_object(request)
    change = outcome_bodies.check_of(body, new=True)
    sha = body["head_sha"]
    _check_sha(found, sha, CHECK_DOCS)
    check = CheckRun(found, app_id, world.outcomes.suite(found, app_id, sha), sha, body["name"])
    _apply(check, change)
    world.outcomes.add_check(check)
    return answer_json(world.render.check(check), 201)


def update_check(world: World, request: Request, owner: str, repo: str, number: int) -> Response:
    """Change a check run; annotations are added to those that it has."""
    found, token = world.allowed(request, owner, repo, "checks", "write", CHECK_DOCS)
    app_id = _app_id(world, token)
    check = world.outcomes.check(found, number)
    if check is None:
        raise not_found(CHECK_DOCS)
    if check.app_id != app_id:
        said = f"Invalid app_id `{app_id}` - check run can only be modified by the GitHub App that created it."
        raise ApiError(403, said, CHECK_DOCS)
    change = outcome_bodies.check_of(read_object(request), new=False)
    with world.outcomes.lock:
        _apply(check, change)
    return answer_json(world.render.check(check))


def check_run(world: World, request: Request, owner: str, repo: str, number: int) -> Response:
    found, _ = world.allowed(request, owner, repo, "checks", docs=CHECK_DOCS)
    check = world.outcomes.check(found, number)
    if check is not None:
        return answer_json(world.render.check(check))
    with world.runs.lock:
        for run, _attempt, job in world.runs.jobs(found):
            if job.id == number:
                return answer_json(world.render.job_check(run, job))
    raise not_found(CHECK_DOCS)


def annotations(world: World, request: Request, owner: str, repo: str, number: int) -> Response:
    """Answer with the annotations of a check run, which may be a job; then its id is the job's."""
    docs = "/checks/runs#list-check-run-annotations"
    found, _ = world.allowed(request, owner, repo, "checks", docs=docs)
    check = world.outcomes.check(found, number)
    if check is not None:
        shown = [world.render.annotation(found, check.sha, each) for each in check.annotations]
        return page(request, world.config.base_url, shown)
    with world.runs.lock:
        for run, _attempt, job in world.runs.jobs(found):
            if job.id == number:
                shown = [world.render.annotation(found, run.sha, each) for each in job.annotations]
                return page(request, world.config.base_url, shown)
    raise not_found(docs)


def commit_checks(world: World, request: Request, owner: str, repo: str, ref: str) -> Response:
    found, _ = world.allowed(request, owner, repo, "checks", docs="/checks/runs#list-check-runs-for-a-git-reference")
    sha = _commit(found, ref)
    shown = [world.render.check(one) for one in world.outcomes.checks(found, sha=sha)]
    with world.runs.lock:
        shown += [world.render.job_check(run, job) for run, _, job in world.runs.jobs(found) if run.sha == sha]
    return _listed(world, request, shown)


def suite_checks(world: World, request: Request, owner: str, repo: str, number: int) -> Response:
    """Answer with the check runs of a suite; that of a run has one for each of its jobs."""
    docs = "/checks/runs#list-check-runs-in-a-check-suite"
    found, _ = world.allowed(request, owner, repo, "checks", docs=docs)
    shown = [world.render.check(one) for one in world.outcomes.checks(found, suite_id=number)]
    with world.runs.lock:
        known = bool(shown)
        for run in world.runs.all():
            if run.repository is found and run.suite_id == number:
                known = True
                every = request.args.get("filter") == "all"
                for attempt in run.attempts if every else [run.attempt]:
                    shown += [world.render.job_check(run, job) for job in attempt.jobs]
    if not known:
        raise not_found(docs)
    return _listed(world, request, shown)


def _listed(world: World, request: Request, shown: list[dict[str, Any]]) -> Response:
    asked = request.args
    if asked.get("check_name"):
        shown = [one for one in shown if one["name"] == asked["check_name"]]
    if asked.get("status"):
        shown = [one for one in shown if one["status"] == asked["status"]]
    if asked.get("app_id"):
        shown = [one for one in shown if str(one["app"]["id"]) == asked["app_id"]]
    if asked.get("filter", "latest") == "latest":
        # Of an App's checks of one name the newest; jobs of different runs are in suites of their own.
        newest: dict[tuple[Any, ...], dict[str, Any]] = {}
        for one in shown:
            job = one["id"] if one["app"]["id"] == ACTIONS_APP else None
            newest.setdefault((one["app"]["id"], one["name"], job), one)
        shown = list(newest.values())
    return page(request, world.config.base_url, shown, "check_runs")


def _commit(found: Repository, ref: str) -> str:
    sha = found.commit(ref)
    if sha is None:
        raise ApiError(422, f"No commit found for SHA: {ref}", "/commits/commits")
    return sha


def _app_id(world: World, token: Token) -> int:
    app = world.auth.app_of(token)
    if token.personal:
        raise ApiError(403, "You must authenticate via a GitHub App.", CHECK_DOCS)
    return app.id if app else ACTIONS_APP


def _apply(check: CheckRun, change: dict[str, Any]) -> None:
    check.annotations += change.pop("annotations", [])
    for name, value in change.items():
        setattr(check, name, value)
    if check.status != "completed":
        check.conclusion = check.completed_at = None


def _check_sha(found: Repository, sha: str, docs: str) -> None:
    """Raise ApiError (422) unless this is a commit's whole id."""
    if not _SHA.match(sha) or found.commit(sha) is None:
        raise ApiError(422, f"No commit found for SHA: {sha}", docs)


_REPO = "/repos/<owner>/<repo>"
RULES = [
    ("POST", f"{_REPO}/statuses/<sha>", create_status),
    ("GET", f"{_REPO}/statuses/<path:ref>", statuses),
    ("GET", f"{_REPO}/commits/<path:ref>/statuses", statuses),
    ("GET", f"{_REPO}/commits/<path:ref>/status", combined_status),
    ("GET", f"{_REPO}/commits/<path:ref>/check-runs", commit_checks),
    ("POST", f"{_REPO}/check-runs", create_check),
    ("GET", f"{_REPO}/check-runs/<int:number>", check_run),
    ("PATCH", f"{_REPO}/check-runs/<int:number>", update_check),
    ("GET", f"{_REPO}/check-runs/<int:number>/annotations", annotations),
    ("GET", f"{_REPO}/check-suites/<int:number>/check-runs", suite_checks),
]
