"""The page of a Checkout session, /c/pay/<id>: takes a test card, by a plain form."""

from typing import Any

from markupsafe import Markup
from werkzeug.wrappers import Request, Response

from localstripe.errors import ApiError
from localstripe.pages import alert, foreign, html, message, redirect
from localstripe.routing import page
from localstripe.store import Obj
from localstripe.world import World

from . import cards, customers, intents, payment_methods, setup_intents
from .checkout import expire
from .currencies import written

TRY = ("visa", "chargeDeclined", "chargeDeclinedInsufficientFunds", "chargeDeclinedExpiredCard", "chargeCustomerFail")
TRY_MORE = ("authenticationRequired", "authenticationRequiredOnSetup", "createDispute", "refundFail")
NOTHING, NUMERIC = Markup(""), Markup('inputmode="numeric"')
NEW = "new"  # the choice of a new card over a saved one


@page("GET", "/c/pay/<id>")
def show(world: World, request: Request, id: str) -> Response:
    with world.lock:
        session = _session(world, id)
        return _closed(session) or _form(world, session)


@page("POST", "/c/pay/<id>")
def submit(world: World, request: Request, id: str) -> Response:
    if (refused := foreign(request)) is not None:
        return refused
    form = request.form.to_dict()
    with world.lock:
        session = _session(world, id)
        if (closed := _closed(session)) is not None:
            return closed
        try:
            method = _method(world, session, form)
            intent = _pay(world, session, method) if session["mode"] == "payment" else _save(world, session, method)
        except ApiError as error:
            return _form(world, session, error.error["message"], form)
        if intent["status"] == "requires_action":
            return redirect(intent["next_action"]["redirect_to_url"]["url"])
        return redirect(_success(session))


@page("GET", "/c/pay/<id>/return")
def come_back(world: World, request: Request, id: str) -> Response:
    """Whoever was at the bank's page comes back here."""
    with world.lock:
        session = _session(world, id)
        if session["status"] == "complete":
            return redirect(_success(session))
        intent = world.store.find(session["payment_intent"] or session["setup_intent"])
        problem = intent and (intent.get("last_payment_error") or intent.get("last_setup_error"))
        return _closed(session) or _form(world, session, problem["message"] if problem else "")


def _session(world: World, id: str) -> Obj:
    session = world.store.get("checkout.session", id)
    if session["status"] == "open" and session["expires_at"] <= world.clock.now():
        expire(world, session)
    return session


def _closed(session: Obj) -> Response | None:
    if session["status"] == "complete":
        return message("All done", "This was paid or saved already.")
    if session["status"] == "expired":
        return message("This page has expired", "Go back and begin again.", 410)
    return None


def _success(session: Obj) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _method(world: World, session: Obj, form: dict[str, str]) -> Obj:
    """Return the saved card that was chosen, or a new one if its number was typed in, whatever was chosen."""
    if form.get("card", NEW) != NEW and not form.get("number", "").strip():
        for method in _saved(world, session):
            if method["id"] == form["card"]:
                return method
        raise ApiError(402, "This card is not saved any more.", type="card_error")
    card, month, year = cards.typed_in(form.get("number", ""), form.get("expiry", ""), form.get("cvc", ""))
    details = _details(world, session, form)
    keeps = session["mode"] == "setup" or (bool(form.get("save")) and _may_save(session))
    return payment_methods.make(
        world,
        card,
        month=month,
        year=year,
        billing_details={"email": details["email"], "name": details["name"]},
        allow_redisplay="always" if keeps else "limited",
    )


def _details(world: World, session: Obj, form: dict[str, str]) -> Obj:
    customer = world.store.find(session["customer"]) or {}
    email = customer.get("email") or session["customer_email"] or form.get("email") or None
    name = form.get("name") or customer.get("name")
    session["customer_details"] = {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": customer.get("tax_exempt", "none"),
        "tax_ids": [],
    }
    return dict(session["customer_details"])


def _may_save(session: Obj) -> bool:
    return (session["saved_payment_method_options"] or {}).get("payment_method_save") == "enabled"


def _pay(world: World, session: Obj, method: Obj) -> Obj:
    intent = world.store.find(session["payment_intent"])
    if intent is None:
        data: dict[str, Any] = session["_intent_data"]
        future = data.get("setup_future_usage")
        if session["customer"] is None and (future or session["customer_creation"] == "always"):
            session["customer"] = _new_customer(world, session)["id"]
        intent = intents.make(
            world,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=session["customer"],
            metadata=dict(data.get("metadata") or {}),
            _session=session["id"],
            **{name: value for name, value in data.items() if name != "metadata"},
        )
        session["payment_intent"] = intent["id"]
    if method["customer"] is None and method["allow_redisplay"] == "always" and intent["customer"]:
        intent["setup_future_usage"] = intent["setup_future_usage"] or "on_session"
    intents.confirm(world, intent, method["id"], return_url=_return_url(world, session))
    return intent


def _new_customer(world: World, session: Obj) -> Obj:
    details = session["customer_details"] or {}
    return customers.make(world, email=details.get("email"), name=details.get("name"))


def _save(world: World, session: Obj, method: Obj) -> Obj:
    intent = world.store.get("setup_intent", session["setup_intent"])
    setup_intents.confirm(world, intent, method["id"], return_url=_return_url(world, session))
    return intent


def _return_url(world: World, session: Obj) -> str:
    return f"{world.config.base_url}/c/pay/{session['id']}/return"


def _saved(world: World, session: Obj) -> list[Obj]:
    if not session["customer"] or session["mode"] != "payment":
        return []
    wanted = (session["saved_payment_method_options"] or {}).get("allow_redisplay_filters", ["always"])
    found = world.store.all("payment_method", customer=session["customer"])
    return [method for method in found if method["allow_redisplay"] in wanted]


# --- what it looks like --------------------------------------------------------------------------------------------


def _form(world: World, session: Obj, problem: str = "", form: dict[str, str] | None = None) -> Response:
    paying = session["mode"] == "payment"
    title = "Pay" if paying else "Save a card"
    body = Markup("<h1>{}</h1>").format(title) + _items(session) + alert(problem)
    body += Markup('<form method="post" action="/c/pay/{}">').format(session["id"])
    body += _choice(_saved(world, session)) + _inputs(world, session, form or {})
    button = f"Pay {written(session['amount_total'], session['currency'])}" if paying else "Save card"
    body += Markup('<button type="submit">{}</button></form>').format(button)
    if session["cancel_url"]:
        body += Markup('<p><a href="{}">Go back</a></p>').format(session["cancel_url"])
    return html(title, body + _test_cards(), 402 if problem else 200)


def _items(session: Obj) -> Markup:
    rows = Markup("")
    for item in session["_line_items"]:
        amount = written(item["amount_total"], item["currency"])
        rows += Markup("<tr><td>{}</td><td>{}</td></tr>").format(item["description"] or "", amount)
    return Markup("<table>{}</table>").format(rows) if rows else rows


def _choice(saved: list[Obj]) -> Markup:
    if not saved:
        return Markup("")
    rows = Markup("")
    for number, method in enumerate(saved):
        card = method["card"]
        text = f"{card['brand'].title()} ending in {card['last4']}, {card['exp_month']:02}/{card['exp_year'] % 100:02}"
        rows += Markup('<label class="inline"><input type="radio" name="card" value="{}"{}> {}</label>').format(
            method["id"], Markup(" checked") if number == 0 else "", text
        )
    return rows + Markup('<label class="inline"><input type="radio" name="card" value="{}"> A new card</label>').format(
        NEW
    )


def _inputs(world: World, session: Obj, form: dict[str, str]) -> Markup:
    customer = world.store.find(session["customer"]) or {}
    rows = Markup("")
    if not (customer.get("email") or session["customer_email"]):
        rows += _input("email", "E-mail", "email", form.get("email", ""))
    # What was typed of a card is never sent back.
    rows += _input("number", "Card number", "cc-number", more=NUMERIC)
    expiry = _input("expiry", "Expiry (MM/YY)", "cc-exp", more=Markup('placeholder="12/34"'))
    cvc = _input("cvc", "CVC", "cc-csc", more=NUMERIC)
    rows += Markup('<div class="row"><div>{}</div><div>{}</div></div>').format(expiry, cvc)
    rows += _input("name", "Name on card", "cc-name", form.get("name", ""))
    if session["mode"] == "payment" and _may_save(session):
        rows += Markup('<label class="inline"><input type="checkbox" name="save" value="1"> Save this card</label>')
    return rows


def _input(name: str, label: str, complete: str, value: str = "", *, more: Markup = NOTHING) -> Markup:
    return Markup(
        '<label for="{name}">{label}</label><input id="{name}" name="{name}" autocomplete="{complete}" '
        'value="{value}" {more}>'
    ).format(name=name, label=label, complete=complete, value=value, more=more)


def _test_cards() -> Markup:
    rows = Markup("")
    for token in TRY + TRY_MORE:
        rows += Markup("<tr><td>{}</td><td>{}</td></tr>").format(cards.BY_TOKEN[token].number, token)
    return Markup(
        "<details><summary>Test cards</summary><p>Any future expiry, any CVC.</p><table>{}</table></details>"
    ).format(rows)
