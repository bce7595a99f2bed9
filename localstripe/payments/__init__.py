"""Cards, what is taken from them, and what goes back."""

from . import (
    balance,
    bank_page,
    charges,
    checkout,
    checkout_pages,
    customers,
    disputes,
    payment_intents,
    payment_methods,
    receipts,
    refunds,
    setup_intents,
)

MODULES = (
    *(balance, bank_page, charges, checkout, checkout_pages, customers, disputes, payment_intents, payment_methods),
    *(receipts, refunds, setup_intents),
)
