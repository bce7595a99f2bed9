"""Money that comes in: cards, top-ups and invoices by Stripe. It reads the ledger, and knows no cast."""
