"""What can go wrong for a caller who pays by Stripe."""

from core.errors import SpellError


class NoCard(SpellError):
    """The account has no saved card, and this needs one."""

    code, status, title = "NO_CARD", 409, "No saved card"


class AmountRefused(SpellError):
    """An amount that no card can be charged."""

    code, status, title = "TOPUP_AMOUNT", 422, "Amount not possible"


class PaysByInvoice(SpellError):
    """The account is metered, and this is for those that top up."""

    code, status, title = "PAYS_BY_INVOICE", 409, "Pays by invoice"


class TopUpUnderWay(SpellError):
    """The saved card is being charged already."""

    code, status, title = "TOPUP_UNDER_WAY", 409, "A top-up is under way"


class RefundRefused(SpellError):
    """More than there is to give back."""

    code, status, title = "REFUND_REFUSED", 409, "Refund refused"


class PaymentsUnavailable(SpellError):
    """Stripe does not answer, or not to us."""

    code, status, title = "PAYMENTS_UNAVAILABLE", 503, "Payments are not available"


class BillingOff(SpellError):
    """This installation takes no money."""

    code, status, title = "BILLING_OFF", 404, "Billing is off"


class NotBilled(SpellError):
    """An operator has not turned billing on for the account."""

    code, status, title = "NOT_BILLED", 409, "Account is not billed"


class TopUpNotFound(SpellError):
    """No such top-up of this account."""

    code, status, title = "TOPUP_NOT_FOUND", 404, "Top-up not found"


class NotCancelled(SpellError):
    """A top-up that nobody can cancel: its card is being charged."""

    code, status, title = "TOPUP_NOT_CANCELLED", 409, "Top-up not cancelled"


class TooManyTopUps(SpellError):
    """As many top-ups are under way as may be."""

    code, status, title = "TOO_MANY_TOPUPS", 409, "Too many open top-ups"


class TooManyDeclines(SpellError):
    """So many top-ups failed within the hour that the next has to wait: nobody shall try cards here."""

    code, status, title = "TOO_MANY_DECLINES", 429, "Too many failed top-ups"


class KeyReused(SpellError):
    """The Idempotency-Key has been used for another top-up."""

    code, status, title = "IDEMPOTENCY_KEY_REUSED", 422, "Idempotency-Key used for another request"
