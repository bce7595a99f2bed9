"""Stripe's test cards. Source: https://docs.stripe.com/testing

A number is looked up here and then forgotten: what is kept of a card are brand, last four digits, expiry, and which of
these it behaves like.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from localstripe.errors import ApiError

_SALT = secrets.token_bytes(16)


@dataclass(frozen=True)
class TestCard:
    token: str  # pm_card_<token>, and tok_<token> for some
    number: str
    brand: str = "visa"
    country: str = "US"
    funding: str = "credit"
    declines: str = ""  # the decline code of every use
    declines_charges: str = ""  # the same, but the card can be saved
    authenticates: str = ""  # "always", or "unless_set_up": off-session payments pass once it was set up
    set_up: bool = False  # as if it had been, somewhere else
    disputes: str = ""  # the reason of the dispute that follows a charge; "inquiry" begins as a mere inquiry
    refunds: str = ""  # "pending": succeeds some time later; "fails": fails some time later


CARDS = (
    TestCard("visa", "4242424242424242"),
    TestCard("visa_debit", "4000056655665556", funding="debit"),
    TestCard("mastercard", "5555555555554444", brand="mastercard"),
    TestCard("amex", "378282246310005", brand="amex"),
    TestCard("jcb", "3566002020360505", brand="jcb", country="JP"),
    TestCard("gb", "4000008260000000", country="GB"),
    TestCard("de", "4000002760000016", country="DE"),
    TestCard("jp", "4000003920000003", country="JP"),
    TestCard("chargeDeclined", "4000000000000002", declines="generic_decline"),
    TestCard("chargeDeclinedInsufficientFunds", "4000000000009995", declines="insufficient_funds"),
    TestCard("chargeDeclinedLostCard", "4000000000009987", declines="lost_card"),
    TestCard("chargeDeclinedStolenCard", "4000000000009979", declines="stolen_card"),
    TestCard("chargeDeclinedExpiredCard", "4000000000000069", declines="expired_card"),
    TestCard("chargeDeclinedIncorrectCvc", "4000000000000127", declines="incorrect_cvc"),
    TestCard("chargeDeclinedProcessingError", "4000000000000119", declines="processing_error"),
    TestCard("chargeDeclinedVelocityLimitExceeded", "4000000000006975", declines="card_velocity_exceeded"),
    TestCard("chargeCustomerFail", "4000000000000341", declines_charges="generic_decline"),
    TestCard("authenticationRequiredOnSetup", "4000002500003155", country="FR", authenticates="unless_set_up"),
    TestCard("authenticationRequired", "4000002760003184", country="DE", authenticates="always"),
    TestCard(
        "authenticationRequiredSetupForOffSession",
        "4000003800000446",
        country="HR",
        authenticates="unless_set_up",
        set_up=True,
    ),
    TestCard(
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        country="GB",
        authenticates="always",
        declines_charges="insufficient_funds",
    ),
    TestCard("threeDSecure2Required", "4000000000003220", authenticates="always"),
    TestCard("createDispute", "4000000000000259", disputes="fraudulent"),
    TestCard("createDisputeProductNotReceived", "4000000000002685", disputes="product_not_received"),
    TestCard("createDisputeInquiry", "4000000000001976", disputes="inquiry"),
    TestCard("pendingRefund", "4000000000007726", refunds="pending"),
    TestCard("refundFail", "4000000000005126", refunds="fails"),
)
BY_TOKEN = {card.token: card for card in CARDS}
BY_NUMBER = {card.number: card for card in CARDS}

# What Stripe says of a decline code, and which error code it comes with: the code itself, or card_declined.
MESSAGES = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "card_velocity_exceeded": "Your card was declined for making repeated attempts too frequently or exceeding its "
    "amount limit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}
OWN_CODE = {"expired_card", "incorrect_cvc", "processing_error", "authentication_required"}
ADVICE = {"insufficient_funds": "try_again_later", "lost_card": "do_not_try_again", "stolen_card": "do_not_try_again"}


def decline_message(decline_code: str) -> str:
    return MESSAGES.get(decline_code, "Your card was declined.")


def error_code(decline_code: str) -> str:
    return decline_code if decline_code in OWN_CODE else "card_declined"


def fingerprint(number: str) -> str:
    """The same for the same number while this process lives, and no way back to it."""
    return hashlib.blake2b(number.encode(), key=_SALT, digest_size=8).hexdigest()


def typed_in(number: str, expiry: str, cvc: str) -> tuple[TestCard, int, int]:
    """Return the test card that was typed into a hosted page, with its month and year of expiry.

    Raise ApiError with the message for whoever typed.
    """
    digits = "".join(character for character in number if character.isdigit())
    card = BY_NUMBER.get(digits)
    if card is None:
        real = "Your card was declined. Your request was in test mode, but used a non test card."
        raise _wrong(real if _luhn(digits) else "Your card number is invalid.", "incorrect_number")
    month, year = _expiry(expiry)
    now = datetime.now(UTC)
    if (year, month) < (now.year, now.month):
        raise _wrong("Your card's expiration date is in the past.", "invalid_expiry_year")
    if not (cvc.isdigit() and len(cvc) in (3, 4)):
        raise _wrong("Your card's security code is invalid.", "invalid_cvc")
    return card, month, year


def _expiry(text: str) -> tuple[int, int]:
    month, _, year = text.replace(" ", "").partition("/")
    if not (month.isdigit() and year.isdigit() and 1 <= int(month) <= 12 and len(year) in (2, 4)):
        raise _wrong("Your card's expiration date is incomplete: write it as 12/34.", "invalid_expiry_month")
    return int(month), int(year) + (2000 if len(year) == 2 else 0)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return len(digits) >= 12 and total % 10 == 0


def _wrong(message: str, code: str) -> ApiError:
    return ApiError(402, message, type="card_error", code=code)
