from . import (
    closing,
    endpoints,
    invoice_pages,
    invoices,
    meter_events,
    meters,
    portal,
    portal_pages,
    prices,
    products,
    subscriptions,
    thin,
)

MODULES = (
    *(closing, endpoints, invoice_pages, invoices, meter_events, meters),
    *(portal, portal_pages, prices, products, subscriptions, thin),
)
