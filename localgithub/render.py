"""GitHub's JSON shapes of Apps, workflows, runs, jobs and artifacts."""

from .apps import App, Apps, Installation
from .clock import iso
from .config import Config
from .repositories import Repository
from .runs import Artifact, Attempt, Job, Run
from .shapes import JSON, node_id
from .shapes_code import CodeRenderer
from .workflow import Workflow


class Renderer(CodeRenderer):
    """Writes domain objects as JSON, with links to this server."""

    def __init__(self, config: Config, apps: Apps) -> None:
        super().__init__(config)
        self.apps = apps

    def workflow(self, workflow: Workflow, repository: Repository) -> JSON:
        home = f"{self.config.base_url}/{repository.full_name}"
        made = iso(repository.created_at)
        return {
            "id": workflow.id,
            "node_id": node_id("W", workflow.id),
            "name": workflow.name,
            "path": workflow.path,
            "state": "disabled_manually" if workflow.path in repository.disabled else "active",
            "created_at": made,
            "updated_at": made,
            "url": f"{self.repository_url(repository)}/actions/workflows/{workflow.id}",
            "html_url": f"{home}/blob/{repository.default_branch}/{workflow.path}",
            "badge_url": f"{home}/workflows/{workflow.file}/badge.svg",
        }

    def run(self, run: Run, attempt: Attempt | None = None) -> JSON:
        """Return a run as it is now, or as one of its attempts left it."""
        attempt = attempt or run.attempt
        url = f"{self.repository_url(run.repository)}/actions/runs/{run.id}"
        earlier = f"{url}/attempts/{attempt.number - 1}" if attempt.number > 1 else None
        minimal = self.minimal_repository(run.repository)
        suite = f"{self.repository_url(run.repository)}/check-suites/{run.suite_id}"
        return {
            "id": run.id,
            "name": run.workflow.name,
            "node_id": node_id("WFR", run.id),
            "head_branch": run.branch,
            "head_sha": run.sha,
            "path": run.workflow.path,
            "display_title": run.title,
            "run_number": run.number,
            "event": run.event,
            "status": attempt.status,
            "conclusion": attempt.conclusion,
            "workflow_id": run.workflow.id,
            "check_suite_id": run.suite_id,
            "check_suite_node_id": node_id("CS", run.suite_id),
            "url": url,
            "html_url": self.run_page(run),
            "pull_requests": [],
            "created_at": iso(run.created_at),
            "updated_at": iso(attempt.updated_at),
            "actor": self.actor(run.actor),
            "triggering_actor": self.actor(attempt.actor),
            "run_attempt": attempt.number,
            "referenced_workflows": [],
            "run_started_at": iso(attempt.started_at),
            "jobs_url": f"{url}/jobs",
            "logs_url": f"{url}/logs",
            "check_suite_url": suite,
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": earlier,
            "workflow_url": f"{self.repository_url(run.repository)}/actions/workflows/{run.workflow.id}",
            "head_commit": self._commit(run),
            "repository": minimal,
            "head_repository": minimal,
        }

    def run_page(self, run: Run) -> str:
        return f"{self.config.base_url}/{run.repository.full_name}/actions/runs/{run.id}"

    def _commit(self, run: Run) -> JSON:
        person = {"name": run.repository.owner, "email": f"{run.repository.owner}@localhost"}
        return {
            "id": run.sha,
            "tree_id": run.sha,
            "message": "Working tree",
            "timestamp": iso(run.created_at),
            "author": person,
            "committer": person,
        }

    def job(self, run: Run, job: Job) -> JSON:
        base = self.repository_url(run.repository)
        ran = job.started_at is not None
        steps = [
            {
                "name": s.name,
                "status": s.status,
                "conclusion": s.conclusion,
                "number": s.number,
                "started_at": iso(s.started_at),
                "completed_at": iso(s.completed_at),
            }
            for s in job.steps
        ]
        return {
            "id": job.id,
            "run_id": run.id,
            "workflow_name": run.workflow.name,
            "head_branch": run.branch,
            "run_url": f"{base}/actions/runs/{run.id}",
            "run_attempt": job.attempt,
            "node_id": node_id("CR", job.id),
            "head_sha": run.sha,
            "url": f"{base}/actions/jobs/{job.id}",
            "html_url": f"{self.run_page(run)}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": iso(job.created_at),
            "started_at": iso(job.started_at or job.created_at),
            "completed_at": iso(job.completed_at),
            "name": job.name,
            "steps": steps,
            "check_run_url": f"{base}/check-runs/{job.id}",
            "labels": job.plan.labels if job.plan else [],
            "runner_id": 1 if ran else None,
            "runner_name": "local act" if ran else None,
            "runner_group_id": 1 if ran else None,
            "runner_group_name": "Default" if ran else None,
        }

    def artifact(self, run: Run, artifact: Artifact) -> JSON:
        """Return an artifact; GHES up to 3.19 gives no digest."""
        url = f"{self.repository_url(run.repository)}/actions/artifacts/{artifact.id}"
        body: JSON = {
            "id": artifact.id,
            "node_id": node_id("A", artifact.id),
            "name": artifact.name,
            "size_in_bytes": artifact.size,
            "url": url,
            "archive_download_url": f"{url}/zip",
            "expired": artifact.expired,
            "digest": f"sha256:{artifact.sha256}",
            "created_at": iso(artifact.created_at),
            "updated_at": iso(artifact.created_at),
            "expires_at": iso(artifact.expires_at),
            "workflow_run": {
                "id": run.id,
                "repository_id": run.repository.id,
                "head_repository_id": run.repository.id,
                "head_branch": run.branch,
                "head_sha": run.sha,
            },
        }
        if self.config.api.startswith("ghes"):
            del body["digest"]
        return body

    def app(self, app: App) -> JSON:
        installed = sum(one.app_id == app.id for one in self.apps.installations())
        return {
            "id": app.id,
            "slug": app.slug,
            "client_id": app.client_id,
            "node_id": node_id("A", app.id),
            "owner": self.account(app.owner),
            "name": app.name,
            "description": app.description,
            "external_url": app.url,
            "html_url": self.app_page(app),
            "created_at": app.created_at,
            "updated_at": app.created_at,
            "permissions": app.permissions,
            "events": app.events,
            "installations_count": installed,
        }

    def app_by_id(self, number: int) -> JSON:
        return self.app(self.apps.app(number) or self.actions_app())

    def app_page(self, app: App) -> str:
        """Return where people find the App: in its own folder on Enterprise Server."""
        return f"{self.config.base_url}/{'github-apps' if self.config.api.startswith('ghes') else 'apps'}/{app.slug}"

    def installation(self, *, installation: Installation, app: App) -> JSON:
        number = installation.id
        account = self.account(installation.account)
        suspended = installation.suspended_at
        return {
            "id": number,
            "account": account,
            "access_tokens_url": f"{self.config.base_url}/app/installations/{number}/access_tokens",
            "repositories_url": f"{self.config.base_url}/installation/repositories",
            "html_url": f"{self.config.base_url}/settings/installations/{number}",
            "app_id": app.id,
            "client_id": app.client_id,
            "app_slug": app.slug,
            "target_id": account["id"],
            "target_type": account["type"],
            "permissions": installation.permissions,
            "events": installation.events,
            "created_at": installation.created_at,
            "updated_at": installation.created_at,
            "single_file_name": None,
            "has_multiple_single_files": False,
            "single_file_paths": [],
            "repository_selection": "all" if installation.repositories is None else "selected",
            "suspended_by": self.user(self.config.person) if suspended else None,
            "suspended_at": suspended,
        }
