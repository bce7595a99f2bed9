"""The control plane, for tests only: set faults, read the record, add unrelated runs."""

import random
import secrets
import threading

from werkzeug.wrappers import Request, Response

from .answers import ApiError, answer_json, read_object
from .clock import iso
from .routes_workflows import find_workflow, start_run
from .world import World


def faults(world: World, request: Request) -> Response:
    if request.method == "POST":
        try:
            world.faults.update(read_object(request))
        except (ValueError, AttributeError) as error:
            raise ApiError(422, str(error)) from error
        world.auth.fresh_seconds = world.faults.api["fresh_token_401_ms"] / 1000
        world.suspend(world.faults.suspended)
        world.remove(world.faults.removed)
    return answer_json(world.faults.show())


def record(world: World, request: Request) -> Response:
    """Answer with everything that a test can judge by."""
    with world.runs.lock:
        runs = [
            {
                "id": run.id,
                "repository": run.repository.full_name,
                "path": run.workflow.path,
                "event": run.event,
                "actor": run.actor,
                "cast_id": run.cast_id,
                "inputs": run.payload.get("inputs") or run.payload.get("client_payload") or {},
                "display_title": run.title,
                "noise": run.noise,
                "status": run.attempt.status,
                "conclusion": run.attempt.conclusion,
                "run_attempt": run.attempt.number,
                "created_at": iso(run.created_at),
                "updated_at": iso(run.attempt.updated_at),
                "html_url": world.render.run_page(run),
                "artifacts": [
                    {"id": a.id, "name": a.name, "sha256": a.sha256, "size": a.size} for a in run.artifacts.values()
                ],
            }
            for run in reversed(world.runs.all())
        ]
    logs = [
        d.summary() | {"run_id": d.run_id, "app_id": hooks.app_id} for hooks in world.all_hooks() for d in hooks.log()
    ]
    deliveries = sorted(logs, key=lambda one: one["id"])
    hits = {name: count for name, count in world.faults.hits.items() if count}
    return answer_json(
        {
            "dispatches": world.dispatches,
            "runs": runs,
            "deliveries": deliveries,
            "statuses": world.outcomes.recorded_statuses(),
            "check_runs": world.outcomes.recorded_checks(),
            "faults": hits,
        }
    )


def push(world: World, request: Request) -> Response:
    """Tell of a branch's head by a push webhook.

    The body: {repository?, branch?, after?, before?, deliver?}. Without `branch` the default branch, without `after`
    its head as it is now; `after` null tells that the branch was deleted. With `deliver` false it is in the delivery
    log as failed, with "lose" it is nowhere.
    """
    body = read_object(request)
    name = str(body.get("repository") or next(iter(world.repositories)))
    repository = world.repositories.get(name.lower())
    if repository is None:
        raise ApiError(422, f"No such repository: {name}")
    if body.get("deliver", True) not in (True, False, "lose"):
        raise ApiError(422, 'deliver is true, false or "lose"')
    told = world.pushes.push(
        repository,
        str(body.get("branch") or repository.default_branch),
        after=None if body.get("after", "") is None else str(body.get("after", "")),
        before=str(body.get("before") or ""),
        deliver=body.get("deliver", True),
    )
    return answer_json(told, 201)


def noise(world: World, request: Request) -> Response:
    """Start runs that were not dispatched through the API, all in this second.

    The body: {workflow, n, repository?, execute?, actor?, title?, event?, inputs?}. Half of them carry no tag and
    half a foreign one, unless `inputs` or `title` say otherwise. Unless `execute`, they end by themselves without
    running anything. `actor` is a login; one that ends in [bot] is a bot's.
    """
    body = read_object(request)
    repository = world.repositories.get(str(body.get("repository", "")).lower()) or next(
        iter(world.repositories.values())
    )
    workflow = find_workflow(repository, str(body.get("workflow", "")), "")
    ref = f"refs/heads/{repository.default_branch}"
    actor, title = str(body.get("actor") or world.config.person), str(body.get("title") or "")
    event = str(body.get("event") or "workflow_dispatch")
    made = []
    for number in range(int(body.get("n", 1))):
        inputs = {name: str(spec.get("default", "")) for name, spec in workflow.inputs.items()}
        inputs["cast_id"] = secrets.token_hex(13) if number % 2 else ""
        inputs |= body.get("inputs") or {}
        payload = {"inputs": inputs, "ref": ref, "workflow": workflow.path}
        if body.get("execute"):
            run = start_run(world, workflow, repository, event, payload, (ref, repository.refs[ref]), actor, title)
            run.noise = True
        else:
            run = world.runs.create(
                workflow, repository, event, payload, ref, repository.refs[ref], actor=actor, title=title, noise=True
            )
            life = random.uniform(0.2, 2.0)  # noqa: S311
            timer = threading.Timer(life, world.runs.end, (run, run.attempt, "success"))
            timer.daemon = True
            timer.start()
        made.append(run.id)
    return answer_json({"run_ids": made}, 201)


def revoke(world: World, request: Request) -> Response:
    """Revoke every installation token issued so far."""
    world.auth.forget()
    return answer_json({}, 201)


RULES = [
    ("GET", "/_local/faults", faults),
    ("POST", "/_local/faults", faults),
    ("GET", "/_local/record", record),
    ("POST", "/_local/noise", noise),
    ("POST", "/_local/push", push),
    ("POST", "/_local/revoke", revoke),
]
