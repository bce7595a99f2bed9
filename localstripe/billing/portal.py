"""The billing portal's configurations and sessions. Source: https://docs.stripe.com/api/customer_portal"""

from typing import Any

from localstripe.errors import ApiError
from localstripe.lists import paged
from localstripe.params import LISTED, Bool, Enum, Hash, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

OPENED_WITHIN = 300  # seconds in which a session's page must be opened first
LASTS = 3600  # seconds after it was last seen
FLOW = Hash(
    {
        "after_completion": Hash(
            {
                "redirect": Hash({"return_url": Url(required=True)}),
                "type": Enum("hosted_confirmation", "portal_homepage", "redirect", required=True),
            }
        ),
        "type": Enum("payment_method_update", required=True),
    }
)
FEATURES = Hash(
    {
        "customer_update": Hash({"allowed_updates": List(Text(), clear=True), "enabled": Bool()}),
        "invoice_history": Hash({"enabled": Bool(required=True)}),
        "payment_method_update": Hash({"enabled": Bool(required=True)}),
        "subscription_cancel": Hash({"enabled": Bool(required=True)}),
        "subscription_update": Hash({"enabled": Bool(required=True)}),
    }
)
FIELDS: dict[str, Kind] = {
    "business_profile": Hash(
        {
            "headline": Text(clear=True, most=60),
            "privacy_policy_url": Url(clear=True),
            "terms_of_service_url": Url(clear=True),
        }
    ),
    "default_return_url": Url(clear=True),
    "features": FEATURES,
    "metadata": Metadata(),
    "name": Text(clear=True),
}


def features(given: Obj, before: Obj | None = None) -> Obj:
    usual: dict[str, Any] = before or {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "options": []},
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {
            "duration": {"interval_options": [], "type": "indefinite"},
            "enabled": False,
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": [],
            "enabled": False,
            "products": [],
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }
    return {name: {**part, **given.get(name, {})} for name, part in usual.items()}


def make_configuration(world: World, given: Obj, *, default: bool = False) -> Obj:
    return world.new(
        "billing_portal.configuration",
        "bpc",
        active=True,
        application=None,
        business_profile={
            **dict.fromkeys(("headline", "privacy_policy_url", "terms_of_service_url")),
            **given.get("business_profile", {}),
        },
        default_return_url=given.get("default_return_url"),
        features=features(given["features"]),
        is_default=default,
        login_page={"enabled": False, "url": None},
        metadata=merged_metadata({}, given.get("metadata", {})),
        name=given.get("name"),
        updated=world.clock.now(),
    )


def default_configuration(world: World) -> Obj:
    """Return what is used where no configuration is named; at Stripe someone saves it in the dashboard first."""
    found = next(world.store.all("billing_portal.configuration", is_default=True), None)
    every = {"invoice_history": {"enabled": True}, "payment_method_update": {"enabled": True}}
    return found or make_configuration(world, {"features": every}, default=True)


@api("POST", "/v1/billing_portal/configurations", {**FIELDS, "features": Hash(FEATURES.fields, required=True)})
def create_configuration(call: Call) -> Obj:
    configuration = make_configuration(call.world, call.params)
    call.world.emit("billing_portal.configuration.created", configuration)
    return configuration


@api("GET", "/v1/billing_portal/configurations", {**LISTED, "active": Bool(), "is_default": Bool()})
def list_configurations(call: Call) -> Obj:
    default_configuration(call.world)
    equal = {name: call.get(name) for name in ("active", "is_default")}
    return paged(call, call.world.store.all("billing_portal.configuration", **equal))


@api("GET", "/v1/billing_portal/configurations/<id>")
def retrieve_configuration(call: Call, id: str) -> Obj:
    return call.world.store.get("billing_portal.configuration", id)


@api("POST", "/v1/billing_portal/configurations/<id>", {**FIELDS, "active": Bool()})
def update_configuration(call: Call, id: str) -> Obj:
    world = call.world
    configuration = world.store.get("billing_portal.configuration", id)
    with world.updating(configuration, "billing_portal.configuration.updated"):
        for name, value in call.params.items():
            if name == "features":
                configuration["features"] = features(value, configuration["features"])
            elif name == "business_profile":
                configuration["business_profile"] = {**configuration["business_profile"], **value}
            else:
                configuration[name] = merged_metadata(configuration["metadata"], value) if name == "metadata" else value
        configuration["updated"] = world.clock.now()
    return configuration


@api(
    "POST",
    "/v1/billing_portal/sessions",
    {
        "configuration": Text(),
        "customer": Text(required=True),
        "flow_data": FLOW,
        "locale": Text(),
        "return_url": Url(),
    },
)
def create_session(call: Call) -> Obj:
    world = call.world
    customer = world.store.customer(call["customer"], "customer")
    if "configuration" in call.params:
        kind = "billing_portal.configuration"
        configuration = world.store.get(kind, call["configuration"], "configuration")
    else:
        configuration = default_configuration(world)
    if not configuration["active"]:
        raise ApiError(400, "The configuration is inactive.", param="configuration")
    flow = call.get("flow_data")
    session = world.new(
        "billing_portal.session",
        "bps",
        configuration=configuration["id"],
        customer=customer["id"],
        customer_account=None,
        flow=_flow(flow) if flow else None,
        locale=call.get("locale"),
        on_behalf_of=None,
        return_url=call.get("return_url", configuration["default_return_url"]),
        url="",
        _until=world.clock.now() + OPENED_WITHIN,
    )
    session["url"] = f"{world.config.base_url}/p/session/{session['id']}"
    world.emit("billing_portal.session.created", session)
    return session


def _flow(given: Obj) -> Obj:
    after = given.get("after_completion", {"type": "portal_homepage"})
    return {
        "after_completion": {"hosted_confirmation": None, "redirect": None, **after},
        **dict.fromkeys(("subscription_cancel", "subscription_update", "subscription_update_confirm")),
        "type": given["type"],
    }
