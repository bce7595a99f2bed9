"""What operators are told of accounts' money."""

from __future__ import annotations

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from accounts.models import BudgetPeriod, BudgetScope, month_of
from core.admin.attention import Section, Trouble, User, listed, may
from core.money import money


def budgets(user: User) -> Section | None:
    """Tell of accounts that have used ALARM_BUDGET_PERCENT of this month's cap, and once more when it is used up."""
    if not may(user, "accounts.view_budgetperiod"):
        return None
    percent = settings.ALARM_BUDGET_PERCENT
    if not percent:
        return Section("Budgets")
    capped = BudgetPeriod.objects.filter(
        scope=BudgetScope.ACCOUNT, month=month_of(timezone.now()), cap_cents__gt=0
    ).annotate(used=F("held_cents") + F("captured_cents"))
    near = capped.filter(used__gte=F("cap_cents") * percent / 100).select_related("account").order_by("pk")
    return Section("Budgets", tuple(found for period in near for found in of_period(period, percent)))


def of_period(period: BudgetPeriod, percent: int) -> list[Trouble]:
    assert period.cap_cents is not None
    path = listed("accounts_budgetperiod", account__id__exact=period.account_id)
    return [
        Trouble(
            f"{period.account.name} has used {level} % of its cap of {money(period.cap_cents)} in {period.month:%B %Y}",
            advice="Beyond the cap its casts are refused. Is that what its owner wants? The cap is set at the account.",
            path=path,
            key=f"budget {period.pk} {level}",
        )
        for level in sorted({percent, 100})
        if period.used_cents * 100 >= level * period.cap_cents
    ]
