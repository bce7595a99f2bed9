"""The operator's view of money: who pays how, what was paid and given back, and what Stripe told."""

from payments.admin import customers, events, invoicing, topups

__all__ = ["customers", "events", "invoicing", "topups"]
