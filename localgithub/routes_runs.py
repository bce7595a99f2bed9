"""Runs, their jobs, logs and artifacts."""

from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from .answers import ApiError, answer_json, not_found, page
from .repositories import Repository
from .routes_workflows import find_workflow
from .runs import Artifact, Attempt, Job, Run
from .world import World

MAX_RUNS = 1000  # runs a filtered search gives at most
RUN_DOCS = "/actions/workflow-runs"


def runs(world: World, request: Request, owner: str, repo: str) -> Response:
    found, _ = world.allowed(request, owner, repo)
    return _list(world, request, [run for run in world.runs.all() if run.repository is found])


def workflow_runs(world: World, request: Request, owner: str, repo: str, key: str) -> Response:
    found, _ = world.allowed(request, owner, repo)
    wanted = find_workflow(found, key, RUN_DOCS)
    same = [run for run in world.runs.all() if run.repository is found and run.workflow.path == wanted.path]
    return _list(world, request, same)


def _list(world: World, request: Request, listed: Iterable[Run]) -> Response:
    asked = request.args
    tests: dict[str, Callable[[Run], bool]] = {
        "event": lambda run: run.event == asked["event"],
        "branch": lambda run: run.branch == asked["branch"],
        "head_sha": lambda run: run.sha == asked["head_sha"],
        "actor": lambda run: run.actor == asked["actor"],
        "check_suite_id": lambda run: str(run.suite_id) == asked["check_suite_id"],
        "status": lambda run: asked["status"] in (run.attempt.status, run.attempt.conclusion),
        "created": lambda run: _created(world.render.run(run)["created_at"], asked["created"]),
    }
    wanted = [test for name, test in tests.items() if asked.get(name)]
    kept = [run for run in listed if all(test(run) for test in wanted)]
    kept = kept[:MAX_RUNS] if wanted else kept
    with world.runs.lock:
        return page(request, world.config.base_url, [world.render.run(run) for run in kept], "workflow_runs")


def _created(moment: str, search: str) -> bool:
    """Whether a time matches GitHub's search syntax: >=T, <T, A..B, T or a day."""
    if ".." in search:
        low, high = search.split("..", 1)
        return (low == "*" or moment >= low) and (high == "*" or moment[: len(high)] <= high)
    for sign in (">=", "<=", ">", "<"):
        if search.startswith(sign):
            limit = search[len(sign) :]
            same = moment.startswith(limit)
            return ("=" in sign and same) or ((moment > limit if ">" in sign else moment < limit) and not same)
    return moment.startswith(search)


def run(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    with world.runs.lock:
        return answer_json(world.render.run(one))


def attempt(world: World, request: Request, owner: str, repo: str, run_id: int, number: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    with world.runs.lock:
        return answer_json(world.render.run(one, _attempt(one, number)))


def run_jobs(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    every = request.args.get("filter") == "all"
    return _jobs(world, request, one, one.attempts if every else [one.attempt])


def attempt_jobs(world: World, request: Request, owner: str, repo: str, run_id: int, number: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    return _jobs(world, request, one, [_attempt(one, number)])


def _jobs(world: World, request: Request, one: Run, attempts: list[Attempt]) -> Response:
    with world.runs.lock:
        shown = [world.render.job(one, job) for chosen in attempts for job in chosen.jobs]
    return page(request, world.config.base_url, shown, "jobs")


def job(world: World, request: Request, owner: str, repo: str, job_id: int) -> Response:
    one, found = _job(world, request, owner, repo, job_id)
    with world.runs.lock:
        return answer_json(world.render.job(one, found))


def job_logs(world: World, request: Request, owner: str, repo: str, job_id: int) -> Response:
    """Answer with a link to the log, once the job has ended."""
    _, found = _job(world, request, owner, repo, job_id)
    if found.status != "completed" or not found.log:
        raise not_found(RUN_DOCS)
    return _elsewhere(world.blobs.job_log(found))


def run_logs(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    if one.attempt.status != "completed" or not one.attempt.jobs:
        raise not_found(RUN_DOCS)
    return _elsewhere(world.blobs.run_log(one.id, one.attempt))


def cancel(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    one = _run(world, request, owner, repo, run_id, level="write")
    if one.attempt.status == "completed":
        raise ApiError(409, "Cannot cancel a workflow run that is completed.", RUN_DOCS + "#cancel-a-workflow-run")
    who = world.auth.login(world.auth.token(request))
    world.runner.cancel(one, why=f"The run was canceled by @{who}.", force=request.path.endswith("/force-cancel"))
    return answer_json({}, 202)


def rerun(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    """Add an attempt to the run, with the same inputs."""
    one = _run(world, request, owner, repo, run_id, level="write")
    actor = world.auth.login(world.auth.token(request))
    with world.runs.lock:
        if one.attempt.status != "completed":
            raise ApiError(403, "This workflow is already running", RUN_DOCS + "#re-run-a-workflow")
        world.runner.submit(one, world.runs.add_attempt(one, actor))
    return answer_json({}, 201)


def artifacts(world: World, request: Request, owner: str, repo: str, run_id: int) -> Response:
    one = _run(world, request, owner, repo, run_id)
    name = request.args.get("name")
    with world.runs.lock:
        newest = sorted(one.artifacts.values(), key=lambda a: a.id, reverse=request.args.get("direction") != "asc")
        shown = [world.render.artifact(one, a) for a in newest if name in (None, "", a.name)]
    return page(request, world.config.base_url, shown, "artifacts")


def artifact(world: World, request: Request, owner: str, repo: str, artifact_id: int) -> Response:
    found, _ = world.allowed(request, owner, repo)
    return answer_json(world.render.artifact(*_artifact(world, found, artifact_id)))


def download(world: World, request: Request, owner: str, repo: str, artifact_id: int) -> Response:
    """Answer with a link that works for a minute."""
    found, _ = world.allowed(request, owner, repo)
    _, stored = _artifact(world, found, artifact_id)
    if stored.expired:
        raise ApiError(410, "Artifact has expired", "/actions/artifacts#download-an-artifact")
    return _elsewhere(world.blobs.artifact(stored))


def _run(world: World, request: Request, owner: str, repo: str, run_id: int, level: str = "read") -> Run:
    found, _ = world.allowed(request, owner, repo, level=level, docs=RUN_DOCS)
    return world.run(found, run_id, RUN_DOCS)


def _attempt(one: Run, number: int) -> Attempt:
    if not 1 <= number <= len(one.attempts):
        raise not_found(RUN_DOCS)
    return one.attempts[number - 1]


def _job(
    world: World,
    request: Request,
    owner: str,
    repo: str,
    job_id: int,
) -> tuple[Run, Job]:
    docs = "/actions/workflow-jobs#get-a-job-for-a-workflow-run"
    found, _ = world.allowed(request, owner, repo, docs=docs)
    for one, _attempt_of, known in world.runs.jobs(found):
        if known.id == job_id:
            return one, known
    raise not_found(docs)


def _artifact(world: World, found: Repository, artifact_id: int) -> tuple[Run, Artifact]:
    for one in world.runs.all():
        if one.repository is found and artifact_id in one.artifacts:
            return one, one.artifacts[artifact_id]
    raise not_found("/actions/artifacts#get-an-artifact")


def _elsewhere(address: str) -> Response:
    answer: Any = redirect(address, 302)
    answer.set_data(b"")
    return answer  # type: ignore[no-any-return]


_BASE = "/repos/<owner>/<repo>/actions"
_RUN = f"{_BASE}/runs/<int:run_id>"
RULES = [
    ("GET", f"{_BASE}/runs", runs),
    ("GET", f"{_BASE}/workflows/<key>/runs", workflow_runs),
    ("GET", _RUN, run),
    ("GET", f"{_RUN}/attempts/<int:number>", attempt),
    ("GET", f"{_RUN}/attempts/<int:number>/jobs", attempt_jobs),
    ("GET", f"{_RUN}/jobs", run_jobs),
    ("GET", f"{_RUN}/logs", run_logs),
    ("GET", f"{_RUN}/artifacts", artifacts),
    ("POST", f"{_RUN}/cancel", cancel),
    ("POST", f"{_RUN}/force-cancel", cancel),
    ("POST", f"{_RUN}/rerun", rerun),
    ("POST", f"{_RUN}/rerun-failed-jobs", rerun),
    ("GET", f"{_BASE}/jobs/<int:job_id>", job),
    ("GET", f"{_BASE}/jobs/<int:job_id>/logs", job_logs),
    ("GET", f"{_BASE}/artifacts/<int:artifact_id>", artifact),
    ("GET", f"{_BASE}/artifacts/<int:artifact_id>/zip", download),
]
