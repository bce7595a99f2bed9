"""GitHub's JSON shapes of what is in repositories: files, commits, branches, statuses and check runs."""

import base64
import zlib
from urllib.parse import quote

from .apps import ACTIONS_APP, App
from .clock import iso
from .contents import Entry, Folder
from .git import Commit, Person
from .outcomes import CheckRun, Status
from .repositories import Repository
from .runs import Annotation, Job, Run
from .shapes import JSON, BaseRenderer, node_id


class CodeRenderer(BaseRenderer):
    """Renders what Apps read of repositories and write on commits."""

    def entry(self, repository: Repository, ref: str, entry: Entry | Folder) -> JSON:
        """Return a file or folder as a folder's list has it."""
        kind = "dir" if isinstance(entry, Folder) else "file" if entry.kind == "submodule" else entry.kind
        blob = "tree" if kind == "dir" else "blob"
        home = self.repository_url(repository)
        url = f"{home}/contents/{quote(entry.path)}?ref={quote(ref)}"
        git_url = f"{home}/git/{blob}s/{entry.sha}"
        html_url = f"{self.config.base_url}/{repository.full_name}/{blob}/{quote(ref)}/{quote(entry.path)}"
        return {
            "type": kind,
            "name": entry.path.rsplit("/", 1)[-1],
            "path": entry.path,
            "sha": entry.sha,
            "size": 0 if isinstance(entry, Folder) else entry.size,
            "url": url,
            "git_url": git_url,
            "html_url": html_url,
            "download_url": None,
            "_links": {"self": url, "git": git_url, "html": html_url},
        }

    def file(self, repository: Repository, ref: str, entry: Entry, *, inline: bool) -> JSON:
        """Return a file with its content as base64, broken into lines as GitHub does; a large one without."""
        body = self.entry(repository, ref, entry)
        if entry.kind == "symlink":
            return body | {"target": entry.target}
        if entry.kind == "submodule":
            return body | {"type": "submodule", "submodule_git_url": ""}
        shown = base64.encodebytes(entry.data).decode() if inline else ""
        return body | {"encoding": "base64" if inline else "none", "content": shown}

    def folder(self, repository: Repository, ref: str, folder: Folder, entries: list[JSON]) -> JSON:
        return self.entry(repository, ref, folder) | {"entries": entries}

    def commit(self, repository: Repository, commit: Commit) -> JSON:
        base, home = self.repository_url(repository), f"{self.config.base_url}/{repository.full_name}"

        def person(who: Person) -> JSON:
            return {"name": who.name, "email": who.email, "date": iso(who.at)}

        def place(sha: str) -> JSON:
            return {"sha": sha, "url": f"{base}/commits/{sha}", "html_url": f"{home}/commit/{sha}"}

        reason = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}
        return {
            **place(commit.sha),
            "node_id": f"C_{commit.sha}",
            "comments_url": f"{base}/commits/{commit.sha}/comments",
            "commit": {
                "url": f"{base}/git/commits/{commit.sha}",
                "author": person(commit.author),
                "committer": person(commit.committer),
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.tree, "url": f"{base}/git/trees/{commit.tree}"},
                "verification": reason,
            },
            "author": None,
            "committer": None,
            "parents": [place(parent) for parent in commit.parents],
        }

    def branch(self, repository: Repository, name: str, commit: Commit) -> JSON:
        url = f"{self.repository_url(repository)}/branches/{quote(name)}"
        return {
            "name": name,
            "commit": self.commit(repository, commit),
            "_links": {"self": url, "html": f"{self.config.base_url}/{repository.full_name}/tree/{quote(name)}"},
            "protected": False,
            "protection": {
                "enabled": False,
                "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []},
            },
            "protection_url": f"{url}/protection",
        }

    def environment(self, repository: Repository, name: str) -> JSON:
        number = zlib.crc32(f"{repository.full_name}/{name}".encode())
        made = iso(repository.created_at)
        return {
            "id": number,
            "node_id": node_id("EN", number),
            "name": name,
            "url": f"{self.repository_url(repository)}/environments/{quote(name, safe='')}",
            "html_url": f"{self.config.base_url}/{repository.full_name}/deployments/activity_log"
            f"?environments_filter={quote(name, safe='')}",
            "created_at": made,
            "updated_at": made,
            "can_admins_bypass": True,
            "protection_rules": [],
            "deployment_branch_policy": None,
        }

    def simple_status(self, status: Status) -> JSON:
        made = iso(status.created_at)
        creator = self.actor(status.creator)
        return {
            "url": f"{self.repository_url(status.repository)}/statuses/{status.sha}",
            "avatar_url": creator["avatar_url"],
            "id": status.id,
            "node_id": node_id("SC", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": made,
            "updated_at": made,
        }

    def status(self, status: Status) -> JSON:
        return self.simple_status(status) | {"creator": self.actor(status.creator)}

    def check(self, check: CheckRun) -> JSON:
        home = f"{self.config.base_url}/{check.repository.full_name}"
        body = self._check(check.repository, check.id, check.sha, check.suite_id)
        return body | {
            "name": check.name,
            "external_id": check.external_id,
            "details_url": check.details_url or f"{home}/runs/{check.id}",
            "html_url": f"{home}/runs/{check.id}",
            "status": check.status,
            "conclusion": check.conclusion,
            "started_at": iso(check.started_at),
            "completed_at": iso(check.completed_at),
            "output": self._output(body["url"], check.title, check.summary, check.text, len(check.annotations)),
            "app": self.app_by_id(check.app_id),
        }

    def job_check(self, run: Run, job: Job) -> JSON:
        """Return the check run that a job is; only their number tells of its annotations."""
        body = self._check(run.repository, job.id, run.sha, run.suite_id)
        page = f"{self.config.base_url}/{run.repository.full_name}/actions/runs/{run.id}/job/{job.id}"
        return body | {
            "name": job.name,
            "external_id": str(job.id),
            "details_url": page,
            "html_url": page,
            "status": "queued" if job.status == "pending" else job.status,
            "conclusion": job.conclusion,
            "started_at": iso(job.started_at or job.created_at),
            "completed_at": iso(job.completed_at),
            "output": self._output(body["url"], None, None, None, len(job.annotations)),
            "app": self.app_by_id(ACTIONS_APP),
        }

    def annotation(self, repository: Repository, sha: str, annotation: Annotation) -> JSON:
        file = f"{self.config.base_url}/{repository.full_name}/blob/{sha}/{quote(annotation.path)}"
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

    def app_by_id(self, number: int) -> JSON:
        raise NotImplementedError

    def actions_app(self) -> App:
        """Return GitHub Actions itself, which is an App like others."""
        return App(
            id=ACTIONS_APP,
            slug="github-actions",
            name="GitHub Actions",
            owner="github",
            client_id="Iv1.actions",
            public_key="",
            permissions={"actions": "write", "checks": "write", "contents": "write", "metadata": "read"},
            events=["check_run", "push", "workflow_dispatch"],
            url=f"{self.config.base_url}/features/actions",
            description="Automate your workflow from idea to production",
        )

    def _check(self, repository: Repository, number: int, sha: str, suite_id: int) -> JSON:
        return {
            "id": number,
            "node_id": node_id("CR", number),
            "head_sha": sha,
            "url": f"{self.repository_url(repository)}/check-runs/{number}",
            "check_suite": {"id": suite_id},
            "pull_requests": [],
        }

    @staticmethod
    def _output(url: str, title: str | None, summary: str | None, text: str | None, count: int) -> JSON:
        return {
            "title": title,
            "summary": summary,
            "text": text,
            "annotations_count": count,
            "annotations_url": f"{url}/annotations",
        }
