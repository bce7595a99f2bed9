"""Logs: one line of JSON each, facts in fields, and never a secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import uuid
import warnings

import pytest
import structlog

from casts.live import waiting
from spellplatform import logging as ours
from tests.casts.client import CLIENT

KEY = "sk_live_spl_4fK9xQ2mT7vB1nZ8cR5wY3pL6hJ0gDaE1x2y3z"
SECRETS = [
    KEY,
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "ghs_12345.eyJhbGciOi.x-y_z",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghij_klmnopqrstuvwxyz",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
]
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7v\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def lines(monkeypatch):
    """Log into a text as the service logs to stderr; return what reads it."""
    root = logging.getLogger()
    kept = (list(root.handlers), root.level)
    written = io.StringIO()

    def configure(**settings):
        monkeypatch.setattr("sys.stderr", written)
        ours.configure({"level": "INFO", "format": "json"} | settings)
        monkeypatch.undo()
        return written

    configure()
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:], root.level = kept
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def logger(lines):
    return logging.getLogger("casts.test")


def test_a_line_has_its_facts_in_fields(logger, lines):
    cast_id = uuid.uuid4()
    structlog.contextvars.bind_contextvars(request_id="trace-1234")
    logger.info("cast dispatched", extra={"cast_id": str(cast_id), "run_id": 7, "seconds": 0.5})
    [line] = lines()
    assert line.pop("timestamp").endswith("Z")
    told = {"event": "cast dispatched", "level": "info", "logger": "casts.test", "request_id": "trace-1234"}
    assert line == told | {"cast_id": str(cast_id), "run_id": 7, "seconds": 0.5}


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_stands_in_a_message_a_field_or_a_trace(logger, lines, secret):
    logger.warning("refused %s and %s", secret, f"Bearer {secret}!")
    logger.warning("refused", extra={"header": f"token {secret}"})
    logger.warning("refused", extra={"headers": {"Authorization": [f"Bearer {secret}"]}, "both": (secret, 5)})
    logger.warning("refused", extra={"error": ValueError(f"bad {secret}")})
    try:
        raise RuntimeError(f"GitHub said no to {secret}")
    except RuntimeError:
        logger.exception("step failed")
    assert len(lines()) == 5
    written = json.dumps(lines())
    assert secret not in written
    assert secret[-12:] not in written
    assert "GitHub said no to" in written
    assert "…" in lines()[0]["event"]


def test_a_private_key_is_cut_whatever_stands_around_it(logger, lines):
    logger.error("could not sign", extra={"key": f"before {PEM} after"})
    logger.error(f"could not sign with {PEM}")  # noqa: G004 - as somebody might
    assert "MIIEp" not in json.dumps(lines())
    assert lines()[0]["key"].startswith("before -----BEGIN RSA PRIVATE KEY-----")


def test_the_token_of_a_link_is_cut_too(logger, lines):
    logger.warning("slow", extra={"url": "/api/v1/casts/1/events?after=5&token=1vX.aBcDeF-123_x&x=1"})
    [line] = lines()
    assert "aBcDeF" not in line["url"]
    assert line["url"].endswith("&x=1")


@pytest.mark.django_db
def test_a_failing_request_is_logged_with_its_trace_and_without_its_token(lines, monkeypatch):
    def fail(*args):
        raise RuntimeError("the cauldron")

    monkeypatch.setattr(waiting, "stream_request", fail)
    answer = CLIENT.get(f"/api/v1/casts/{uuid.uuid4()}/events?token=1vX.aBcDeF-123_x")
    assert answer.status_code == 500
    [line] = [line for line in lines() if line["logger"] == "django.request"]
    assert "the cauldron" in line["exception"]
    assert line["request_id"] == answer.json()["request_id"]
    assert "aBcDeF" not in json.dumps(line)


def test_plain_words_are_left_as_they_are(logger, lines):
    text = "the spell sk_live and ghs and -----BEGIN CERTIFICATE----- stay"
    logger.info(text, extra={"n": 5, "none": None, "yes": True, "list": [1, "two"]})
    [line] = lines()
    assert (line["event"], line["n"], line["none"], line["yes"], line["list"]) == (text, 5, None, True, [1, "two"])


def test_a_stranger_writes_neither_lines_nor_escapes_of_his_own(lines, monkeypatch):
    hostile = 'x\r\n{"event": "forged"} \x1b[2J\x9b31m \u2028\u202e y'
    for form in ("json", "console"):
        written = io.StringIO()
        monkeypatch.setattr("sys.stderr", written)
        ours.configure({"level": "INFO", "format": form})
        monkeypatch.undo()
        logging.getLogger("casts.test").warning("refused %s", hostile, extra={"path": hostile, hostile: 1})
        assert len(written.getvalue().splitlines()) == 1, form
        assert not {*written.getvalue()[:-1]} & {*"\r\n\x1b\x9b\u2028\u202e"}, form


def test_the_console_shows_traces_without_warning(lines, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    ours.configure({"level": "INFO", "format": "console"})
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            raise RuntimeError(f"no to {KEY}")
        except RuntimeError:
            logging.getLogger("casts.test").exception("step failed", extra={"cast_id": "x"})
    text = written.getvalue()
    assert "step failed" in text
    assert "RuntimeError: no to sk_live_spl_4fK9xQ2m…" in text
    assert KEY not in text
    assert "\x1b[" not in text


@pytest.mark.usefixtures("lines")
def test_at_debug_nothing_is_written_of_what_stripe_is_told_of_a_customer(monkeypatch, stripe_server):
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    ours.configure({"level": "DEBUG", "format": "json"})
    stripe_server.client().v1.customers.create({"email": "ada@example.com"})
    logging.getLogger("payments").debug("asked")
    assert "asked" in written.getvalue()
    assert "ada" not in written.getvalue()
