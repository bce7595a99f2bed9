"""What the dashboard shows of money: who spent how much this month and last."""

from __future__ import annotations

import datetime as dt

from django.db.models import Sum
from django.utils import timezone

from accounts.models import BudgetPeriod, BudgetScope, month_of
from core.admin.attention import User, listed, may
from core.admin.dashboard import Figure, Panel, figures, linked, listing
from core.money import money
from core.times import midnight

SHOWN = 10


def spend(user: User) -> Panel | None:
    """Tell what was captured: how much in all, and by the accounts that spent the most in one of the two months."""
    if not may(user, "accounts.view_budgetperiod"):
        return None
    this = month_of(timezone.now())
    last = month_of(midnight(this) - dt.timedelta(days=1))
    periods = BudgetPeriod.objects.filter(scope=BudgetScope.ACCOUNT, month__in=(this, last)).order_by()
    sums = dict(periods.values_list("month").annotate(Sum("captured_cents")))
    rows: dict[int, dict[dt.date, BudgetPeriod]] = {}
    for month in (this, last):
        most = periods.filter(month=month).select_related("account").order_by("-captured_cents", "account_id")
        for period in most[:SHOWN]:
            rows.setdefault(period.account_id, {})[month] = period
    missing = periods.filter(account__in=rows).select_related("account")
    for period in missing:
        rows[period.account_id][period.month] = period
    ordered = sorted(rows.values(), key=lambda one: (-captured(one.get(this)), -captured(one.get(last))))
    shown = []
    for months in ordered[:SHOWN]:
        account = next(iter(months.values())).account
        now = months.get(this)
        path = listed("accounts_budgetperiod", account__id__exact=account.pk)
        cap = "no cap" if now is None or now.cap_cents is None else money(now.cap_cents)
        held = money(now.held_cents if now else 0)
        shown.append([linked(path, account.name), money(captured(now)), held, cap, money(captured(months.get(last)))])
    told = [
        Figure(f"{month:%B %Y}", money(sums.get(month, 0)), listed("accounts_budgetperiod", month=month.isoformat()))
        for month in (this, last)
    ]
    head = ["Account", "This month", "Held now", "Its cap", "Last month"]
    table = listing("Captured by account, those first that spent the most", head, shown, "Nothing was spent.")
    return Panel("Spend", (figures(told), table))


def captured(period: BudgetPeriod | None) -> int:
    return period.captured_cents if period else 0
