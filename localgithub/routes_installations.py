"""The pages on which people install an App, choose its repositories, suspend and uninstall it."""

from html import escape

from werkzeug.wrappers import Request, Response

from . import forms
from .answers import answer_json, not_found
from .apps import App, Installation
from .clock import iso, now
from .repositories import Repository
from .routes_manifest import with_query
from .shapes import JSON, node_id, user_id
from .world import World


def landing(world: World, request: Request, slug: str) -> Response:
    """Show an App to people, or as JSON to programs, whose path is the same on this server."""
    app = _app(world, slug)
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        world.auth.token(request)
        return answer_json(world.render.app(app))
    address = escape(f"{world.render.app_page(app)}/installations/new")
    return forms.shown(
        app.name,
        f'<p>{escape(app.description or "")}</p><p>By {escape(app.owner)}.</p><p><a href="{address}">Install</a></p>',
    )


def choose(world: World, request: Request, slug: str) -> Response:
    """Ask for the account, if there are several, and for the repositories."""
    app = _app(world, slug)
    state = request.args.get("state", "")
    accounts = _accounts(world, app)
    if not accounts:
        return forms.shown(
            f"{app.name} can't be installed",
            f"<p>It is private: {escape(app.owner)} alone can install it, and has no repositories here. Make it at "
            f"<code>/organizations/OWNER/settings/apps/new</code>, with <code>public</code>, or start the local GitHub "
            f"with <code>--person OWNER</code>.</p>",
            404,
        )
    target = request.args.get("target_id", "")
    chosen = [one for one in accounts if str(user_id(one)) == target] if target else accounts
    if not chosen:
        raise not_found()
    if len(chosen) > 1:
        items = ""
        for one in chosen:
            query = with_query("", {"target_id": str(user_id(one))} | ({"state": state} if state else {}))
            items += f'<li><a href="{escape(query)}">{escape(one)}</a></li>'
        return forms.shown(f"Install {app.name}", f"<p>Where do you want to install it?</p><ul>{items}</ul>")
    account = chosen[0]
    known = next((one for one in world.apps.installations(app) if one.account == account), None)
    if known is not None:
        return forms.leads_to(f"/settings/installations/{known.id}")
    return _choosing(world, app, account, state, "", 200)


def install(world: World, request: Request, slug: str) -> Response:
    app = _app(world, slug)
    if not forms.genuine(request, world.control_token):
        return _stale()
    account, state = request.form.get("account", ""), request.form.get("state", "")
    if account not in _accounts(world, app):
        raise not_found()
    chosen = _chosen(world, request, account)
    if chosen == []:
        return _choosing(world, app, account, state, "Select at least one repository.", 422)
    with world.apps.lock:
        known = next((one for one in world.apps.installations(app) if one.account == account), None)
        if known is not None:  # the button was pressed twice
            return _onwards(world, app, known, "install", state)
        if app.id == world.config.app_id:
            world.apps.chosen = None if chosen is None else chosen
            world.remove(False)
            made = world.apps.installations(app)[0]
        else:
            made = world.apps.install(app, account, chosen)
            covered = [_short(one) for one in world.repositories_of(made)]
            world.tell_installation(made, "created", repositories=covered, requester=None)
    return _onwards(world, app, made, "install", state)


def settings(world: World, request: Request, number: int, org: str = "") -> Response:
    installation, app = _installation(world, number)
    return _settings(world, installation, app, "")


def change(world: World, request: Request, number: int, org: str = "") -> Response:
    """Save the repositories, suspend, take up again or uninstall."""
    installation, app = _installation(world, number)
    if not forms.genuine(request, world.control_token):
        return _stale()
    wanted = request.form.get("do", "")
    if wanted == "save":
        chosen = _chosen(world, request, installation.account)
        if chosen == []:
            return _settings(world, installation, app, "Select at least one repository.")
        installation = _save(world, installation, chosen)
        if app.setup_url and app.setup_on_update:
            return _onwards(world, app, installation, "update", "")
    elif wanted in ("suspend", "unsuspend"):
        _suspend(world, installation, suspended=wanted == "suspend")
    elif wanted == "uninstall":
        _uninstall(world, installation)
        return forms.shown(
            "Uninstalled", f"<p>{escape(app.name)} is no longer installed on {escape(installation.account)}.</p>"
        )
    return forms.leads_to(f"/settings/installations/{number}")


def _save(world: World, installation: Installation, chosen: list[str] | None) -> Installation:
    before = {one.full_name: one for one in world.repositories_of(installation)}
    if world.apps.made(installation):
        changed = world.apps.change(installation, repositories=chosen)
    else:
        world.apps.chosen = chosen
        changed = world.apps.installations(world.apps.first)[0]
    after = {one.full_name: one for one in world.repositories_of(changed)}
    added = [_short(after[name]) for name in after if name not in before]
    removed = [_short(before[name]) for name in before if name not in after]
    for action, listed in (("added", added), ("removed", removed)):
        if listed:
            facts: JSON = {
                "repository_selection": "all" if chosen is None else "selected",
                "repositories_added": listed if action == "added" else [],
                "repositories_removed": listed if action == "removed" else [],
                "requester": None,
            }
            world.tell_installation(changed, action, "installation_repositories", **facts)
    return changed


def _suspend(world: World, installation: Installation, *, suspended: bool) -> None:
    if not world.apps.made(installation):
        world.faults.suspended = suspended  # the fault that does the same, so that it shows and can lift it
        world.suspend(suspended)
    elif suspended != bool(installation.suspended_at):
        changed = world.apps.change(installation, suspended_at=iso(now()) if suspended else None)
        world.tell_installation(changed, "suspend" if suspended else "unsuspend")


def _uninstall(world: World, installation: Installation) -> None:
    if not world.apps.made(installation):
        world.faults.removed = True
        world.remove(True)
        return
    world.apps.remove(installation)
    world.auth.forget(installation.id)
    world.tell_installation(installation, "deleted")


def _onwards(world: World, app: App, installation: Installation, action: str, state: str) -> Response:
    """Lead the browser to the App's setup page, or to our own of the installation."""
    if not app.setup_url:
        return forms.leads_to(f"/settings/installations/{installation.id}")
    more = {"installation_id": str(installation.id), "setup_action": action} | ({"state": state} if state else {})
    return forms.leads_to(with_query(app.setup_url, more))


def _app(world: World, slug: str) -> App:
    app = world.apps.app_by_slug(slug)
    if app is None:
        raise not_found()
    return app


def _installation(world: World, number: int) -> tuple[Installation, App]:
    installation = world.apps.installation(number)
    app = world.apps.app(installation.app_id) if installation else None
    if installation is None or app is None:
        raise not_found()
    return installation, app


def _accounts(world: World, app: App) -> list[str]:
    """Return the owners of repositories on whose account an App can be installed."""
    owners = sorted({one.owner for one in world.repositories.values()})
    if app.id == world.config.app_id:
        return [world.config.account]
    return owners if app.public else [one for one in owners if one.lower() == app.owner.lower()]


def _chosen(world: World, request: Request, account: str) -> list[str] | None:
    """Return the repositories that a form names, None for all."""
    if request.form.get("selection") == "all":
        return None
    named = set(request.form.getlist("repository"))
    return [one.full_name for one in _of_account(world, account) if one.full_name in named]


def _of_account(world: World, account: str) -> list[Repository]:
    return [one for one in world.repositories.values() if one.owner.lower() == account.lower()]


def _short(repository: Repository) -> JSON:
    return {
        "id": repository.id,
        "node_id": node_id("R", repository.id),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": True,
    }


def _fields(world: World, account: str, chosen: list[str] | None) -> str:
    boxes = ""
    for one in _of_account(world, account):
        mark = " checked" if chosen is not None and one.full_name in chosen else ""
        name = escape(one.full_name)
        boxes += f'<label><input type=checkbox name=repository value="{name}"{mark}> {name}</label>'
    every, some = (" checked", "") if chosen is None else ("", " checked")
    return (
        f"<fieldset><legend>Repository access</legend>"
        f"<label><input type=radio name=selection value=all{every}> All repositories</label>"
        f"<label><input type=radio name=selection value=selected{some}> Only select repositories</label>"
        f"{boxes}</fieldset>"
    )


def _choosing(world: World, app: App, account: str, state: str, wrong: str, status: int) -> Response:
    levels = "".join(f"<li>{escape(name)}: {escape(level)}</li>" for name, level in sorted(app.permissions.items()))
    inner = _fields(world, account, None) + (f"<p class=bad role=alert>{escape(wrong)}</p>" if wrong else "")
    path = f"{world.render.app_page(app)}/installations/new".removeprefix(world.config.base_url)
    return forms.shown(
        f"Install {app.name} on {account}",
        forms.form(world.control_token, path, inner + "<button>Install</button>", {"account": account, "state": state})
        + f"<h2>Permissions</h2><ul>{levels}</ul>",
        status,
    )


def _settings(world: World, installation: Installation, app: App, wrong: str) -> Response:
    secret, path = world.control_token, f"/settings/installations/{installation.id}"

    def button(do: str, text: str) -> str:
        return forms.form(secret, path, f"<button>{text}</button>", {"do": do})

    suspended = bool(installation.suspended_at)
    save = _fields(world, installation.account, installation.repositories)
    save += f"<p class=bad role=alert>{escape(wrong)}</p>" if wrong else ""
    return forms.shown(
        f"{app.name} on {installation.account}",
        f"<p>Installation {installation.id}{', suspended' if suspended else ''}.</p>"
        + forms.form(secret, path, save + "<button>Save</button>", {"do": "save"})
        + (button("unsuspend", "Unsuspend") if suspended else button("suspend", "Suspend"))
        + button("uninstall", "Uninstall"),
        422 if wrong else 200,
    )


def _stale() -> Response:
    return forms.shown("This form is not ours", "<p>Go back, load the page again and repeat what you did.</p>", 403)


_PAGES = [
    ("GET", "/<slug>", landing),
    ("GET", "/<slug>/installations/new", choose),
    ("POST", "/<slug>/installations/new", install),
]
_SETTINGS = "settings/installations/<int:number>"
RULES = [
    *((method, f"/{folder}{path}", handler) for folder in ("apps", "github-apps") for method, path, handler in _PAGES),
    ("GET", f"/{_SETTINGS}", settings),
    ("POST", f"/{_SETTINGS}", change),
    ("GET", f"/organizations/<org>/{_SETTINGS}", settings),
    ("POST", f"/organizations/<org>/{_SETTINGS}", change),
]
