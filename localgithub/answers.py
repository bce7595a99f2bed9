import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

DOCS = "https://docs.github.com/rest"


class ApiError(Exception):
    """An answer that is no success, in GitHub's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        docs: str = "",
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.docs = status, message, docs
        self.headers, self.errors = headers or {}, errors

    def response(self) -> Response:
        body: dict[str, Any] = {"message": self.message}
        if self.errors:
            body["errors"] = self.errors
        body["documentation_url"] = self.docs if self.docs.startswith("http") else DOCS + self.docs
        body["status"] = str(self.status)
        answer = answer_json(body, self.status)
        answer.headers.update(self.headers)
        return answer


def not_found(docs: str = "") -> ApiError:
    """Return GitHub's answer for what does not exist, and for what the caller may not see."""
    return ApiError(404, "Not Found", docs)


def answer_json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json; charset=utf-8")


def empty(status: int = 204) -> Response:
    return Response(b"", status)


def read_object(request: Request) -> dict[str, Any]:
    """Return the body, which must be a JSON object; no body is an empty one."""
    raw = request.get_data()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, "Problems parsing JSON") from error
    if not isinstance(body, dict):
        raise ApiError(400, "Body should be a JSON object")
    return body


def number(request: Request, name: str, default: int, highest: int) -> int:
    """Read a positive number of the query; nonsense counts as not given, as on GitHub."""
    text = request.args.get(name, "")
    return max(1, min(int(text), highest)) if text.isdigit() else default


def page(
    request: Request, base_url: str, items: list[Any], key: str | None = None, extra: dict[str, Any] | None = None
) -> Response:
    """Answer one page of a list, with GitHub's Link header."""
    # GitHub's default and highest page size.
    size, current = number(request, "per_page", 30, 100), number(request, "page", 1, 10**6)
    part = items[(current - 1) * size : current * size]
    last = max(1, -(-len(items) // size))
    links: dict[str, int] = {}
    if current > 1:
        links |= {"prev": current - 1, "first": 1}
    if current < last:
        links |= {"next": current + 1, "last": last}
    answer = answer_json({"total_count": len(items), **(extra or {}), key: part} if key else part)
    if links:
        answer.headers["Link"] = ", ".join(
            f'<{base_url}{request.path}?{urlencode({**request.args.to_dict(), "page": to})}>; rel="{rel}"'
            for rel, to in links.items()
        )
    return answer


def with_etag(request: Request, answer: Response) -> Response:
    """Add an ETag, which depends on the token as GitHub's does; answer 304 when the caller has this already."""
    seed = answer.get_data() + request.headers.get("Authorization", "").encode()
    etag = f'W/"{hashlib.sha256(seed).hexdigest()}"'
    answer.headers["ETag"] = etag
    answer.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
    known = [part.strip() for part in request.headers.get("If-None-Match", "").split(",")]
    if etag in known or etag.removeprefix("W/") in known:
        answer.status_code = 304
        answer.set_data(b"")
        del answer.headers["Content-Type"]
    return answer
