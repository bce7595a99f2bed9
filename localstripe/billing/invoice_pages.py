"""The page of an invoice, /i/<id>, where it can be paid, and its PDF."""

from markupsafe import Markup
from werkzeug.wrappers import Request, Response

from localstripe.errors import ApiError
from localstripe.pages import alert, foreign, html, message, redirect
from localstripe.payments import cards, payment_methods
from localstripe.payments.currencies import written
from localstripe.routing import page
from localstripe.store import Obj
from localstripe.world import World

from . import invoicing

CARD_FIELDS = (
    ("number", "Card number", "cc-number"),
    ("expiry", "Expiry (MM/YY)", "cc-exp"),
    ("cvc", "CVC", "cc-csc"),
)


def card_inputs() -> Markup:
    """Return fields for a card; what was typed into them is never sent back."""
    rows = Markup("")
    for name, label, complete in CARD_FIELDS:
        rows += Markup(
            '<label for="{0}">{1}</label><input id="{0}" name="{0}" autocomplete="{2}" inputmode="numeric">'
        ).format(name, label, complete)
    return rows


def typed_card(world: World, form: dict[str, str]) -> Obj:
    """Return a new payment method of the card that was typed in. Raise ApiError with what is wrong with it."""
    card, month, year = cards.typed_in(form.get("number", ""), form.get("expiry", ""), form.get("cvc", ""))
    return payment_methods.make(world, card, month=month, year=year, allow_redisplay="always")


def name_of(method: Obj) -> str:
    card = method["card"]
    return f"{card['brand'].title()} ending in {card['last4']}, {card['exp_month']:02}/{card['exp_year'] % 100:02}"


@page("GET", "/i/<id>")
def show(world: World, request: Request, id: str) -> Response:
    with world.lock:
        invoice = _invoice(world, id)
        return _page(world, invoice) if invoice else _none()


def _invoice(world: World, id: str) -> Obj | None:
    found = world.store.find(id)
    return found if found is not None and found["object"] == "invoice" and found["status"] != "draft" else None


def _none() -> Response:
    return message("No such invoice", "The local Stripe has no such invoice.", 404)


@page("POST", "/i/<id>")
def pay(world: World, request: Request, id: str) -> Response:
    if (refused := foreign(request)) is not None:
        return refused
    with world.lock:
        invoice = _invoice(world, id)
        if invoice is None:
            return _none()
        if invoice["status"] not in ("open", "uncollectible"):
            return _page(world, invoice)
        try:
            method = _chosen(world, invoice, request.form.to_dict())
            invoicing.collect(world, invoice, method["id"], off_session=False)
        except ApiError as error:
            return _page(world, invoice, error.error["message"])
        intent = invoicing.intent_of(world, invoice)
        if intent["status"] == "requires_action":
            return redirect(intent["next_action"]["redirect_to_url"]["url"])
        problem = intent["last_payment_error"] if intent["status"] != "succeeded" else None
        return _page(world, invoice, problem["message"]) if problem else redirect(f"/i/{id}")


def _chosen(world: World, invoice: Obj, form: dict[str, str]) -> Obj:
    if (id := form.get("card")) and id != "new":
        return payment_methods.usable(world, id, invoice["customer"])
    return typed_card(world, form)


def _page(world: World, invoice: Obj, problem: str = "") -> Response:
    currency = invoice["currency"]
    body = Markup("<h1>Invoice {}</h1>").format(invoice["number"]) + alert(problem)
    rows = Markup("")
    for line in invoice["lines"]["data"]:
        rows += Markup("<tr><td>{}</td><td>{}</td></tr>").format(line["description"], written(line["amount"], currency))
    rows += Markup("<tr><td>Total</td><td>{}</td></tr>").format(written(invoice["total"], currency))
    if invoice["amount_due"] != invoice["total"]:
        rows += Markup("<tr><td>To pay now</td><td>{}</td></tr>").format(written(invoice["amount_due"], currency))
    body += Markup('<table>{}</table><p>This invoice is {}.</p><p><a href="/i/{}/pdf">PDF</a></p>').format(
        rows, invoice["status"], invoice["id"]
    )
    if invoice["status"] in ("open", "uncollectible"):
        body += _form(world, invoice)
    return html(f"Invoice {invoice['number']}", body, 402 if problem else 200)


def _form(world: World, invoice: Obj) -> Markup:
    choices = Markup("")
    for method in world.store.all("payment_method", customer=invoice["customer"]):
        choices += Markup(
            '<label class="inline"><input type="radio" name="card" value="{}" checked> {}</label>'
        ).format(method["id"], name_of(method))
    if choices:
        choices += Markup('<label class="inline"><input type="radio" name="card" value="new"> Another card</label>')
    amount = written(invoice["amount_remaining"], invoice["currency"])
    return Markup('<form method="post" action="/i/{}">{}{}<button type="submit">Pay {}</button></form>').format(
        invoice["id"], choices, card_inputs(), amount
    )


@page("GET", "/i/<id>/pdf")
def pdf(world: World, request: Request, id: str) -> Response:
    with world.lock:
        invoice = _invoice(world, id)
        if invoice is None:
            return _none()
        currency = invoice["currency"]
        text = [f"Invoice {invoice['number']}", ""]
        text += [f"{line['description']}: {written(line['amount'], currency)}" for line in invoice["lines"]["data"]]
        text += [f"Total: {written(invoice['total'], currency)} ({invoice['status']})", "Local Stripe: no money moves."]
    name = {"Content-Disposition": f'attachment; filename="Invoice-{invoice["number"]}.pdf"'}
    return Response(_pdf(text), headers=name, content_type="application/pdf")


def _pdf(lines: list[str]) -> bytes:
    """Return a page of text as the smallest PDF that readers open."""
    escaped = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines]
    shown = "BT /F1 12 Tf 72 770 Td 18 TL " + " ".join(f"({line}) Tj T*" for line in escaped) + " ET"
    stream = shown.encode("cp1252", "replace")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    written_so_far, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(written_so_far))
        written_so_far += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written_so_far))
    return written_so_far + head + table + tail
