import threading
import time
from typing import Any

from werkzeug.wrappers import Request

from .answers import ApiError, not_found
from .auth import Auth, Token
from .blobs import Blobs
from .clock import iso, now
from .config import Config
from .faults import Faults
from .guards import control_token
from .hooks import Delivery, Hooks
from .render import Renderer
from .repositories import Repository
from .runner import Runner
from .runs import Attempt, Job, Run, Runs
from .shapes import node_id


class World:
    """Everything that this GitHub knows."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.repositories = {name.lower(): Repository(name, tree) for name, tree in config.repositories.items()}
        self.control_token = control_token(config.state_dir)
        self.faults = Faults()
        self.auth = Auth(config)
        self.render = Renderer(config)
        self.hooks = Hooks(config, self.faults)
        self.runs = Runs(self._tell)
        self.runner = Runner(config, self.runs, self.faults, self.auth)
        self.blobs = Blobs(config, self.runs)
        self.dispatches: list[dict[str, Any]] = []
        self.announced: dict[int, list[Delivery]] = {}  # the `requested` deliveries of each run
        self._used, self._window = 0, 0
        self._lock = threading.Lock()

    def start(self) -> None:
        self.runner.start()
        self.hooks.start()
        self.hooks.emit("ping", self._ping())

    def stop(self) -> None:
        self.runner.stop()
        self.hooks.stop()

    def repository(self, owner: str, repo: str) -> Repository:
        """Return a repository by its name, in any case. Raise ApiError (404)."""
        found = self.repositories.get(f"{owner}/{repo}".lower())
        if found is None:
            raise not_found()
        return found

    def allowed(
        self, request: Request, owner: str, repo: str, permission: str = "actions", level: str = "read", docs: str = ""
    ) -> tuple[Repository, Token]:
        repository = self.repository(owner, repo)
        return repository, self.auth.allow(request, repository.full_name, permission, level, docs)

    def run(self, repository: Repository, run_id: int, docs: str = "") -> Run:
        run = self.runs.get(repository, run_id)
        if run is None:
            raise not_found(docs)
        return run

    def suspend(self, suspended: bool) -> None:
        """Suspend the installation or lift that, and send the webhook, as GitHub does."""
        if suspended != bool(self.auth.suspended_at):
            self.auth.suspended_at = now() if suspended else None
            self._tell_installation("suspend" if suspended else "unsuspend")

    def remove(self, removed: bool) -> None:
        """Uninstall the App, or undo that. Tokens of a removed installation are no longer valid."""
        if removed != self.auth.removed:
            self.auth.removed = removed
            self.auth.forget()
            self._tell_installation("deleted" if removed else "created")

    def _tell_installation(self, action: str) -> None:
        self.hooks.emit(
            "installation",
            {
                "action": action,
                "installation": self.render.installation(suspended=self.auth.suspended_at),
                "sender": self.render.user(self.render.account, "Organization"),
            },
        )

    def rate(self, *, count: bool) -> dict[str, int]:
        """Return the state of the rate limit; `count` counts a request first."""
        limit = self.config.rate_limit
        with self._lock:
            window = int(time.time()) // 3600
            if window != self._window:
                self._window, self._used = window, 0
            self._used += count
            # Never used up by itself: only the fault "primary_exhausted" makes callers stop.
            used, reset = min(self._used, limit - 1), (window + 1) * 3600
        if self.faults.api["primary_exhausted"]:
            used, reset = limit, int(time.time() + self.faults.api["primary_reset_s"])
        return {"limit": limit, "used": used, "remaining": limit - used, "reset": reset}

    def rate_error(self) -> ApiError:
        return ApiError(
            403,
            f"API rate limit exceeded for installation ID {self.config.installation_id}.",
            "/using-the-rest-api/rate-limits-for-the-rest-api",
        )

    def _tell(self, run: Run, attempt: Attempt, action: str, job: Job | None) -> None:
        body: dict[str, Any] = {"action": action}
        if job is None:
            event = "workflow_run"
            body["workflow_run"] = self.render.run(run, attempt)
        else:
            event = "workflow_job"
            body["workflow_job"] = self.render.job(run, job)
        body |= {
            "repository": self.render.repository(run.repository),
            "sender": self.render.actor(attempt.actor),
            "installation": {
                "id": self.config.installation_id,
                "node_id": node_id("MDIz", self.config.installation_id),
            },
        }
        if job is None:
            body["workflow"] = self.render.workflow(run.workflow, run.repository)
        # One lane for each run, so that its deliveries arrive in order.
        deliveries = self.hooks.emit(event, body, lane=run.number)
        if action == "requested":
            self.announced[run.id] = deliveries
        if action == "completed":
            self.runner.ended(job or attempt)

    def _ping(self) -> dict[str, Any]:
        made = iso(now())
        return {
            "zen": "Anything added dilutes everything else.",
            "hook_id": self.hooks.hook_id,
            "hook": {
                "type": "App",
                "id": self.hooks.hook_id,
                "name": "web",
                "active": True,
                "app_id": self.config.app_id,
                "events": self.config.events,
                "created_at": made,
                "updated_at": made,
                "config": {"content_type": "json", "url": self.hooks.url, "insecure_ssl": "0"},
                "deliveries_url": f"{self.config.base_url}/app/hook/deliveries",
            },
        }
