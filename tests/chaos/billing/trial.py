"""One trial of money: accounts that pay, in a storm over Stripe and our processes; then calm, and an audit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.billing.auditor import audit, under_way
from tests.chaos.billing.payers import Payers, wishes
from tests.chaos.billing.shop import Shop, shop
from tests.chaos.billing.weather import BillingStorm
from tests.chaos.report import counted, percentile, raised
from tests.chaos.trial import Verdict, waited


@dataclass(frozen=True)
class BillingPlan:
    """What is tried."""

    seed: int
    casts: int = 2000
    concurrency: int = 20
    minutes: float = 90.0  # the storm is over after that, whatever is left to cast
    kill_every: tuple[float, float] = (2.0, 6.0)  # seconds
    settle_seconds: float = 300.0
    settings: tuple[tuple[str, str], ...] = ()


def billing_trial(plan: BillingPlan, folder: Path, *, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Carry out a plan in a folder; what it leaves there explains the verdict."""
    with shop(folder, **dict(plan.settings)) as where:
        storm = BillingStorm(where, seed=plan.seed, kill_every=plan.kill_every)
        until = time.monotonic() + plan.minutes * 60
        payers = Payers(where, list(wishes(plan.casts, seed=plan.seed)), concurrency=plan.concurrency, until=until)
        began = time.monotonic()
        storm.begin()
        try:
            payers.save_cards()
            say("Cards are saved.")
            payers.start()
            watch_over(payers, storm, plan, say)
        finally:
            storm.end()
        calm = time.monotonic()
        say(f"The storm is over after {calm - began:.0f} s; waiting for what is under way.")
        payers.join()
        say("Every caller is done.")
        settle(where, plan.settle_seconds)
        say(f"Under way still: {under_way(where) or 'nothing'}.")
        settled = time.monotonic() - calm
        violations = [f"the storm itself broke: {error!r}" for error in storm.errors] + audit(where, payers)
        text = report(where, storm, payers, storm_seconds=calm - began, quiet_seconds=settled)
    return Verdict(f"{text}\nin the logs    {counted(raised(folder))}", violations)


def watch_over(payers: Payers, storm: BillingStorm, plan: BillingPlan, say: Callable[[str], None]) -> None:
    """Return when everything has been cast, though not ended."""
    told = time.monotonic()
    while payers.busy() and len(payers.done) < plan.casts and time.monotonic() < payers.until:
        if time.monotonic() > told + 30:
            told = time.monotonic()
            say(f"{len(payers.done)} cast, {sum(storm.kills.values())} kills, {len(payers.topups)} top-ups by hand.")
        time.sleep(0.1)


def settle(where: Shop, seconds: float) -> None:
    """Wait until nothing is under way, and everything captured is sealed and reported."""
    waited(lambda: "casts" not in under_way(where), seconds=seconds)
    where.seal()
    waited(lambda: sealed(where) and not under_way(where), seconds=seconds)
    # Rounds of the sweep that see what was done last.
    before = rounds(where)
    waited(lambda: rounds(where) != before and not under_way(where), seconds=60)
    last = rounds(where)
    waited(lambda: rounds(where) != last and not under_way(where), seconds=60)


def rounds(where: Shop) -> object:
    return [row["read_upto"] for row in where.rows("SELECT read_upto FROM payments_eventsweep")]


def sealed(where: Shop) -> bool:
    unsealed = """
        SELECT s.id FROM payments_subscription s JOIN accounts_budgetperiod p ON p.account_id = s.customer_id
        JOIN accounts_ledgerentry e ON e.period_id = p.id
        WHERE e.kind = 'capture' AND e.on_credit AND e.id > s.sealed_upto_entry
    """
    return not where.rows(unsealed)


def report(where: Shop, storm: BillingStorm, payers: Payers, *, storm_seconds: float, quiet_seconds: float) -> str:
    """Return the figures of one trial."""
    casts = where.rows("SELECT status, status_reason, charged_cents FROM casts_cast")
    topups = where.rows("SELECT origin, state FROM payments_topup")
    events = where.rows("SELECT swept, state, repeats FROM payments_stripeevent")
    reports = where.rows("SELECT state, cents FROM payments_meterreport")
    told = where.stripe.local("GET", "record")
    swept, again = sum(e["swept"] for e in events), sum(e["repeats"] for e in events)
    let_through = sorted(payers.unblocked)
    return "\n".join(
        [
            f"casts          {len(casts)} in {storm_seconds:.0f} s of storm; all quiet {quiet_seconds:.0f} s later",
            f"ends           {counted(Counter(c['status'] + '/' + c['status_reason'] for c in casts))}",
            f"charged        {sum(c['charged_cents'] or 0 for c in casts)} cents",
            f"402            {payers.spent}; let through after a top-up: p50 {percentile(let_through, 0.5):.2f} s, "
            f"max {max(let_through, default=0):.2f} s",
            f"top-ups        {counted(Counter(t['origin'] + '/' + t['state'] for t in topups))}",
            f"objections     {storm.disputes} disputes, {storm.refunds} refunds at Stripe",
            f"events         {counted(Counter(e['state'] for e in events))}; {swept} found by asking, {again} repeats",
            f"usage          {len(reports)} reports over {sum(r['cents'] for r in reports)} cents, "
            f"{counted(Counter(r['state'] for r in reports))}; sealed {storm.seals} times",
            f"kills          {counted(storm.kills)}",
            f"freezes        {counted(storm.freezes)}; database ended all connections {storm.severed} times",
            f"Stripe         {len(told['requests'])} requests, {storm.gusts} gusts, {counted(Counter(told['faults']))}",
            f"callers        {counted(payers.answers)}",
        ]
    )
