"""What members read when a card was not charged."""

from __future__ import annotations

# Who asks for these cards may be a thief: Stripe wants it told as any other decline.
# Source: https://docs.stripe.com/declines/codes
SECRET = frozenset(["fraudulent", "lost_card", "merchant_blacklist", "pickup_card", "restricted_card", "stolen_card"])
GENERIC = "generic_decline"
ANOTHER_CARD = "The card was declined. Ask its bank why, or use another card."
LIMIT = "The card has reached a limit of its bank. Use another card, or try again later."
PLAIN = {
    "authentication_required": "The card's bank wants its holder to confirm the payment. Open the link to do so.",
    "approve_with_id": "The card's bank could not approve the payment. Try again, or ask the bank.",
    "card_not_supported": "The card can't be used for this kind of payment. Use another card.",
    "card_velocity_exceeded": LIMIT,
    "currency_not_supported": "The card can't pay in this currency. Use another card.",
    "expired_card": "The card has expired. Save another card.",
    "incorrect_cvc": "The card's security code is wrong. Enter the card again.",
    "insufficient_funds": "There is not enough money on the card's account. Use another card, or try again later.",
    "issuer_not_available": "The card's bank could not be reached. Try again later.",
    "processing_error": "The card could not be charged just now. Try again.",
    "try_again_later": "The card could not be charged just now. Try again later.",
    "withdrawal_count_limit_exceeded": LIMIT,
    # Of our own, or of requests rather than cards.
    "expired": "Nobody paid on Stripe's page in time. Nothing was charged.",
    "canceled": "The payment was cancelled. Nothing was charged.",
    "unreachable": "Stripe could not be reached for a day. Nothing was charged.",
    "card_gone": "The saved card is not there any more. Save a card.",
    "switched_off": "Automatic top-ups were switched off before this one was charged.",
    "amount_too_small": "The amount is less than a card can be charged. Choose a larger one.",
    "amount_too_large": "The amount is more than a card can be charged. Choose a smaller one.",
    "refused": "Stripe refused the payment. Nothing was charged; the operator can see why.",
}


def told_code(decline_code: str) -> str:
    """Return the code that may be shown for a decline."""
    return GENERIC if decline_code in SECRET else decline_code


def declined(code: str, decline_code: str = "") -> str:
    return PLAIN.get(decline_code) or PLAIN.get(code) or ANOTHER_CARD
