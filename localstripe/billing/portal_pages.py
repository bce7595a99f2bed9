"""The billing portal, /p/session/<id>: cards and invoices of a customer. It works without JavaScript."""

from markupsafe import Markup
from werkzeug.wrappers import Request, Response

from localstripe.errors import ApiError
from localstripe.pages import alert, foreign, html, message, redirect
from localstripe.payments import intents, payment_methods, setup_intents
from localstripe.payments.currencies import written
from localstripe.routing import page
from localstripe.store import Obj
from localstripe.world import World

from .invoice_pages import card_inputs, name_of, typed_card
from .portal import LASTS

GONE = ("This page has expired", "Go back and open the billing portal again.", 410)


def _session(world: World, id: str) -> Obj | None:
    session = world.store.find(id)
    if session is None or session["object"] != "billing_portal.session" or session["_until"] < world.clock.now():
        return None
    session["_until"] = world.clock.now() + LASTS
    return session


@page("GET", "/p/session/<id>")
def show(world: World, request: Request, id: str) -> Response:
    with world.lock:
        session = _session(world, id)
        return _page(world, session) if session else message(*GONE)


@page("POST", "/p/session/<id>")
def act(world: World, request: Request, id: str) -> Response:
    if (refused := foreign(request)) is not None:
        return refused
    form = request.form.to_dict()
    with world.lock:
        session = _session(world, id)
        if session is None:
            return message(*GONE)
        try:
            url = _act(world, session, form)
        except ApiError as error:
            return _page(world, session, error.error["message"])
        return redirect(url)


def _act(world: World, session: Obj, form: dict[str, str]) -> str:
    """Do what a button asks for; return where to go."""
    here = f"/p/session/{session['id']}"
    if form.get("action") == "add":
        return _add(world, session, form, here)
    method = payment_methods.usable(world, form.get("card", ""), session["customer"])
    if method["customer"] != session["customer"]:
        raise ApiError(400, "That card is not saved.")
    if form.get("action") == "remove":
        payment_methods.detach_from(world, method)
    else:
        make_default(world, session["customer"], method["id"])
    return here


def _add(world: World, session: Obj, form: dict[str, str], here: str) -> str:
    method = typed_card(world, form)
    intent = setup_intents.make(world, customer=session["customer"], _portal=session["id"])
    setup_intents.confirm(world, intent, method["id"], return_url=world.config.base_url + here)
    if intent["status"] == "requires_action":
        return str(intent["next_action"]["redirect_to_url"]["url"])
    after = (session["flow"] or {}).get("after_completion", {})
    return str(after["redirect"]["return_url"]) if after.get("redirect") else here


def make_default(world: World, customer_id: str, method_id: str) -> None:
    customer = world.store.get("customer", customer_id)
    with world.updating(customer, "customer.updated"):
        customer["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": method_id}


def _after_setup(world: World, intent: Obj) -> None:
    """A card that was added here is what the next invoice is paid with."""
    if intent.get("_portal") and intent["status"] == "succeeded":
        make_default(world, intent["customer"], intent["payment_method"])


intents.AFTERWARDS.append(_after_setup)


def _page(world: World, session: Obj, problem: str = "") -> Response:
    configuration = world.store.get("billing_portal.configuration", session["configuration"])
    allowed = configuration["features"]
    body = Markup("<h1>Billing</h1>") + alert(problem)
    if headline := configuration["business_profile"]["headline"]:
        body += Markup("<p>{}</p>").format(headline)
    if allowed["payment_method_update"]["enabled"]:
        body += _cards(world, session)
    if allowed["invoice_history"]["enabled"]:
        body += _invoices(world, session)
    if session["return_url"]:
        body += Markup('<p><a href="{}">Return</a></p>').format(session["return_url"])
    return html("Billing", body, 402 if problem else 200)


def _cards(world: World, session: Obj) -> Markup:
    customer = world.store.get("customer", session["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    rows = Markup("")
    for method in world.store.all("payment_method", customer=session["customer"]):
        mark = " (default)" if method["id"] == default else ""
        rows += Markup("<p>{}{}</p>").format(name_of(method), mark)
        if not mark:
            rows += _button(session, "default", method, "Make default")
        rows += _button(session, "remove", method, "Remove")
    return Markup(
        "<h2>Cards</h2>{}<h2>Add a card</h2>"
        '<form method="post" action="/p/session/{}">{}<button name="action" value="add">Add card</button></form>'
    ).format(rows or Markup("<p>No card is saved.</p>"), session["id"], card_inputs())


def _button(session: Obj, action: str, method: Obj, text: str) -> Markup:
    return Markup(
        '<form method="post" action="/p/session/{}"><input type="hidden" name="card" value="{}">'
        '<button class="second" name="action" value="{}" aria-label="{}">{}</button></form>'
    ).format(session["id"], method["id"], action, f"{text}: {name_of(method)}", text)


def _invoices(world: World, session: Obj) -> Markup:
    rows = Markup("")
    for invoice in world.store.all("invoice", customer=session["customer"]):
        if invoice["status"] != "draft":
            rows += Markup('<tr><td><a href="{}">{}</a></td><td>{}</td><td>{}</td></tr>').format(
                f"/i/{invoice['id']}",
                invoice["number"],
                written(invoice["total"], invoice["currency"]),
                invoice["status"],
            )
    return Markup("<h2>Invoices</h2>") + (
        Markup("<table>{}</table>").format(rows) if rows else Markup("<p>There is none yet.</p>")
    )
