"""Routes of disputes, and how a test opens and decides them."""

from werkzeug.wrappers import Request, Response

from localstripe.control import answer, body_of
from localstripe.errors import ApiError
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, Bool, Hash, Metadata, Text, merged_metadata
from localstripe.routing import Call, api, page
from localstripe.store import Obj, public
from localstripe.world import World

from . import disputing


@api("GET", "/v1/disputes", {**LISTED, **CREATED, "charge": Text(), "payment_intent": Text()})
def list_disputes(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("charge", "payment_intent")}
    return paged(call, call.world.store.all("dispute", **equal))


@api("GET", "/v1/disputes/<id>")
def retrieve_dispute(call: Call, id: str) -> Obj:
    return call.world.store.get("dispute", id)


EVIDENCE = Hash({name: Text(clear=True, most=20_000) for name in disputing.EVIDENCE})


@api("POST", "/v1/disputes/<id>", {"evidence": EVIDENCE, "metadata": Metadata(), "submit": Bool()})
def update_dispute(call: Call, id: str) -> Obj:
    world, dispute = call.world, call.world.store.get("dispute", id)
    evidence = call.get("evidence", {})
    if evidence and dispute["status"] not in disputing.OPEN:
        raise ApiError(400, "This dispute is already closed.")
    with world.updating(dispute, "charge.dispute.updated"):
        dispute["metadata"] = merged_metadata(dispute["metadata"], call.get("metadata", {}))
        if evidence:
            dispute["evidence"] = {**dispute["evidence"], **evidence}
            submitted = call.get("submit", True)
            dispute["evidence_details"] = {
                **dispute["evidence_details"],
                "has_evidence": True,
                "submission_count": dispute["evidence_details"]["submission_count"] + submitted,
                "submission_method": "manual" if submitted else "not_submitted",
            }
            if submitted and dispute["status"].endswith("needs_response"):
                dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    # Stripe's own way to decide a dispute in test mode.
    if evidence.get("uncategorized_text") in ("winning_evidence", "losing_evidence"):
        disputing.close(world, dispute, won=evidence["uncategorized_text"] == "winning_evidence")
    return dispute


@api("POST", "/v1/disputes/<id>/close")
def close_dispute(call: Call, id: str) -> Obj:
    dispute = call.world.store.get("dispute", id)
    disputing.close(call.world, dispute, won=False)
    return dispute


@page("POST", "/_local/disputes")
def open_dispute(world: World, request: Request) -> Response:
    """{payment_intent or charge, amount?, reason?, inquiry?}: the cardholder objects."""
    asked = body_of(request)
    with world.lock:
        charge_id = asked.get("charge")
        if "payment_intent" in asked:
            intent = world.store.get("payment_intent", str(asked["payment_intent"]))
            charge_id = intent["latest_charge"]
        charge = world.store.get("charge", str(charge_id))
        more = {name: asked[name] for name in ("reason", "amount", "inquiry") if asked.get(name) is not None}
        return answer(public(disputing.open_one(world, charge, **more)))


@page("POST", "/_local/disputes/<id>")
def decide_dispute(world: World, request: Request, id: str) -> Response:
    """{status: won | lost}: the bank decides."""
    status = body_of(request).get("status")
    if status not in ("won", "lost"):
        return answer({"error": "status is won or lost"}, 422)
    with world.lock:
        dispute = world.store.get("dispute", id)
        disputing.close(world, dispute, won=status == "won")
        return answer(public(dispute))
