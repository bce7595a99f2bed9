"""What can go wrong for a caller who pays."""

from core.errors import SpellError


class BudgetExceeded(SpellError):
    """The account's monthly cap would be passed by this cast."""

    code, status, title = "BUDGET_CAP_EXCEEDED", 402, "Budget cap exceeded"
