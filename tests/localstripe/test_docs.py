"""The page about the local Stripe names all that it can be asked for."""

from pathlib import Path

from localstripe import app, faults  # noqa: F401 - importing the application fills the table of routes
from localstripe.payments import cards
from localstripe.routing import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "local-stripe.md").read_text()


def test_every_card_fault_and_control_is_on_the_page() -> None:
    named = [f"| {card.number} | `{card.token}` |" for card in cards.CARDS]
    named += [f"`{group}.{name}`" for group, names in faults.GROUPS.items() for name in names]
    named += [rule.rule.partition("<")[0].rstrip("/") for rule in RULES if rule.rule.startswith("/_local/")]
    assert [name for name in named if name not in PAGE] == []
