"""How the price of a cast is put together, wherever one is set: for a spell, or for one account that casts it."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

AT_LEAST_ONE = MinValueValidator(1)
# What Postgres' integer holds; with more, which SQLite would take, dates would overflow. As seconds it is 68 years.
AT_MOST = MaxValueValidator(2**31 - 1)

REPORT = "charge_cents"  # the name in a result under which a run reports what it costs


class PriceKind(models.TextChoices):
    FLAT = "flat", "flat: always the same"
    PER_MINUTE = "per_minute", "per started minute of run time"
    REPORTED = "reported", f"reported by the run, as {REPORT} in its result"


class Priced(models.Model):
    """A row that sets a price. `price_cents` is what is held of it: no cast costs more."""

    price_cents = models.PositiveIntegerField(
        default=0,
        validators=[AT_MOST],
        help_text="Cents for one cast. Of a price per minute, or one that runs report, the maximum: it is held when "
        "the cast is accepted, and what it did not come to is given back.",
    )
    # With defaults in the database, so that processes of the release before can go on while an update is under way.
    price_kind = models.CharField(max_length=10, choices=PriceKind, default=PriceKind.FLAT, db_default=PriceKind.FLAT)
    per_minute_cents = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[AT_LEAST_ONE, AT_MOST],
        help_text="Cents for each started minute; for a price per minute alone.",
    )

    class Meta:
        abstract = True

    def wrong_in_price(self) -> dict[str, str]:
        """Return what is wrong with the price as a whole, by field."""
        wrong: dict[str, str] = {}
        if self.price_kind != PriceKind.PER_MINUTE:
            if self.per_minute_cents is not None:
                wrong["per_minute_cents"] = "Only a price per started minute has it: leave it blank, or choose that."
        elif self.per_minute_cents is None:
            wrong["per_minute_cents"] = "Say what a started minute costs."
        elif self.price_cents and self.per_minute_cents > self.price_cents:
            wrong["per_minute_cents"] = (
                f"One minute would cost more than the maximum of {self.price_cents}, so each cast would cost just "
                "that: make the price flat, or the maximum higher."
            )
        if self.price_kind != PriceKind.FLAT and not self.price_cents:
            wrong["price_cents"] = "With a maximum of 0 nothing is ever charged: make the price flat."
        return wrong
