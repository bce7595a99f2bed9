"""What GitHub asks of the bodies that make commit statuses and check runs."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from . import dispatch
from .answers import ApiError
from .clock import now
from .runs import Annotation

STATUS_DOCS = "/commits/statuses#create-a-commit-status"
CHECK_DOCS = "/checks/runs#create-a-check-run"
MAX_DESCRIPTION = 140
MAX_ANNOTATIONS = 50  # in one request
MAX_TEXT = 65_535
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out")


def status_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return state, context, description and target_url of a commit status. Raise ApiError (422)."""
    dispatch.check_keys(body, allowed=body, required=["state"], docs=STATUS_DOCS)
    for name in ("state", "context", "description", "target_url"):
        if body.get(name) is not None:
            dispatch.check_type(body, name, str, "a string", STATUS_DOCS)
    found = {
        "state": body["state"],
        "context": body.get("context") or "default",
        "description": body.get("description") or None,
        "target_url": body.get("target_url") or None,
    }
    if wrong := [*_status_mistakes(found)]:
        raise invalid_status(*wrong)
    return found


def _status_mistakes(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found["state"] not in ("error", "failure", "pending", "success"):
        yield "state", "state is not included in the list"
    for name, most in (("description", MAX_DESCRIPTION), ("context", 255)):
        if len(found[name] or "") > most:
            yield name, f"{name} is too long (maximum is {most} characters)"
    if found["target_url"] and not is_web_address(found["target_url"]):
        yield "target_url", "target_url must use http(s) scheme"


def invalid_status(*mistakes: tuple[str, str]) -> ApiError:
    errors = [{"resource": "Status", "code": "custom", "field": field, "message": said} for field, said in mistakes]
    return ApiError(422, "Validation Failed", STATUS_DOCS, errors=errors)


def check_of(body: dict[str, Any], *, new: bool) -> dict[str, Any]:
    """Return what a request wants of a check run, by the names of CheckRun. Raise ApiError (422)."""
    dispatch.check_keys(body, allowed=body, required=["name", "head_sha"] if new else [], docs=CHECK_DOCS)
    for name in ("name", "head_sha", "details_url", "external_id"):
        dispatch.check_type(body, name, str, "a string", CHECK_DOCS)
    change = {name: body[name] for name in ("name", "details_url", "external_id") if body.get(name)}
    if "details_url" in change and not is_web_address(change["details_url"]):
        raise _invalid(f"Details url {change['details_url']} is not a valid URL.")
    change |= _progress(body)
    if body.get("output") is not None:
        change |= _output(body["output"], new=new)
    return change


def _progress(body: dict[str, Any]) -> dict[str, Any]:
    status, conclusion = body.get("status"), body.get("conclusion")
    _one_of("status", status, (None, "queued", "in_progress", "completed"))
    _one_of("conclusion", conclusion, (None, *CONCLUSIONS))
    if status == "completed" and conclusion is None:
        raise _invalid('"conclusion" wasn\'t supplied.')
    change: dict[str, Any] = {"status": status} if status else {}
    if conclusion:  # which alone completes it, as on GitHub
        change = {"status": "completed", "conclusion": conclusion, "completed_at": _moment(body.get("completed_at"))}
    if body.get("started_at") is not None:
        change["started_at"] = _moment(body["started_at"])
    return change


def _output(output: Any, *, new: bool) -> dict[str, Any]:
    if not isinstance(output, dict):
        raise _invalid("For 'properties/output', it is not an object.")
    needed = ["title", "summary"] if new else ["summary"]
    dispatch.check_keys(output, allowed=output, required=needed, docs=CHECK_DOCS)
    change: dict[str, Any] = {}
    for name in ("title", "summary", "text"):
        if output.get(name) is not None:
            dispatch.check_type(output, name, str, "a string", CHECK_DOCS)
            if len(output[name]) > MAX_TEXT:
                raise _invalid(f"For 'properties/{name}', only {MAX_TEXT} characters are allowed.")
            change[name] = output[name]
    given = output.get("annotations") or []
    dispatch.check_type({"annotations": given}, "annotations", list, "an array", CHECK_DOCS)
    if len(given) > MAX_ANNOTATIONS:
        raise _invalid(f"No more than {MAX_ANNOTATIONS} items are allowed; {len(given)} were supplied.")
    return change | {"annotations": [_annotation(each) for each in given]}


def _annotation(given: Any) -> Annotation:
    if not isinstance(given, dict):
        raise _invalid("For 'properties/annotations', an item is not an object.")
    required = ["path", "start_line", "end_line", "annotation_level", "message"]
    dispatch.check_keys(given, allowed=given, required=required, docs=CHECK_DOCS)
    lines: dict[str, Any] = {name: given.get(name) for name in ("start_line", "end_line", "start_column", "end_column")}
    for name, value in lines.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise _invalid(f"For 'properties/{name}', {value!r} is not an integer.")
    _one_of("annotation_level", given["annotation_level"], ("notice", "warning", "failure"))
    if lines["start_column"] is not None and lines["start_line"] != lines["end_line"]:
        raise _invalid("Columns are allowed only where start_line is end_line.")
    title, level = str(given.get("title") or ""), given["annotation_level"]
    return Annotation(level, str(given["message"]), title, str(given["path"]), **lines)


def _one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise _invalid(f"For 'properties/{name}', {value!r} is not a possible value.")


def _moment(given: Any) -> datetime:
    if given is None:
        return now()
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        raise _invalid(f"{given} is not a valid date-time.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _invalid(text: str) -> ApiError:
    return ApiError(422, f"Invalid request.\n\n{text}", CHECK_DOCS)


def is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", text)
