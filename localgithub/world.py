import threading
import time
from typing import Any

from werkzeug.wrappers import Request

from .answers import ApiError, not_found
from .apps import App, Installation
from .auth import Auth, Token
from .blobs import Blobs
from .clock import iso, now
from .config import Config
from .faults import Faults
from .guards import control_token
from .hooks import Delivery, Hooks
from .outcomes import Outcomes
from .pushes import Pushes
from .render import Renderer
from .repositories import Repository
from .runner import Runner
from .runs import Attempt, Job, Run, Runs
from .shapes import node_id


class World:
    """Everything that this GitHub knows."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.repositories = {
            name.lower(): Repository(name, tree, environments=config.environments.get(name, []))
            for name, tree in config.repositories.items()
        }
        self.control_token = control_token(config.state_dir)
        self.faults = Faults()
        self.auth = Auth(config)
        self.render = Renderer(config, self.auth.apps)
        self.apps = self.auth.apps
        self.hooks = Hooks(self.faults, config.app_id, config.webhook_url, config.webhook_secret)
        self._hooks = {config.app_id: self.hooks}
        self._started = False
        self.runs = Runs(self._tell)
        self.runner = Runner(config, self.runs, self.faults, self.auth, self.repositories)
        self.blobs = Blobs(config, self.runs)
        self.outcomes = Outcomes()
        self.pushes = Pushes(self)
        self.dispatches: list[dict[str, Any]] = []
        self.announced: dict[int, list[Delivery]] = {}  # the `requested` deliveries of each run
        self._used, self._window = 0, 0
        self._lock = threading.Lock()

    def start(self) -> None:
        self.runner.start()
        self._started = True
        for app in self.apps.all():
            self.hooks_of(app)
        self.hooks.start()
        self.ping(self.apps.first)
        self.pushes.start()

    def stop(self) -> None:
        self.pushes.stop()
        self.runner.stop()
        for hooks in self._hooks.values():
            hooks.stop()

    def hooks_of(self, app: App) -> Hooks:
        """Return an App's webhook, whose threads run if the server does."""
        with self._lock:
            hooks = self._hooks.get(app.id)
            if hooks is None:
                hooks = self._hooks[app.id] = Hooks(self.faults, app.id, app.webhook_url, app.webhook_secret)
                if self._started:
                    hooks.start()
        return hooks

    def all_hooks(self) -> list[Hooks]:
        return list(self._hooks.values())

    def ping(self, app: App) -> None:
        """Send what GitHub sends when a webhook is made."""
        self.hooks_of(app).emit("ping", self._ping(app))

    def tell(
        self, event: str, payload: dict[str, Any], repository: Repository, *, lane: int = 0, deliver: bool = True
    ) -> list[Delivery]:
        """Send an event of a repository to all Apps that are installed on it and want to hear of it."""
        told = []
        for app, installation in self.apps.hearing(event, repository.full_name):
            named = {"installation": {"id": installation.id, "node_id": node_id("MDIz", installation.id)}}
            told += self.hooks_of(app).emit(event, payload | named, lane=lane, deliver=deliver)
        return told

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
        """Suspend the configured installation or lift that, and send the webhook, as GitHub does."""
        if suspended != bool(self.auth.suspended_at):
            self.auth.suspended_at = now() if suspended else None
            self.tell_installation(self._first(), "suspend" if suspended else "unsuspend")

    def remove(self, removed: bool) -> None:
        """Uninstall the configured App, or undo that. Tokens of a removed installation are no longer valid."""
        if removed != self.auth.removed:
            first = self._first() if removed else None
            self.auth.removed = removed
            self.auth.forget()
            self.tell_installation(first or self._first(), "deleted" if removed else "created")

    def _first(self) -> Installation:
        return self.apps.installations(self.apps.first)[0]

    def tell_installation(
        self, installation: Installation, action: str, event: str = "installation", **more: Any
    ) -> None:
        """Send the news of an installation to its App, which hears of it whatever it has subscribed to."""
        app = self.apps.app(installation.app_id)
        if app is not None:
            shown = self.render.installation(installation=installation, app=app)
            sender = self.render.user(self.config.person)
            body = {"action": action, "installation": shown, "sender": sender, **more}
            self.hooks_of(app).emit(event, body)

    def repositories_of(self, installation: Installation) -> list[Repository]:
        return [one for one in self.repositories.values() if installation.covers(one.full_name)]

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
        }
        if job is None:
            body["workflow"] = self.render.workflow(run.workflow, run.repository)
        # One lane for each run, so that its deliveries arrive in order.
        deliveries = self.tell(event, body, run.repository, lane=run.number)
        if action == "requested":
            self.announced[run.id] = deliveries
        if action == "completed":
            self.runner.ended(job or attempt)

    def _ping(self, app: App) -> dict[str, Any]:
        hooks = self.hooks_of(app)
        made = iso(now())
        return {
            "zen": "Anything added dilutes everything else.",
            "hook_id": hooks.hook_id,
            "hook": {
                "type": "App",
                "id": hooks.hook_id,
                "name": "web",
                "active": True,
                "app_id": app.id,
                "events": app.events,
                "created_at": made,
                "updated_at": made,
                "config": {"content_type": "json", "url": hooks.url, "insecure_ssl": "0"},
                "deliveries_url": f"{self.config.base_url}/app/hook/deliveries",
            },
        }
