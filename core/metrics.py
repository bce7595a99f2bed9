"""What is counted of requests, and of who is told to come later."""

from core.telemetry.metrics import SLOW, counter, histogram

REQUESTS = counter("spell_http_requests_total", "Requests, by the name of their route.", "route", "method", "status")
REQUEST_SECONDS = histogram(
    "spell_http_request_seconds", "From the head of a request to the end of its answer; not streams.", "route"
)
RATIONING = counter(
    "spell_rationing_decisions_total", "Whether a request was within its allowance.", "kind", "decision"
)

STEPS = counter("spell_queue_steps_total", "Steps of due rows: ok, or failed.", "queue", "result")
STEP_SECONDS = histogram("spell_queue_step_seconds", "How long steps of due rows took.", "queue", buckets=SLOW)
