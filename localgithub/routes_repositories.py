"""Repositories: what is in them, their branches and commits, their environments."""

from werkzeug.wrappers import Request, Response

from .answers import ApiError, answer_json, not_found, page
from .contents import MAX_FILE, Folder
from .world import World

CONTENT_DOCS = "/repos/contents#get-repository-content"
COMMIT_DOCS = "/commits/commits#get-a-commit"
MAX_INLINE = 1_000_000  # bytes of a file that JSON holds


def repository(world: World, request: Request, owner: str, repo: str) -> Response:
    found, _ = world.allowed(request, owner, repo, "metadata", docs="/repos/repos#get-a-repository")
    return answer_json(world.render.repository(found, request.environ["local.version"]))


def contents(world: World, request: Request, owner: str, repo: str, path: str = "") -> Response:
    """Answer with a file, as its bytes for the raw media type and else as JSON, or with what a folder holds."""
    found, _ = world.allowed(request, owner, repo, "contents", docs=CONTENT_DOCS)
    wanted = request.args.get("ref") or found.default_branch
    found.look_again()
    if found.commit(wanted) is None:
        raise ApiError(404, f"No commit found for the ref {wanted}", CONTENT_DOCS)
    there = found.find(path, wanted)
    if there is None:
        raise not_found(CONTENT_DOCS)
    accept = request.headers.get("Accept", "")
    if isinstance(there, Folder):
        listed = [world.render.entry(found, wanted, one) for one in there.entries]
        return answer_json(world.render.folder(found, wanted, there, listed) if ".object" in accept else listed)
    if there.size > MAX_FILE:
        said = "This API returns blobs up to 100 MB in size. The requested blob is too large to fetch via the API."
        raise ApiError(403, said, CONTENT_DOCS)
    if ".raw" in accept and there.kind == "file":
        return Response(there.data, content_type="application/vnd.github.raw+json; charset=utf-8")
    return answer_json(world.render.file(found, wanted, there, inline=there.size <= MAX_INLINE))


def commit(world: World, request: Request, owner: str, repo: str, ref: str) -> Response:
    """Answer with a commit, or with its id alone for the media type `application/vnd.github.sha`."""
    found, _ = world.allowed(request, owner, repo, "contents", docs=COMMIT_DOCS)
    found.look_again()
    sha = found.commit(ref)
    if sha is None:
        raise ApiError(422, f"No commit found for SHA: {ref}", COMMIT_DOCS)
    if "vnd.github.sha" in request.headers.get("Accept", "").replace(".v3", ""):
        return Response(sha, content_type="application/vnd.github.sha; charset=utf-8")
    return answer_json(world.render.commit(found, found.read_commit(sha)))


def branch(world: World, request: Request, owner: str, repo: str, name: str) -> Response:
    docs = "/branches/branches#get-a-branch"
    found, _ = world.allowed(request, owner, repo, "contents", docs=docs)
    found.look_again()
    sha = found.refs.get(f"refs/heads/{name}")
    if sha is None:
        raise ApiError(404, "Branch not found", docs)
    return answer_json(world.render.branch(found, name, found.read_commit(sha)))


def environments(world: World, request: Request, owner: str, repo: str) -> Response:
    found, _ = world.allowed(request, owner, repo, docs="/deployments/environments#list-environments")
    shown = [world.render.environment(found, name) for name in found.environments]
    return page(request, world.config.base_url, shown, "environments")


_REPO = "/repos/<owner>/<repo>"
RULES = [
    ("GET", _REPO, repository),
    ("GET", f"{_REPO}/contents", contents),
    ("GET", f"{_REPO}/contents/", contents),
    ("GET", f"{_REPO}/contents/<path:path>", contents),
    ("GET", f"{_REPO}/commits/<path:ref>", commit),
    ("GET", f"{_REPO}/branches/<path:name>", branch),
    ("GET", f"{_REPO}/environments", environments),
]
