"""docs/reference/metrics.md has a line for each metric, and names follow Prometheus's conventions."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from prometheus_client import generate_latest

from core.telemetry.metrics import Declared, Sample, declared
from core.telemetry.page import Everything

PAGE = Path(settings.BASE_DIR) / "docs" / "reference" / "metrics.md"
UNITS = ("seconds", "cents")
# Whose values are of our own making, or an operator's: no account, key or address.
LABELS = {
    *("collector", "decision", "event", "installation", "kind", "method", "operation", "outcome", "python", "queue"),
    *("reason", "result", "route", "runtime", "spell", "status", "version"),
}


def line_of(told: Declared) -> str:
    unit = next((unit for unit in UNITS if re.search(rf"_{unit}(_total)?$", told.name)), "-")
    kind = "gauge, figure" if told.read else told.kind
    labels = ", ".join(f"`{label}`" for label in told.labels) or "-"
    return f"| `{told.name}` | {kind} | {unit} | {labels} | {told.help} |"


def test_the_reference_has_each_metric_as_it_is_and_no_other():
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("| `spell_")]
    assert written == [line_of(told) for _, told in sorted(declared().items())]


@pytest.mark.parametrize("told", declared().values(), ids=lambda told: told.name)
def test_names_follow_the_conventions(told):
    assert re.fullmatch(r"spell(_[a-z]+)+", told.name)
    assert told.name.endswith("_total") == (told.kind == "counter")
    assert not re.search(r"_(ms|minutes|milliseconds|count|bucket|sum)(_|$)", told.name)
    assert told.kind != "histogram" or told.name.endswith(UNITS)
    assert set(told.labels) <= LABELS
    assert told.help.endswith(".")
    assert all(len(values) == len(told.labels) for values in told.known)


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_wrong_with_a_page_of_all_of_them():
    every = [Sample(told, ("x",) * len(told.labels), 1.0) for told in declared().values() if told.read]
    text = generate_latest(Everything([], every))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
