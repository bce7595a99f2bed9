"""What is measured of GitHub's webhooks."""

from core.telemetry.metrics import counter, histogram
from webhooks.models import Delivery

LAG_SECONDS = histogram(
    "spell_webhook_lag_seconds",
    "From what a run's or a job's delivery tells of, by GitHub's clock, to when we have it; GitHub cuts to seconds.",
    "event",
    buckets=(0.5, 1, 2, 5, 10, 20, 60, 300, 1800),
)
DELIVERIES = counter("spell_deliveries_total", "Signed deliveries, by what was made of them first.", "event", "outcome")
SWEPT = counter("spell_deliveries_swept_total", "Deliveries that never reached us, and were found in GitHub's log.")


def stored(delivery: Delivery) -> None:
    DELIVERIES.labels(delivery.event, delivery.outcome).inc()
    if delivery.swept:
        SWEPT.inc()
    elif delivery.happened_at is not None:
        lag = (delivery.received_at - delivery.happened_at).total_seconds()
        LAG_SECONDS.labels(delivery.event).observe(max(0.0, lag))
