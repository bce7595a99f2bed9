"""Logs: one shape for our own lines and those of libraries, facts in fields, never a secret."""

from __future__ import annotations

import logging.config
from typing import Any

import structlog

from core.redaction import CUT, is_secret_name, redact
from core.telemetry import tracing


def add_place(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Say to which trace a line belongs, and within which of its spans."""
    if (place := tracing.place()) is not None:
        event.setdefault("trace_id", place.trace_id)
        event.setdefault("span_id", place.span_id)
    return event


def redact_line(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Cut keys, tokens and private keys out of all texts of a log line, at any depth."""
    return {k: v if k.startswith("_") else clean(v) for k, v in event.items()}  # structlog's own begin with _


def clean(value: Any) -> Any:
    """Return a value without secrets; what is neither JSON nor text becomes text, such as a request or an exception."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {clean(k): CUT if is_secret_name(str(k)) else clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [clean(v) for v in value]
    return redact(repr(value))


def escape(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Write out what would end a line or steer a terminal, as JSON does by itself. Traces keep their lines."""
    return {
        escaped(key): value if key.startswith("_") else escaped(value, but="\n" if key == "exception" else "")
        for key, value in event.items()
    }


def escaped(value: Any, but: str = "") -> Any:
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return "".join(c if c.isprintable() or c in but else repr(c)[1:-1] for c in value)


def configure(settings: dict[str, str]) -> None:
    """Set up logging; `settings` is {"level", "format": "json" or "console"}. Django's LOGGING_CONFIG."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_place,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact_line,
    ]
    json_lines = settings["format"] == "json"
    last: list[Any] = (
        [structlog.processors.JSONRenderer()] if json_lines else [escape, structlog.dev.ConsoleRenderer(colors=False)]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "root": {"handlers": ["stderr"], "level": settings["level"]},
            # Refusals (4xx) concern the caller and are in the access log; 5xx are logged with their trace.
            "loggers": {
                "django.request": {"level": "ERROR"},
                # A trace for each request with a wrong Host, which anybody can send.
                "django.security.DisallowedHost": {"level": "CRITICAL"},
                # At DEBUG they write out requests with their signatures, and Stripe's all that it says of a customer.
                **{name: {"level": "ERROR"} for name in ("urllib3", "botocore", "boto3", "s3transfer", "stripe")},
            },
        }
    )
