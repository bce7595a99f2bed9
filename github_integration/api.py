"""What we ask of GitHub: one method for each call, with what its answer says instead of JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import requests
from django.conf import settings

from casts.runtime import Annotation, Download, Job, Observation, RemoteArtifact, Run
from core.limits import GITHUB_LOG_BYTES
from github_integration import details, errors, wire
from github_integration.auth import Auth, Scope
from github_integration.commits import READ_CONTENTS, CommitCalls, Permissions
from github_integration.details import (
    AppDetails,
    EnvironmentDetails,
    HookConfig,
    InstallationDetails,
    ListedRepository,
    RepositoryDetails,
    WorkflowDetails,
)
from github_integration.etags import Etags
from github_integration.models import PERSONAL
from github_integration.transport import MAX_TRIES, Call, Transport, chunks_of, json_of, list_of, object_of, repeated
from github_integration.wire import JSON, LoggedDelivery, RateLimit, SentDelivery

ACTIONS = (("actions", "write"),)
CONTENTS = (("contents", "write"),)
READ_CHECKS = (("checks", "read"),)
METADATA = (("metadata", "read"),)
REPOSITORY_PAGES = 100  # of a hundred each


class GitHub:
    """One GitHub host and our identity there. Safe to share between threads."""

    def __init__(
        self, *, api_url: str, version: str, timeout: float, app_id: str = "", pem: str = "", personal_token: str = ""
    ) -> None:
        self.api_url, self.app_id, self.personal_token = api_url, app_id, personal_token
        self.transport = Transport(api_url=api_url, version=version, timeout=timeout)
        self.etags = Etags()
        self.auth = Auth(
            self.transport,
            app_id=app_id,
            pem=pem,
            personal_token=personal_token,
            dropped=lambda token: self.etags.drop(token.value),
        )
        self.app = App(self.auth)
        self._rate_limits: dict[int, RateLimit] = {}
        self.without_checks: dict[int, float] = {}  # installations that may not read checks, till when (monotonic)

    def repository(self, installation: int, name: str) -> Repository:
        """Return a repository to be asked through an installation; PERSONAL stands for the personal token."""
        return Repository(self, installation, name)

    def repositories(self, installation: int) -> Iterator[list[ListedRepository]]:
        """Yield the repositories of an installation, a hundred at a time; those that can't be read are left out."""
        scope = Scope(installation, "", METADATA)
        for page in range(1, REPOSITORY_PAGES + 1):
            call = Call("GET", "/installation/repositories", {"per_page": 100, "page": page})
            answer = object_of(self.send(call, scope))
            listed = answer.get("repositories") or []
            yield [found for one in listed if (found := details.listed_repository(one)) is not None]
            if not listed or page * 100 >= int(answer.get("total_count") or 0):
                return

    def latest_rate_limit(self, installation: int) -> RateLimit | None:
        """Return what GitHub's latest answer to this process told of an installation's rate limit."""
        return self._rate_limits.get(installation)

    def calls_left(self) -> int | None:
        """Return how many calls the personal token has left, which costs none. Raise NotFound without rate limits."""
        return details.calls_left(object_of(self.send(Call("GET", "/rate_limit"), Scope(PERSONAL, "", ACTIONS))))

    def login(self) -> str:
        """Return the name under which GitHub shows what we start; blank if it doesn't tell. Raise as `App.details`."""
        if self.personal_token:
            return wire.login_of(object_of(self.send(Call("GET", "/user"), Scope(PERSONAL, "", ACTIONS))))
        slug = self.app.details().slug
        return f"{slug}[bot]" if slug else ""

    def convert_manifest(self, code: str) -> dict[str, Any]:
        """Exchange the code for a new App's credentials. Raise NotFound for one that has counted, or is an hour old.

        Repeated after network trouble: if the answer was lost, the code has counted and the next one says so.
        """
        call = Call("POST", f"/app-manifests/{quote(code, safe='')}/conversions")
        told = replace(call, path="/app-manifests/…/conversions")  # whoever reads the code in a log could use it
        return object_of(repeated(told, lambda: self.transport.send(call, "")))

    def send(self, call: Call, scope: Scope) -> requests.Response:
        """Make one authorized call; repeat it after network trouble or 5xx, unless it may be made once only."""

        def attempt(access_token: str) -> requests.Response:
            # Minting the token can have taken long.
            if call.before is not None and dt.datetime.now(dt.UTC) > call.before:
                raise errors.NotSent("it took too long to get as far as sending")
            known = self.etags.get(access_token, call.path, call.query) if call.conditional else None
            answer = self.transport.send(call, access_token, known=known)
            if (latest := wire.rate_limit_of(answer.headers)) is not None:
                self._rate_limits[scope.installation] = latest
            return answer

        if call.once:
            return self.auth.with_access_token(scope, attempt)
        return repeated(call, lambda: self.auth.with_access_token(scope, attempt))


class Repository(CommitCalls):
    """One repository, asked through one installation; of one that has moved only what is read is still found."""

    def __init__(self, github: GitHub, installation: int, name: str) -> None:
        self.github, self.installation, self.name = github, installation, name

    # --- casting -------------------------------------------------------------------------------------------

    def dispatch_workflow(self, workflow: str, *, ref: str, inputs: dict[str, str], before: dt.datetime) -> Run | None:
        """Start a workflow, unless it is later than `before`; return its run, or None from servers that don't tell.

        Not repeated: a lost answer may hide a run that started and will be billed. The one repetition is without
        `return_run_details`, after a server that doesn't know it has refused the whole request.
        """
        path = self._path("actions", "workflows", workflow, "dispatches")
        body: dict[str, Any] = {"ref": ref, "inputs": inputs}
        extra = {} if self.github.transport.version >= wire.NEWEST_VERSION else {"return_run_details": True}
        try:
            answer = self._send(Call("POST", path, json=body | extra, before=before))
        except errors.Refused as exc:
            if not extra or not wire.unknown_key(exc):
                raise
            answer = self._send(Call("POST", path, json=body, before=before))
        return wire.run_started(json_of(answer))

    def dispatch_event(self, event_type: str, payload: dict[str, Any], *, before: dt.datetime) -> None:
        """Send a repository_dispatch event, unless it is later than `before`.

        Not repeated, and GitHub never tells which runs it started.
        """
        body = {"event_type": event_type, "client_payload": payload}
        self._send(Call("POST", self._path("dispatches"), json=body, before=before), CONTENTS)

    def run(self, run_id: int) -> Observation:
        """Return one run, without its jobs."""
        return wire.run_seen(self.name, self._get("actions", "runs", run_id, conditional=True))

    def runs(self, *, event: str, page: int, created: str = "") -> list[Observation]:
        """Return a hundred runs, newest first. Few filters: GitHub's filtered lists lag."""
        query: dict[str, Any] = {"event": event, "per_page": 100, "page": page}
        query |= {"created": created} if created else {}
        answer = self._get("actions", "runs", conditional=page == 1 and not created, **query)
        return [wire.run_seen(self.name, run) for run in answer.get("workflow_runs") or []]

    def jobs(self, run_id: int, *, every_attempt: bool = False) -> tuple[Job, ...]:
        """Return the jobs of the run's latest attempt, or of all (256 an attempt at most, GitHub's limit for a matrix).

        After a re-run of failed jobs, those that were not run again may be listed with the earlier attempt alone.
        """
        which = "all" if every_attempt else "latest"
        listed = self._pages("jobs", "actions", "runs", run_id, "jobs", conditional=True, filter=which)
        return tuple(wire.job_seen(job) for job in listed)

    def artifacts(self, run_id: int) -> list[RemoteArtifact]:
        """Return the run's artifacts, of all its attempts (500 per job at most)."""
        listed = self._pages("artifacts", "actions", "runs", run_id, "artifacts")
        return [wire.artifact_seen(artifact) for artifact in listed]

    def cancel(self, run_id: int, *, force: bool) -> None:
        """Ask for a run to be cancelled; raise Conflict if it has ended or can't be cancelled yet."""
        self._send(Call("POST", self._path("actions", "runs", run_id, "force-cancel" if force else "cancel")))

    def download(self, artifact_id: int) -> Download:
        """Begin reading an artifact as it is stored. Raise Gone, NotFound."""
        answer = self._download("actions", "artifacts", artifact_id, "zip")
        return Download(chunks=chunks_of(answer), content_type=answer.headers.get("Content-Type", ""))

    def job_log(self, job_id: int, *, last_bytes: int) -> str:
        """Return the end of a job's log. Raise NotFound while there is none yet, Gone after GitHub's retention."""
        kept, read = b"", 0
        with closing(chunks_of(self._download("actions", "jobs", job_id, "logs"))) as chunks:
            for chunk in chunks:
                kept, read = (kept + chunk)[-last_bytes:], read + len(chunk)
                if read > GITHUB_LOG_BYTES:
                    break
        return kept.decode(errors="replace")

    def annotations(self, job_id: int, *, tries: int = MAX_TRIES) -> tuple[Annotation, ...]:
        """Return what a job's steps, and GitHub itself, remarked on it (50 at most, GitHub's limit for a job).

        A job's check run has the job's number. Needs the permission Checks: read. Raise Refused, PermissionMissing.
        """
        call = Call("GET", self._path("check-runs", job_id, "annotations"), {"per_page": 100}, tries=tries)
        listed = list_of(self._send(call, READ_CHECKS))[:100]
        return tuple(wire.annotation_seen(one) for one in listed if isinstance(one, dict))

    def annotated(self, suite: str, *, tries: int = MAX_TRIES) -> dict[int, int]:
        """Return how many annotations each job of a run has, by the jobs' ids: of a hundred jobs at most.

        A run's jobs are the check runs of its check suite. Needs Checks: read. Raise Refused, PermissionMissing.
        """
        call = Call("GET", self._path("check-suites", suite, "check-runs"), {"per_page": 100}, tries=tries)
        return wire.annotations_counted(object_of(self._send(call, READ_CHECKS)))

    # --- what a spell needs to be there --------------------------------------------------------------------

    def details(self) -> RepositoryDetails:
        """Return the repository; one that has moved is found under its new name."""
        return details.repository_details(self._get())

    def workflow(self, file: str) -> WorkflowDetails:
        """Return one workflow, by its file's name. Raise NotFound if the default branch doesn't have it."""
        return details.workflow_details(self._get("actions", "workflows", file))

    def workflows(self) -> list[WorkflowDetails]:
        """Return the repository's workflows, six hundred at most."""
        return [details.workflow_details(one) for one in self._pages("workflows", "actions", "workflows")]

    def workflow_text(self, file: str, *, ref: str = "") -> str:
        """Return a workflow file at a ref, or on the default branch. Needs the permission Contents: read."""
        path = self._path("contents", ".github", "workflows", file)
        answer = self._send(Call("GET", path, {"ref": ref} if ref else {}, accept=wire.AS_RAW), READ_CONTENTS)
        return answer.content.decode(errors="replace")

    def environments(self) -> list[EnvironmentDetails]:
        """Return the repository's environments, six hundred at most. Raise NotFound where GitHub has none at all."""
        listed = self._pages("environments", "environments")
        return [details.environment_details(one) for one in listed if isinstance(one, dict)]

    # --- how -----------------------------------------------------------------------------------------------

    def _path(self, *parts: str | int) -> str:
        return wire.repo_path(self.name, *parts)

    def _send(self, call: Call, permissions: Permissions = ACTIONS) -> requests.Response:
        return self.github.send(call, Scope(self.installation, self.name, permissions))

    def _get(self, *parts: str | int, conditional: bool = False, **query: str | int) -> dict[str, Any]:
        call = Call("GET", self._path(*parts), query, conditional=conditional)
        answer = self._send(call)
        body = object_of(answer)
        if conditional and (etag := answer.headers.get("ETag")) and answer.status_code == 200:
            # The token is the one that was sent; after a redirect to another host there is none.
            access_token = str(answer.request.headers.get("Authorization", "")).removeprefix("Bearer ")
            self.github.etags.put(access_token, call.path, query, etag=etag, body=answer.content)
        return body

    def _pages(self, name: str, *parts: str | int, conditional: bool = False, **query: str | int) -> list[JSON]:
        found: list[JSON] = []
        for page in range(1, 7):
            answer = self._get(*parts, **query, conditional=conditional, per_page=100, page=page)
            found += answer.get(name) or []
            if len(found) >= int(answer.get("total_count") or 0) or not answer.get(name):
                break
        return found

    def _download(self, *parts: str | int) -> requests.Response:
        return self.github.transport.download(
            self._path(*parts), lambda path: self._send(Call("GET", path, follow=False))
        )


class App:
    """What the App is told about itself: by its JWT, without an installation.

    Any of it raises AuthFailed or NotFound if GitHub doesn't know us, NotConfigured without a usable key.
    """

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    def details(self) -> AppDetails:
        return details.app_details(object_of(self._get("/app")))

    def installations(self) -> list[InstallationDetails]:
        """Return the App's installations, a hundred at most."""
        return [details.installation_details(one) for one in list_of(self._get("/app/installations", per_page=100))]

    def installation(self, number: int) -> InstallationDetails:
        """Return one installation of the App, also while it is suspended."""
        return details.installation_details(object_of(self._get(f"/app/installations/{number}")))

    def installation_of(self, repository: str) -> InstallationDetails:
        """Return the installation that covers a repository. Raise NotFound if there is none, or no repository."""
        return details.installation_details(object_of(self._get(wire.repo_path(repository, "installation"))))

    def hook_config(self) -> HookConfig:
        """Return the webhook's settings. Raise NotFound without a webhook."""
        return details.hook_config(object_of(self._get("/app/hook/config")))

    def deliveries(self, cursor: str = "") -> tuple[list[LoggedDelivery], str]:
        """Return a hundred lines of the delivery log, newest first, and the next page's cursor (blank: none).

        Lines that can't be read are left out.
        """
        answer = self._get("/app/hook/deliveries", per_page=100, **({"cursor": cursor} if cursor else {}))
        lines = [wire.delivery_logged(line) for line in list_of(answer)]
        return [line for line in lines if line is not None], wire.next_cursor(answer.headers.get("Link", ""))

    def delivery(self, delivery_id: int) -> SentDelivery:
        """Return what was sent by one delivery of the log. Raise NotFound after GitHub's three days."""
        return wire.delivery_sent(object_of(self._get(f"/app/hook/deliveries/{delivery_id}")))

    def redeliver(self, delivery_id: int) -> None:
        """Have GitHub send a delivery once more, under the same GUID."""
        self._auth.as_app(Call("POST", f"/app/hook/deliveries/{delivery_id}/attempts"))

    def _get(self, path: str, **query: str | int) -> requests.Response:
        return self._auth.as_app(Call("GET", path, query))


@lru_cache(maxsize=1)
def github() -> GitHub:
    return as_configured(timeout=settings.GITHUB_TIMEOUT)


def as_configured(*, timeout: float) -> GitHub:
    return GitHub(
        api_url=settings.GITHUB_API_URL,
        version=settings.GITHUB_API_VERSION,
        timeout=timeout,
        app_id=settings.GITHUB_APP_ID,
        pem=settings.GITHUB_APP_PRIVATE_KEY,
        personal_token="" if settings.GITHUB_APP_ID else settings.GITHUB_TOKEN,
    )
