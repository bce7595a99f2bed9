"""The bank's page, where whoever pays proves who they are: /3ds/<intent>?key=…"""

import hmac
from urllib.parse import urlencode

from markupsafe import Markup
from werkzeug.wrappers import Request, Response

from localstripe.pages import foreign, html, message, redirect
from localstripe.routing import page
from localstripe.store import Obj
from localstripe.world import World

from . import intents, setup_intents


@page("GET", "/3ds/<id>")
def show(world: World, request: Request, id: str) -> Response:
    with world.lock:
        intent = _intent(world, request, id)
    if intent is None:
        return message("Nothing to do here", "This payment does not wait for you, or not any more.", 410)
    body = Markup(
        "<h1>3D Secure 2 test page</h1><p>Your bank would ask here whether it is you.</p>"
        '<form method="post" action="/3ds/{id}?key={key}">'
        '<button name="outcome" value="complete">Complete authentication</button>'
        '<button class="second" name="outcome" value="fail">Fail authentication</button></form>'
    ).format(id=id, key=request.args["key"])
    return html("3D Secure", body)


@page("POST", "/3ds/<id>")
def decide(world: World, request: Request, id: str) -> Response:
    if (refused := foreign(request)) is not None:
        return refused
    passes = request.form.get("outcome") == "complete"
    with world.lock:
        intent = _intent(world, request, id)
        if intent is None:
            return message("Nothing to do here", "This payment does not wait for you, or not any more.", 410)
        module = intents if intent["object"] == "payment_intent" else setup_intents
        if passes:
            module.authenticated(world, intent)
        else:
            module.fail_authentication(world, intent)
        return _back(intent)


def _intent(world: World, request: Request, id: str) -> Obj | None:
    """Return the intent that waits here, if the key of its link is right."""
    intent = world.store.find(id)
    if intent is None or intent["object"] not in ("payment_intent", "setup_intent"):
        return None
    if intent["status"] != "requires_action":
        return None
    given = request.args.get("key", "")
    return intent if hmac.compare_digest(given.encode(), intent["_action_key"].encode()) else None


def _back(intent: Obj) -> Response:
    url = intent["_return_url"]
    done = intent["status"] == "succeeded"
    if not url:
        return message("Authentication", "Done. You may close this page." if done else "That failed.")
    query = urlencode(
        {
            intent["object"]: intent["id"],
            f"{intent['object']}_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if done else "failed",
        }
    )
    return redirect(f"{url}{'&' if '?' in url else '?'}{query}")
