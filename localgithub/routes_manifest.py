"""From a manifest to an App: the page that asks, and the code's exchange for credentials."""

from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from werkzeug.wrappers import Request, Response

from . import forms, manifest
from .answers import answer_json, not_found
from .apps import App
from .world import World

CONVERT_DOCS = "/apps/apps#create-a-github-app-from-a-manifest"


def ask(world: World, request: Request, org: str = "") -> Response:
    """Show what an App of this manifest would be. It changes nothing, so pages of any origin may send people here."""
    owner = _owner(world, org)
    if owner is None:
        return forms.shown("Not Found", f"<p>There is no organization {escape(org)} here.</p>", 404)
    text = request.form.get("manifest", "")
    try:
        app = manifest.read(text, owner)
    except manifest.BadManifest as error:
        return _bad(error)
    return _asking(world, app, text, request.args.get("state", ""), org, "")


def explain(world: World, request: Request, org: str = "") -> Response:
    return forms.shown(
        "Register new GitHub App",
        "<p>Here Apps are made from manifests alone: send this page a form with the field <code>manifest</code>.</p>",
    )


def create(world: World, request: Request, org: str = "") -> Response:
    """Make the App and lead the browser back to who asked for it, with the code for its credentials."""
    if not forms.genuine(request, world.control_token):
        return _stale()
    owner = _owner(world, org)
    if owner is None:
        raise not_found()
    text, name = request.form.get("manifest", ""), request.form.get("name", "").strip()
    state = request.form.get("state", "")
    try:
        app = manifest.read(text, owner, name)
    except manifest.BadManifest as error:
        return _bad(error)
    with world.apps.lock:
        if wrong := manifest.name_problem(app.name, world.apps.app_by_slug(app.slug) is not None):
            return _asking(world, app, text, state, org, wrong)
        app, code = world.apps.create(app)
    world.ping(app)
    if not app.redirect_url:
        page = escape(world.render.app_page(app))
        return forms.shown(
            f"{app.name} is registered",
            f"<p>Its manifest has no <code>redirect_url</code>. The code for its credentials, good for an hour: "
            f'<code>{code}</code></p><p><a href="{page}">To the App</a></p>',
        )
    return forms.leads_to(with_query(app.redirect_url, {"code": code} | ({"state": state} if state else {})))


def convert(world: World, request: Request, code: str) -> Response:
    """Give an App's credentials, once."""
    found = world.apps.convert(code)
    if found is None:
        raise not_found(CONVERT_DOCS)
    app, pending = found
    secret = {"client_secret": pending.client_secret, "webhook_secret": app.webhook_secret or None, "pem": pending.pem}
    return answer_json(world.render.app(app) | {"client_id": app.client_id, **secret}, 201)


def with_query(address: str, more: dict[str, str]) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(more))))))


def _owner(world: World, org: str) -> str | None:
    """Return the login that an App would belong to: the person's, or that of an organization with repositories."""
    if not org:
        return world.config.person
    owners = {one.owner.lower(): one.owner for one in world.repositories.values()}
    return owners.get(org.lower())


def _asking(world: World, app: App, text: str, state: str, org: str, wrong: str) -> Response:
    levels = "".join(f"<li>{escape(name)}: {escape(level)}</li>" for name, level in sorted(app.permissions.items()))
    events = ", ".join(map(escape, app.events)) or "none"
    facts = {
        "Owner": app.owner,
        "Home page": app.url,
        "Webhook": app.webhook_url or "none",
        "After registration": app.redirect_url or "this server",
        "After installation": app.setup_url or "this server",
        "Who may install it": "everybody" if app.public else f"{app.owner} alone",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    inner = (
        "<label for=name>GitHub App name</label>"
        f'<input type=text id=name name=name required maxlength={manifest.MAX_NAME} value="{escape(app.name)}">'
        + (f"<p class=bad role=alert>{escape(wrong)}</p>" if wrong else "")
        + "<button>Create GitHub App</button>"
    )
    action = f"/organizations/{org}/settings/apps" if org else "/settings/apps"
    return forms.shown(
        f"Create GitHub App for {app.owner}",
        forms.form(world.control_token, action, inner, {"manifest": text, "state": state})
        + f"<dl>{listed}</dl><h2>Permissions</h2><ul>{levels}</ul><p>Events: {events}</p>",
        422 if wrong else 200,
    )


def _bad(error: manifest.BadManifest) -> Response:
    listed = "".join(f"<li>{escape(one)}</li>" for one in error.problems)
    return forms.shown(
        "Invalid GitHub App configuration",
        f"<p>The configuration does not appear to be a valid GitHub App manifest.</p><ul class=bad>{listed}</ul>",
        422,
    )


def _stale() -> Response:
    return forms.shown("This form is not ours", "<p>Go back, load the page again and repeat what you did.</p>", 403)


RULES = [
    ("GET", "/settings/apps/new", explain),
    ("POST", "/settings/apps/new", ask),
    ("POST", "/settings/apps", create),
    ("GET", "/organizations/<org>/settings/apps/new", explain),
    ("POST", "/organizations/<org>/settings/apps/new", ask),
    ("POST", "/organizations/<org>/settings/apps", create),
    ("POST", "/app-manifests/<code>/conversions", convert),
]
