"""GitHub's wire format: paths, headers, and what answers mean. Pure: no network, no settings, no clock but arguments.

Sources are GitHub's REST documentation and published OpenAPI description; tests/data/github holds the latter.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from requests.utils import parse_header_links

from casts.runtime import Annotation, Job, JobStep, Observation, RemoteArtifact, Run
from core.redaction import redact
from github_integration import errors

JSON = Any
WORD_CHARS, URL_CHARS, LOGIN_CHARS, MOST_ATTEMPTS = 40, 500, 100, 2**31 - 1  # what the database holds
NEWEST_VERSION = "2026-03-10"
USER_AGENT = "spell-platform"  # GitHub refuses requests without one
AS_JSON, AS_RAW = "application/vnd.github+json", "application/vnd.github.raw+json"
AS_ID = "application/vnd.github.sha"  # a commit's id alone
LONGEST_WAIT = 24 * 3600.0  # seconds; GitHub's own limits end within the hour
# Titles of other runs may quote a cast's tag, as a commit message does; None is an answer that doesn't say.
DISPATCHES = ("workflow_dispatch", "repository_dispatch", None)


def default_version(api_url: str) -> str:
    """Return the API version to ask for: 2026-03-10 where it exists, none on Enterprise Server (up to 3.20)."""
    host = api_url.split("://", 1)[-1].split("/", 1)[0]
    return NEWEST_VERSION if host == "api.github.com" or host.endswith(".ghe.com") else ""


def headers(authorization: str, version: str, accept: str = AS_JSON) -> dict[str, str]:
    """Return a request's headers; with a blank `authorization` it says nothing of who we are."""
    found = {"Accept": accept, "User-Agent": USER_AGENT}
    found |= {"Authorization": f"Bearer {authorization}"} if authorization else {}
    return found | ({"X-GitHub-Api-Version": version} if version else {})


def web_url(api_url: str) -> str:
    """Return where people see what an API address is about: https://github.com, or an Enterprise Server's own."""
    scheme, _, rest = api_url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host.removeprefix('api.')}" + (f"/{path}" if path and path.strip("/") != "api/v3" else "")


def repo_path(repository: str, *parts: str | int) -> str:
    """Return an API path below a repository, with each part quoted."""
    return "/".join(["/repos", quote(repository, safe="/"), *(quote(str(p), safe="/") for p in parts)])


def plain(value: Any, default: str = "") -> str:
    """Return a value as text that every database keeps: without NUL, and without half of a surrogate pair."""
    return str(value or default).replace("\x00", "").encode(errors="replace").decode()


def word(value: Any) -> str | None:
    """Return a conclusion as text, None if there is none yet."""
    return None if value is None else plain(value)[:WORD_CHARS]


def whole(value: Any, *, most: int = 2**63 - 1) -> int:
    """Return a number that the database holds. Raise ValueError, or what `int` does."""
    number = int(value)
    if not 0 <= number <= most:
        raise ValueError(f"{plain(value)[:40]!r} is not from 0 to {most}")
    return number


def message_of(status: int, body: JSON) -> str:
    """Return GitHub's own message, with the field errors that it may carry, on one line."""
    if not isinstance(body, dict) or not body.get("message"):
        return f"GitHub answered {status} without a message"
    found = body.get("errors") or []
    details = [detail_of(e) for e in (found if isinstance(found, list) else [found])]
    text = " ".join(plain(body["message"]).split())
    return redact(f"{text} ({'; '.join(details)})" if details else text)


def detail_of(error: JSON) -> str:
    """Return one of the field errors that an answer may carry; they come in several shapes."""
    if not isinstance(error, dict):
        return plain(error)
    return plain(error.get("message") or " ".join(str(error.get(k, "")) for k in ("resource", "field", "code")))


def error_of(status: int, head: Mapping[str, str], body: JSON, *, now: dt.datetime) -> errors.GitHubError:
    """Return the error that an answer of 400 or more means."""
    message = message_of(status, body)
    if status in (403, 429) and is_rate_limit(status, head, message):
        return errors.RateLimited(message, status=status, retry_at=rate_limit_end(head, now=now))
    if status == 403 and "suspended" in message.lower():
        return errors.Suspended(message, status=status)
    if status == 403 and (needed := head.get("X-Accepted-GitHub-Permissions")):
        message = f"{message} (the App needs the permission {needed})"
    kinds: dict[int, type[errors.GitHubError]] = {
        400: errors.Refused,
        401: errors.AuthFailed,
        403: errors.PermissionMissing,
        404: errors.NotFound,
        408: errors.Unavailable,
        409: errors.Conflict,
        410: errors.Gone,
        422: errors.Refused,
    }
    kind = errors.Unavailable if status >= 500 else kinds.get(status, errors.Refused)
    error = kind(message, status=status)
    error.date = date_of(head)
    return error


def date_of(head: Mapping[str, str]) -> dt.datetime | None:
    """Return the time in an answer's Date header; None if there is none that can be read."""
    try:
        return parsedate_to_datetime(head.get("Date", "")).astimezone(dt.UTC)
    except ValueError:
        return None


def is_rate_limit(status: int, head: Mapping[str, str], message: str) -> bool:
    """Whether a 403 or 429 is about a rate limit, primary or secondary; the latter may say so in words alone."""
    named = "Retry-After" in head or head.get("X-RateLimit-Remaining") == "0"
    return status == 429 or named or "rate limit" in message.lower() or "abuse" in message.lower()


def rate_limit_end(head: Mapping[str, str], *, now: dt.datetime) -> dt.datetime | None:
    """Return when a rate limit ends: by Retry-After, else the reset time when nothing remains, else GitHub named none.

    Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if (after := head.get("Retry-After", "")).isdecimal():
        wait = float(after)
    elif head.get("X-RateLimit-Remaining") == "0" and (reset := head.get("X-RateLimit-Reset", "")).isdecimal():
        wait = float(reset) + 1 - now.timestamp()
        if wait <= 0:  # over by our clock alone: asking on at once could get us banned
            return None
    else:
        return None
    return now + dt.timedelta(seconds=min(max(wait, 1.0), LONGEST_WAIT))


@dataclass(frozen=True)
class RateLimit:
    """The primary rate limit: requests an hour, those left of them, and when they are given out anew."""

    limit: int
    remaining: int
    reset_at: dt.datetime


def rate_limit_of(head: Mapping[str, str]) -> RateLimit | None:
    """Return what an answer's headers tell of the primary rate limit, None if they don't."""
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    told = [head.get(name, "") for name in names]
    reset_at = parse_time(int(told[2])) if all(value.isdecimal() for value in told) else None
    return None if reset_at is None else RateLimit(int(told[0]), int(told[1]), reset_at)


def unknown_key(error: errors.GitHubError) -> bool:
    """Whether an older server refused `return_run_details` (Enterprise Server up to 3.20); nothing was started."""
    return "return_run_details" in str(error) and "not permitted key" in str(error).replace(
        "not a permitted", "not permitted"
    )


def run_started(body: JSON) -> Run | None:
    """Return the run that a dispatch answer names; None for the empty 204, and for what can't be read."""
    run_id = body.get("workflow_run_id") if isinstance(body, dict) else None
    return Run(key=str(run_id), url=plain(body.get("html_url"))) if isinstance(run_id, int) else None


def parse_time(value: Any) -> dt.datetime | None:
    """Return a time from RFC 3339 text or epoch seconds (old installation payloads); None if it is neither."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, tz=dt.UTC)
        parsed = dt.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        # In UTC, where a time at the end of the calendar may be past it, and then no database takes it.
        return parsed.astimezone(dt.UTC) if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def run_seen(repository: str, run: JSON, *, jobs: tuple[Job, ...] | None = None) -> Observation:
    """Return what a run object says, from the REST API or a workflow_run webhook. Reads only what we use."""
    return Observation(
        run_scope=repository,
        run_key=str(whole(run["id"])),
        attempt=whole(run.get("run_attempt") or 1, most=MOST_ATTEMPTS),
        status=plain(run.get("status"), "queued"),
        conclusion=word(run.get("conclusion")),
        title=plain(run.get("display_title")) if run.get("event") in DISPATCHES else "",
        trigger=plain(run.get("event")),
        workflow=run_file(run),
        actor=login_of(run.get("actor")),
        made_at=parse_time(run.get("created_at")),
        url=plain(run.get("html_url"))[:URL_CHARS],
        run_started_at=parse_time(run.get("run_started_at") or run.get("created_at")),
        updated_at=parse_time(run.get("updated_at")),
        jobs=jobs,
        remarks=str(suite) if type(suite := run.get("check_suite_id")) is int else "",
    )


def login_of(user: JSON) -> str:
    """Return a user's or a bot's name, blank if the answer doesn't tell."""
    return plain(user.get("login")) if isinstance(user, dict) else ""


def run_file(run: JSON) -> str:
    """Return the workflow file's name; REST puts `@ref` behind the path, webhooks don't."""
    return plain(run.get("path")).split("@", 1)[0].rsplit("/", 1)[-1]


def job_seen(job: JSON) -> Job:
    """Return what a job object says, from the REST API or a workflow_job webhook."""
    return Job(
        id=whole(job["id"]),
        name=plain(job.get("name")),
        status=plain(job.get("status"), "queued"),
        conclusion=word(job.get("conclusion")),
        attempt=whole(job.get("run_attempt") or 1, most=MOST_ATTEMPTS),
        started_at=parse_time(job.get("started_at")),
        completed_at=parse_time(job.get("completed_at")),
        url=plain(job.get("html_url")),
        runner=plain(job.get("runner_name")),
        steps=tuple(
            JobStep(
                name=plain(step.get("name")),
                number=whole(step.get("number") or 0),
                status=plain(step.get("status"), "queued"),
                conclusion=word(step.get("conclusion")),
                started_at=parse_time(step.get("started_at")),
                completed_at=parse_time(step.get("completed_at")),
            )
            for step in job.get("steps") or []
        ),
    )


def artifact_seen(artifact: JSON) -> RemoteArtifact:
    return RemoteArtifact(
        id=int(artifact["id"]),
        name=plain(artifact["name"]),
        size_bytes=int(artifact.get("size_in_bytes") or 0),
        digest=plain(artifact.get("digest")),
        expired=bool(artifact.get("expired")),
        made_at=parse_time(artifact.get("created_at")),
    )


@dataclass(frozen=True)
class SeenInstallation:
    """What a webhook says of an installation."""

    id: int
    login: str
    suspended_at: dt.datetime | None


def installation_seen(installation: JSON) -> SeenInstallation:
    return SeenInstallation(
        id=whole(installation["id"]),
        login=login_of(installation.get("account"))[:LOGIN_CHARS],
        suspended_at=parse_time(installation.get("suspended_at")),
    )


@dataclass(frozen=True)
class LoggedDelivery:
    """One line of the App's delivery log. Redeliveries are lines of their own, with the GUID of the first."""

    id: int
    guid: str
    event: str
    delivered_at: dt.datetime
    installation: int | None
    status: str = ""  # in GitHub's words; "pending" while it is under way
    status_code: int = 0  # what the receiver answered, 0 if nothing


def delivery_logged(line: JSON) -> LoggedDelivery | None:
    """Return what a line of the delivery log says, None if it can't be read."""
    if not isinstance(line, dict) or type(line.get("id")) is not int or not line.get("guid"):
        return None
    if (delivered_at := parse_time(line.get("delivered_at"))) is None:
        return None
    installation = line.get("installation_id")
    return LoggedDelivery(
        id=line["id"],
        guid=plain(line["guid"]),
        event=plain(line.get("event")),
        delivered_at=delivered_at,
        installation=installation if type(installation) is int else None,
        status=plain(line.get("status")),
        status_code=code if type(code := line.get("status_code")) is int else 0,
    )


@dataclass(frozen=True)
class SentDelivery:
    """What GitHub sent, or would have sent, and where to; `payload` is None if it shows none."""

    url: str
    payload: dict[str, Any] | None


def delivery_sent(shown: JSON) -> SentDelivery:
    """Return what one line of the delivery log, asked for by itself, says of what was sent."""
    request = shown.get("request")
    payload = request.get("payload") if isinstance(request, dict) else None
    return SentDelivery(url=plain(shown.get("url")), payload=payload if isinstance(payload, dict) else None)


def next_cursor(link: str) -> str:
    """Return the cursor of the next page from a Link header, blank on the last one."""
    address = next((one["url"] for one in parse_header_links(link) if one.get("rel", "").lower() == "next"), "")
    return parse_qs(urlsplit(address).query).get("cursor", [""])[0]


LOG_TIME = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT[\d:.]+Z ?")
# What a program writes to steer a terminal (ECMA-48), each cut off at the line's end: colours, cursor and modes; titles
# and links, whose text stays; character sets; and all others. Then what is left of control characters but the tab.
ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_line(line: str) -> str:
    """Return a line of a log, without its time, as a terminal would leave it.

    What a carriage return goes back over is gone, as the earlier states of a progress bar; escape sequences too.
    """
    bare = ESCAPES.sub("", line)
    states = [state for state in bare.split("\r") if state.strip()]
    return CONTROLS.sub("", states[-1]) if states else ""


def log_tail(text: str, lines: int) -> tuple[str, ...]:
    """Return the last lines up to a job's last error, as a terminal leaves them, without the echo of the workflow.

    What follows the error is GitHub's own tidying up, which tells nobody why the run failed.
    """
    undated = without_echo([LOG_TIME.sub("", line) for line in text.removesuffix("\n").split("\n") if text])
    read = [(line, plain_line(line)) for line in undated]
    bare = [shown for line, shown in read if shown or not line.strip()]  # none of escapes alone
    last_error = max((i for i, line in enumerate(bare) if line.startswith("##[error]")), default=len(bare) - 1)
    return tuple(redact(plain(line))[:1000] for line in bare[: last_error + 1][-lines:])


ERROR, GROUP, END_GROUP = "##[error]", "##[group]", "##[endgroup]"
ECHO_COLOUR = "\x1b[36;1m"  # of a script's lines, where GitHub prints them before it runs them


def without_echo(lines: list[str]) -> list[str]:
    """Return a log's lines without what a step begins with, its script and settings, and without marks of groups.

    What a script prints in groups of its own stays.
    """
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if line.startswith(f"{GROUP}Run "):
            end = next((i for i in range(at, len(lines)) if lines[i].startswith((END_GROUP, GROUP))), len(lines))
            if end < len(lines) and is_echo(line.removeprefix(f"{GROUP}Run "), lines[at:end]):
                at = end
        if not line.startswith((GROUP, END_GROUP)):
            kept.append(line)
    return kept


def is_echo(title: str, inside: list[str]) -> bool:
    """Whether a group "Run …" is what GitHub writes before a step: its script, its shell, or an action's settings."""
    script = next((line.strip() for line in inside if line.strip()), "")
    settings = all(line in ("with:", "env:") or line.startswith("  ") for line in inside)
    return settings or script == title.strip() or any(line.startswith(("shell: ", ECHO_COLOUR)) for line in inside)


def errors_in_log(text: str, since: dt.datetime | None, until: dt.datetime | None) -> tuple[str, ...]:
    """Return what a job's log calls errors between two times (of a step: whole seconds), each in one line."""
    found = []
    for line in text.splitlines():
        stamped = LOG_TIME.match(line)
        said = plain_line(line[stamped.end() :] if stamped else line)
        if not said.startswith(ERROR):
            continue
        at = parse_time(stamped[0].strip("\ufeff ")) if stamped else None
        if at is None or ((since is None or at >= since) and (until is None or at < until + dt.timedelta(seconds=1))):
            found.append(redact(plain(said.removeprefix(ERROR))).strip()[:MESSAGE_CHARS])
    return tuple(found)


MESSAGE_CHARS = 1000  # of one annotation
LEVELS = {"failure": "error", "warning": "warning", "notice": "notice"}
NO_FILE = ".github"  # what GitHub names where nobody named a file
# What the runner adds by itself to every step that failed or was stopped, which says nothing that isn't known, and
# to every run with an action that was made for an older Node, which is the author's affair.
COMMONPLACE = re.compile(
    r"(Process completed with exit code -?\d+|The operation was canceled)\.?"
    r"|Node\.js \d+ actions are deprecated\b.*"
    r"|The following actions uses? (a deprecated Node\.js version|node\d+ which is deprecated)\b.*",
    re.DOTALL,
)
TOO_LONG = "exceeded the maximum execution time"


def annotation_seen(annotation: JSON) -> Annotation:
    """Return what an annotation of a job's check run says. Where it names no file, its line is one of the log.

    A file without a line comes as its line 1, as does a step's own `line=1`: then no line is told, for a file alone is
    true of both.
    """
    file = plain(annotation.get("path"))
    line = annotation.get("start_line")
    named = file not in ("", NO_FILE)
    whole = line == 1 and annotation.get("end_line") in (1, None) and annotation.get("start_column") is None
    return Annotation(
        message=redact(plain(annotation.get("message"))).strip()[:MESSAGE_CHARS],
        level=LEVELS.get(plain(annotation.get("annotation_level")), "notice"),
        title=redact(plain(annotation.get("title")))[:200],
        file=file[:500] if named else "",
        line=line if named and type(line) is int and not whole else None,
    )


def annotations_counted(body: JSON) -> dict[int, int]:
    """Return how many annotations each check run of a list has, by its id; none of what can't be read.

    Source: https://docs.github.com/rest/checks/runs#list-check-runs-in-a-check-suite
    """
    found: dict[int, int] = {}
    listed = body.get("check_runs")
    for one in listed if isinstance(listed, list) else ():
        output = one.get("output") if isinstance(one, dict) else None
        count = output.get("annotations_count") if isinstance(output, dict) else None
        if type(count) is int and type(one.get("id")) is int:
            found[one["id"]] = count
    return found


def is_commonplace(message: str) -> bool:
    """Whether an annotation says nothing of this run: only that the step failed, or that an action is old."""
    return not message.strip() or COMMONPLACE.fullmatch(message.strip()) is not None


def reached_its_limit(message: str) -> bool:
    """Whether a job was stopped because it ran as long as its `timeout-minutes` allows; GitHub calls that cancelled."""
    return TOO_LONG in message
