"""Workflows, and the two ways to start a run."""

import time
from typing import Any

from werkzeug.wrappers import Request, Response

from . import dispatch
from .answers import ApiError, answer_json, empty, not_found, page, read_object
from .hooks import wait_for
from .repositories import Repository
from .runs import Run
from .workflow import Workflow
from .world import World

GET_DOCS = "/actions/workflows#get-a-workflow"


def workflows(world: World, request: Request, owner: str, repo: str) -> Response:
    found, _ = world.allowed(request, owner, repo)
    shown = [world.render.workflow(w, found) for w in found.workflows()]
    return page(request, world.config.base_url, shown, "workflows")


def workflow(world: World, request: Request, owner: str, repo: str, key: str) -> Response:
    found, _ = world.allowed(request, owner, repo, docs=GET_DOCS)
    return answer_json(world.render.workflow(find_workflow(found, key, GET_DOCS), found))


def switch(world: World, request: Request, owner: str, repo: str, key: str, state: str) -> Response:
    """Answer PUT …/enable and …/disable."""
    found, _ = world.allowed(request, owner, repo, level="write")
    path = find_workflow(found, key, GET_DOCS).path
    (found.disabled.add if state == "disable" else found.disabled.discard)(path)
    return empty()


def find_workflow(found: Repository, key: str, docs: str) -> Workflow:
    known = found.workflow(key)
    if known is None:
        raise not_found(docs)
    return known


def dispatch_workflow(world: World, request: Request, owner: str, repo: str, key: str) -> Response:
    found, token = world.allowed(request, owner, repo, level="write", docs=dispatch.DOCS)
    actor = world.auth.login(token)
    body = read_object(request)
    ghes, new = world.config.api.startswith("ghes"), request.environ["local.version"] != "2022-11-28"
    # Version 2026-03-10 always returns the run's details and GHES never does; the option is only for the rest.
    allowed = ["ref", "inputs"] if ghes or new else ["ref", "inputs", "return_run_details"]
    dispatch.check_keys(body, allowed=allowed, required=["ref"], docs=dispatch.DOCS)
    dispatch.check_type(body, "ref", str, "a string", dispatch.DOCS)
    dispatch.check_type(body, "inputs", dict, "an object", dispatch.DOCS)
    dispatch.check_type(body, "return_run_details", bool, "a boolean", dispatch.DOCS)
    inputs, most = body.get("inputs", {}), 10 if ghes else 25
    dispatch.check_size(inputs, keys=most, what="inputs are", docs=dispatch.DOCS)
    chosen = find_workflow(found, key, dispatch.DOCS)
    resolved = found.resolve(body["ref"])
    if resolved is None:
        raise ApiError(422, f"No ref found for: {body['ref']}", dispatch.DOCS)
    dispatch.check_workflow(chosen, found.tree, disabled=chosen.path in found.disabled, most_inputs=most)
    payload = _payload(world, found, actor) | {
        "inputs": dispatch.checked_inputs(chosen, inputs, found.environments),
        "ref": resolved[0],
        "workflow": chosen.path,
    }
    run = start_run(world, chosen, found, "workflow_dispatch", payload, resolved, actor)
    _answered(world, request, [run])
    if not new and not body.get("return_run_details"):
        return empty()
    shown = world.render.run(run)
    return answer_json({"workflow_run_id": run.id, "run_url": shown["url"], "html_url": shown["html_url"]})


def dispatch_repository(world: World, request: Request, owner: str, repo: str) -> Response:
    """Start every workflow that takes this event type, which may be none."""
    docs = dispatch.EVENT_DOCS
    found, token = world.allowed(request, owner, repo, "contents", "write", docs)
    actor = world.auth.login(token)
    body = read_object(request)
    dispatch.check_keys(body, allowed=["event_type", "client_payload"], required=["event_type"], docs=docs)
    dispatch.check_type(body, "event_type", str, "a string", docs)
    dispatch.check_type(body, "client_payload", dict, "an object", docs)
    if not 1 <= len(body["event_type"]) <= 100:
        raise ApiError(
            422, "Invalid request.\n\nFor 'properties/event_type', only 1 to 100 characters are allowed.", docs
        )
    given = body.get("client_payload", {})
    dispatch.check_size(given, keys=10, what="client_payload is", docs=docs)
    branch = found.default_branch
    payload = _payload(world, found, actor) | {
        "action": body["event_type"],
        "branch": branch,
        "client_payload": given,
        "installation": {"id": token.installation_id or world.config.installation_id},
    }
    full = f"refs/heads/{branch}"
    runs = [
        start_run(world, one, found, "repository_dispatch", payload, (full, found.refs[full]), actor)
        for one in found.workflows()
        if not one.error and one.path not in found.disabled and one.takes_event_type(body["event_type"])
    ]
    _answered(world, request, runs)
    return empty()


def start_run(
    world: World,
    chosen: Workflow,
    found: Repository,
    event: str,
    payload: dict[str, Any],
    ref: tuple[str, str],
    actor: str,
    title: str = "",
) -> Run:
    run = world.runs.create(chosen, found, event, payload, *ref, actor=actor, title=title)
    world.runner.submit(run, run.attempt)
    return run


def _payload(world: World, found: Repository, actor: str) -> dict[str, Any]:
    return {"repository": world.render.repository(found), "sender": world.render.actor(actor)}


def _answered(world: World, request: Request, runs: list[Run]) -> None:
    request.environ["local.runs"] = [run.id for run in runs]
    # A webhook may overtake the answer to the dispatch that caused it.
    if world.faults.webhooks["before_dispatch_answer"]:
        for run in runs:
            wait_for(world.announced.get(run.id, []), 10)
        time.sleep(world.faults.webhooks["answer_delay_ms"] / 1000)


RULES = [
    ("POST", "/repos/<owner>/<repo>/dispatches", dispatch_repository),
    ("GET", "/repos/<owner>/<repo>/actions/workflows", workflows),
    ("GET", "/repos/<owner>/<repo>/actions/workflows/<key>", workflow),
    ("PUT", "/repos/<owner>/<repo>/actions/workflows/<key>/<any(enable,disable):state>", switch),
    ("POST", "/repos/<owner>/<repo>/actions/workflows/<key>/dispatches", dispatch_workflow),
]
