"""GitHub's JSON shapes of Apps, workflows, runs, jobs and artifacts."""

import base64
import hashlib
from datetime import datetime
from urllib.parse import quote

from .clock import iso
from .repositories import Repository
from .runs import Annotation, Artifact, Attempt, Job, Run
from .shapes import JSON, BaseRenderer, node_id
from .workflow import Workflow


class Renderer(BaseRenderer):
    """Writes domain objects as JSON, with links to this server."""

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

    def annotation(self, run: Run, annotation: Annotation) -> JSON:
        file = f"{self.config.base_url}/{run.repository.full_name}/blob/{run.sha}/{quote(annotation.path)}"
        return {
            "path": annotation.path,
            "blob_href": file,
            "start_line": annotation.start_line,
            "end_line": annotation.end_line,
            "start_column": annotation.start_column,
            "end_column": annotation.end_column,
            "annotation_level": annotation.level,
            "title": annotation.title,
            "message": annotation.message,
            "raw_details": "",
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

    def app(self) -> JSON:
        made = "2026-01-01T00:00:00Z"
        return {
            "id": self.config.app_id,
            "slug": self.config.app_slug,
            "client_id": self.config.client_id,
            "node_id": node_id("A", self.config.app_id),
            "owner": self.user(self.account, "Organization"),
            "name": "Local spells",
            "description": "Runs spells on your machine.",
            "external_url": self.config.base_url,
            "html_url": f"{self.config.base_url}/apps/{self.config.app_slug}",
            "created_at": made,
            "updated_at": made,
            "permissions": self.config.wanted_permissions or self.config.permissions,
            "events": self.config.events,
            "installations_count": 1,
        }

    def file(self, repository: Repository, ref: str, path: str, data: bytes) -> JSON:
        """Return a file's content as base64, broken into lines as GitHub does."""
        # A git blob's id, which is what GitHub gives.
        sha = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        url = f"{self.repository_url(repository)}/contents/{quote(path)}?ref={quote(ref)}"
        git_url = f"{self.repository_url(repository)}/git/blobs/{sha}"
        html_url = f"{self.config.base_url}/{repository.full_name}/blob/{quote(ref)}/{quote(path)}"
        return {
            "type": "file",
            "name": path.rsplit("/", 1)[-1],
            "path": path,
            "sha": sha,
            "size": len(data),
            "encoding": "base64",
            "content": base64.encodebytes(data).decode(),
            "url": url,
            "git_url": git_url,
            "html_url": html_url,
            "download_url": None,
            "_links": {"self": url, "git": git_url, "html": html_url},
        }

    @property
    def account(self) -> str:
        """The login under which the App is installed."""
        return next(iter(self.config.repositories)).split("/")[0]

    def installation(self, *, suspended: datetime | None = None) -> JSON:
        number = self.config.installation_id
        account = self.user(self.account, "Organization")
        return {
            "id": number,
            "account": account,
            "access_tokens_url": f"{self.config.base_url}/app/installations/{number}/access_tokens",
            "repositories_url": f"{self.config.base_url}/installation/repositories",
            "html_url": f"{self.config.base_url}/settings/installations/{number}",
            "app_id": self.config.app_id,
            "client_id": self.config.client_id,
            "app_slug": self.config.app_slug,
            "target_id": account["id"],
            "target_type": "Organization",
            "permissions": self.config.permissions,
            "events": self.config.events,
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "single_file_name": None,
            "has_multiple_single_files": False,
            "single_file_paths": [],
            "repository_selection": "selected",
            "suspended_by": account if suspended else None,
            "suspended_at": iso(suspended),
        }
