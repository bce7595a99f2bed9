"""What an App asks about itself: installations, tokens, its webhook."""

from typing import Any

from werkzeug.wrappers import Request, Response

from .answers import ApiError, answer_json, empty, not_found, number, page, read_object
from .apps import App, Installation
from .auth import LEVELS
from .clock import iso
from .config import API_VERSIONS
from .hooks import Delivery, Hooks
from .repositories import Repository
from .world import World

TOKEN_DOCS = "/apps/apps#create-an-installation-access-token-for-an-app"  # noqa: S105 an address
HOOK_DOCS = "/apps/webhooks"


def meta(world: World, request: Request) -> Response:
    body: dict[str, Any] = {"verifiable_password_authentication": False, "hooks": ["127.0.0.0/8"]}
    if world.config.api.startswith("ghes"):
        body["installed_version"] = world.config.api.removeprefix("ghes-") + ".0"
    return answer_json(body)


def versions(world: World, request: Request) -> Response:
    return answer_json(list(API_VERSIONS[world.config.api]))


def rate_limit(world: World, request: Request) -> Response:
    """Answer without counting the request."""
    if "Authorization" in request.headers:
        world.auth.token(request)
    rate = world.rate(count=False)
    body: dict[str, Any] = {"resources": {"core": rate, "search": rate}}
    if request.environ["local.version"] == "2022-11-28":
        body["rate"] = rate
    return answer_json(body)


def app(world: World, request: Request) -> Response:
    return answer_json(world.render.app(world.auth.app(request)))


def installations(world: World, request: Request) -> Response:
    caller = world.auth.app(request)
    shown = [world.render.installation(installation=one, app=caller) for one in world.apps.installations(caller)]
    return page(request, world.config.base_url, shown)


def installation(world: World, request: Request, installation_id: int) -> Response:
    """Answer, even while the installation is suspended."""
    caller = world.auth.app(request)
    docs = "/apps/apps#get-an-installation-for-the-authenticated-app"
    return answer_json(world.render.installation(installation=_known(world, caller, installation_id, docs), app=caller))


def repository_installation(world: World, request: Request, owner: str, repo: str) -> Response:
    caller = world.auth.app(request)
    name = world.repository(owner, repo).full_name
    for one in world.apps.installations(caller):
        if one.covers(name):
            return answer_json(world.render.installation(installation=one, app=caller))
    raise not_found("/apps/apps#get-a-repository-installation-for-the-authenticated-app")


def account_installation(world: World, request: Request, kind: str, account: str) -> Response:
    caller = world.auth.app(request)
    for one in world.apps.installations(caller):
        if one.account.lower() == account.lower():
            return answer_json(world.render.installation(installation=one, app=caller))
    raise not_found("/apps/apps#get-an-organization-installation-for-the-authenticated-app")


def create_token(world: World, request: Request, installation_id: int) -> Response:
    """Answer with a token, which can have fewer permissions than the installation, never more."""
    found = _known(world, world.auth.app(request), installation_id, TOKEN_DOCS)
    if found.suspended_at:
        raise ApiError(403, "This installation has been suspended", TOKEN_DOCS)
    body = read_object(request)
    granted = found.permissions
    permissions = body.get("permissions") or granted
    if not isinstance(permissions, dict) or any(
        level not in LEVELS or LEVELS[level] > LEVELS[granted.get(name, "none")] for name, level in permissions.items()
    ):
        raise ApiError(422, "The permissions requested are not granted to this installation.", TOKEN_DOCS)
    if permissions is not granted:
        # GitHub adds this one to every token.
        permissions = {**permissions, "metadata": "read"}
    chosen = _chosen(world, found, body)
    token = world.auth.mint(permissions, None if chosen is None else [r.full_name for r in chosen], found)
    answer: dict[str, Any] = {
        "token": token.text,
        "expires_at": iso(token.expires_at),
        "permissions": permissions,
        "repository_selection": "all" if chosen is None and found.repositories is None else "selected",
    }
    if chosen is not None:
        answer["repositories"] = [world.render.repository(r, request.environ["local.version"]) for r in chosen]
    return answer_json(answer, 201)


def _chosen(world: World, found: Installation, body: dict[str, Any]) -> list[Any] | None:
    names, ids = body.get("repositories"), body.get("repository_ids")
    if names is None and ids is None:
        return None
    wanted = [*(names or []), *(ids or [])]
    covered = world.repositories_of(found)
    known: dict[Any, Repository] = {r.name: r for r in covered} | {r.id: r for r in covered}
    if not wanted or any(isinstance(one, list | dict) or one not in known for one in wanted):
        raise ApiError(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
            TOKEN_DOCS,
        )
    return list({known[one].full_name: known[one] for one in wanted}.values())


def revoke_token(world: World, request: Request) -> Response:
    world.auth.revoke(world.auth.token(request))
    return empty()


def installation_repositories(world: World, request: Request) -> Response:
    token = world.auth.token(request)
    covered = [r for r in world.repositories.values() if world.auth.covers(token, r.full_name)]
    for one in covered:
        one.look_again()  # `pushed_at` tells whoever sweeps where to look
    shown = [world.render.repository(r, request.environ["local.version"]) for r in covered]
    found = None if token.installation_id is None else world.apps.installation(token.installation_id)
    every = token.repositories is None and found is not None and found.repositories is None
    extra = {"repository_selection": "all" if every else "selected"}
    return page(request, world.config.base_url, shown, "repositories", extra)


def user(world: World, request: Request) -> Response:
    """Answer with the personal token's owner; an installation token has none."""
    docs = "/users/users#get-the-authenticated-user"
    token = world.auth.token(request)
    if not token.personal:
        raise ApiError(403, "Resource not accessible by integration", docs)
    return answer_json(world.render.public_user(world.config.person))


def hook_config(world: World, request: Request) -> Response:
    """Answer GET and PATCH; the secret is masked."""
    caller = world.auth.app(request)
    hooks = world.hooks_of(caller)
    if request.method == "PATCH":
        body = read_object(request)
        hooks.url = str(body.get("url", hooks.url))
        hooks.secret = str(body.get("secret", hooks.secret))
        hooks.content_type = str(body.get("content_type", hooks.content_type))
        hooks.insecure_ssl = str(body.get("insecure_ssl", hooks.insecure_ssl))
        world.apps.hook_changed(caller.id, hooks.url, hooks.secret)
    shown = {"url": hooks.url, "content_type": hooks.content_type, "insecure_ssl": hooks.insecure_ssl}
    return answer_json(shown | ({"secret": "********"} if hooks.secret else {}))


def deliveries(world: World, request: Request) -> Response:
    log = world.hooks_of(world.auth.app(request)).log()
    wanted = request.args.get("status")
    if wanted:
        log = [d for d in log if (200 <= d.status_code < 400) == (wanted == "success")]
    cursor = request.args.get("cursor", "")
    if cursor:
        text = cursor.partition("_")[2]
        if not text.isdigit():
            raise ApiError(400, "Invalid cursor", HOOK_DOCS)
        log = [d for d in log if d.id < int(text)]
    size = number(request, "per_page", 30, 100)
    answer = answer_json([d.summary() for d in log[:size]])
    if len(log) > size:
        state = f"&status={wanted}" if wanted else ""
        address = f"{world.config.base_url}/app/hook/deliveries?per_page={size}&cursor=v1_{log[size - 1].id}{state}"
        answer.headers["Link"] = f'<{address}>; rel="next"'
    return answer


def delivery(world: World, request: Request, delivery_id: int) -> Response:
    return answer_json(_delivery(world.hooks_of(world.auth.app(request)), delivery_id).details())


def redeliver(world: World, request: Request, delivery_id: int) -> Response:
    hooks = world.hooks_of(world.auth.app(request))
    hooks.redeliver(_delivery(hooks, delivery_id))
    return answer_json({}, 202)


def _delivery(hooks: Hooks, delivery_id: int) -> Delivery:
    found = next((d for d in hooks.log() if d.id == delivery_id), None)
    if found is None:
        raise not_found(HOOK_DOCS)
    return found


def _known(world: World, caller: App, installation_id: int, docs: str) -> Installation:
    found = world.apps.installation(installation_id)
    if found is None or found.app_id != caller.id:
        raise not_found(docs)
    return found


RULES = [
    ("GET", "/meta", meta),
    ("GET", "/versions", versions),
    ("GET", "/rate_limit", rate_limit),
    ("GET", "/app", app),
    ("GET", "/app/installations", installations),
    ("GET", "/app/installations/<int:installation_id>", installation),
    ("POST", "/app/installations/<int:installation_id>/access_tokens", create_token),
    ("DELETE", "/installation/token", revoke_token),
    ("GET", "/user", user),
    ("GET", "/installation/repositories", installation_repositories),
    ("GET", "/repos/<owner>/<repo>/installation", repository_installation),
    ("GET", "/<any(orgs,users):kind>/<account>/installation", account_installation),
    ("GET", "/app/hook/config", hook_config),
    ("PATCH", "/app/hook/config", hook_config),
    ("GET", "/app/hook/deliveries", deliveries),
    ("GET", "/app/hook/deliveries/<int:delivery_id>", delivery),
    ("POST", "/app/hook/deliveries/<int:delivery_id>/attempts", redeliver),
]
