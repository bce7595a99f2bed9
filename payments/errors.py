"""What can go wrong for a caller who pays by Stripe."""

from core.errors import SpellError


class NoCard(SpellError):
    """The account has no saved card, and this needs one."""

    code, status, title = "NO_CARD", 409, "No saved card"


class AmountRefused(SpellError):
    """An amount that no card can be charged."""

    code, status, title = "AMOUNT_REFUSED", 422, "Amount not possible"


class TopUpUnderWay(SpellError):
    """The saved card is being charged already."""

    code, status, title = "TOPUP_UNDER_WAY", 409, "A top-up is under way"


class RefundRefused(SpellError):
    """More than there is to give back."""

    code, status, title = "REFUND_REFUSED", 409, "Refund refused"


class PaymentsUnavailable(SpellError):
    """Stripe does not answer, or not to us."""

    code, status, title = "PAYMENTS_UNAVAILABLE", 503, "Payments are not available"
