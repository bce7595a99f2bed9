import io
import logging
from pathlib import Path

import environ
import pytest

from github_integration.tokens import private_key
from spellplatform.settings import one_line_per_name

PEM = (Path(__file__).parents[1] / "data" / "app.pem").read_text()


def test_a_private_key_with_its_line_breaks_is_read_from_env_and_never_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name in ("DEMO_KEY", "DEMO_AFTER"):
        monkeypatch.delenv(name, raising=False)
    env = environ.Env()
    with caplog.at_level(logging.DEBUG):
        env.read_env(io.StringIO(one_line_per_name(f'DEMO_KEY="{PEM}"\nDEMO_AFTER=1\n')))
    assert private_key(env.str("DEMO_KEY")).strip() == PEM.strip()
    assert env.int("DEMO_AFTER") == 1
    assert PEM.splitlines()[1][:10] not in caplog.text


def test_a_lone_quote_swallows_nothing():
    text = '# a 5" disk\nONE=1\n\nTWO="2"\nTHREE=it"s\nFOUR=4\n'
    assert one_line_per_name(text).split() == text.split()
