"""What a cast costs: the price that it is accepted at, all of which is held, and what it comes to in the end."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from casts.lifecycle.run_time import run_time
from casts.models import REPORT, Cast, Priced, PriceKind, Spell

Document = dict[str, Any]
SECOND, MINUTE = dt.timedelta(seconds=1), 60
MOST_SHOWN = 2**53 - 1  # JSON's readers know no larger whole number for sure

NOT_CHARGED = "A cast that ends like this costs nothing."
NOT_TIMED = "How long the run took is not known: one minute."
MORE_THAN_MAX = "It came to more than the maximum, which is charged."
NOTHING_REPORTED = "The run did not report what it costs, so nothing is charged."


@dataclass(frozen=True)
class Price:
    """What is agreed for one cast. Of other kinds than flat, `max_cents` is the most that it may come to."""

    kind: str
    per_minute_cents: int | None
    max_cents: int
    for_account: bool  # set for the account, in place of the spell's own

    @classmethod
    def of(cls, spell: Spell) -> Price:
        """Return what the spell costs the account that it was read for (`Spell.own_price`), or everybody."""
        row: Priced = spell.own_price or spell
        return cls(row.price_kind, row.per_minute_cents, row.price_cents, spell.own_price is not None)

    @classmethod
    def of_cast(cls, cast: Cast) -> Price:
        """Return the price that a cast was accepted at."""
        return cls(**cast.price) if cast.price else cls(PriceKind.FLAT, None, cast.cost_cents, False)

    @property
    def kept(self) -> Document | None:
        """How a cast keeps it: not at all if `cost_cents` says everything."""
        return None if self.kind == PriceKind.FLAT and not self.for_account else self.shown

    @property
    def shown(self) -> Document:
        return dict(vars(self))


@dataclass(frozen=True)
class Report:
    """What a run's result says of what it costs. `cents` None: nothing that counts, and `why`."""

    cents: int | None
    why: str = ""


@dataclass(frozen=True)
class Charge:
    """What a cast comes to."""

    cents: int
    how: Document | None = None  # None: a flat price, of which `cents` says all
    unknown: bool = False  # its run should have reported it, and did not


def takes_report(cast: Cast) -> bool:
    """Whether the result of a cast has a report that is not for its caller. The spell: as accepted."""
    return PriceKind.REPORTED in (Price.of_cast(cast).kind, cast.spell.price_kind)


def report_in(output: Any) -> tuple[Any, Report]:
    """Return a result without its report, and the report."""
    if not isinstance(output, dict) or REPORT not in output:
        return output, Report(None, f"Its result has no {REPORT}.")
    cents = output[REPORT]
    rest = {name: value for name, value in output.items() if name != REPORT}
    if isinstance(cents, bool) or not isinstance(cents, int) or cents < 0:
        return rest, Report(None, f"The {REPORT} of its result is not a whole number from 0 upwards.")
    return rest, Report(cents)


def charge(cast: Cast, *, due: bool, report: Report | None = None) -> Charge:
    """Return what a cast that ends now comes to, never more than is held for it.

    `due`: whether an end like its is paid for at all. `report`: what its result says; None: nothing was looked for,
    or nothing was to be expected of a run that ended like this.
    """
    price = Price.of_cast(cast)
    if price.kind == PriceKind.FLAT:
        return Charge(cast.cost_cents if due else 0)
    how = blank(price, None if due else NOT_CHARGED)
    found = _of_minutes if price.kind == PriceKind.PER_MINUTE else _of_report
    came_to = found(cast, price, how, due=due, report=report)
    if came_to.cents <= price.max_cents:
        return came_to
    return replace(came_to, cents=price.max_cents, how={**how, "note": MORE_THAN_MAX})


def _of_minutes(cast: Cast, price: Price, how: Document, *, due: bool, report: Report | None) -> Charge:
    worked = run_time(cast)
    if worked is not None:
        how["run_seconds"] = -(-worked // SECOND)
    if not due:
        return Charge(0, how)
    assert price.per_minute_cents is not None
    # A run that has begun has begun its first minute, also if its runtime, whose times may be whole seconds, says 0.
    how["minutes"] = max(1, -(-how["run_seconds"] // MINUTE)) if worked is not None else 1
    how["note"] = None if worked is not None else NOT_TIMED
    return Charge(how["minutes"] * price.per_minute_cents, how)


def _of_report(cast: Cast, price: Price, how: Document, *, due: bool, report: Report | None) -> Charge:
    if report is not None and report.cents is not None:
        how["reported_cents"] = min(report.cents, MOST_SHOWN)
    if not due:
        return Charge(0, how)
    if report is None or report.cents is None:
        how["note"] = f"{NOTHING_REPORTED} {report.why}" if report and report.why else NOTHING_REPORTED
        return Charge(0, how, unknown=report is not None)
    return Charge(report.cents, how)


def how_charged(cast: Cast) -> Document | None:
    """Return how a cast's charge was computed, None before its end."""
    kept: Document | None = cast.charge
    if kept is not None or cast.charged_cents is None:
        return kept
    return blank(Price.of_cast(cast), NOT_CHARGED if cast.cost_cents and not cast.charged_cents else None)


def blank(price: Price, note: str | None) -> Document:
    """Return how a charge was computed, as far as the price alone tells."""
    return {
        "kind": str(price.kind),
        "run_seconds": None,
        "minutes": None,
        "per_minute_cents": price.per_minute_cents,
        "max_cents": price.max_cents,
        "reported_cents": None,
        "note": note,
    }
