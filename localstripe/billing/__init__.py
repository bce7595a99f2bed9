"""Usage, what it costs, and what is sent where."""

from . import endpoints, meter_events, meters, prices, products, thin

MODULES = (endpoints, meter_events, meters, prices, products, thin)
