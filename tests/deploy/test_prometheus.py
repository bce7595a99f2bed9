"""Alert rules and the dashboard, in a real Prometheus that scrapes a real platform."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from spellplatform.demo import spells_file
from tests.conftest import marking
from tests.e2e.platform import ROOT, free_port, platform, until

HERE = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "spell-platform.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = yaml.safe_load((HERE / "rules.yml").read_text())["groups"][0]["rules"]
PAGES = ROOT / "docs" / "how-to" / "operate"
PATIENCE = 300  # seconds; all that is waited for comes in the end, however busy the machine is
METRIC = re.compile(r"\bspell_[a-z_]+")
# What one cast, and who asked for it, give series to.
SHOWS = {
    *(
        "Workers alive",
        "Open casts",
        "Oldest work due",
        "Release",
        "Accepted",
        "Ends by reason",
        "Wait for the run (p50, p95)",
    ),
    *("Run (p95)", "Dispatch: until the run is known", "Dispatches", "Calls to GitHub", "Webhooks"),
    *("Webhook lag (p50, p95)", "Folds", "Steps", "Time of steps (p95)", "Requests", "Time of requests (p95)"),
    *("Rationing", "Targets up", "Figures that can be read", "Time to read figures"),
}


def needs(program: str) -> None:
    """Skip where it is not installed, but never where everything must be."""
    if not shutil.which(program):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"Install Debian's prometheus for {program}; see .ci/run."
        )


def test_each_alert_names_a_page_that_tells_what_to_do() -> None:
    for rule in RULES:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in ("critical", "warning")
        page = PAGES / f"{rule['annotations']['runbook_url'].rpartition('/')[2]}.md"
        text = page.read_text()
        assert rule["alert"] in text
        assert rule["expr"] in text, f"{page.name} shows another expression"
        for part in ("What it means", "How to see it", "How to fix it", "How to know that it is over"):
            assert f"**{part}.**" in text
        assert rule["alert"] in (PAGES / "index.md").read_text()
    assert len(list(PAGES.glob("*.md"))) == len(RULES) + 1


def test_rules_and_panels_ask_for_what_there_is() -> None:
    known = set(re.findall(r"`(spell_[a-z_]+)`", (ROOT / "docs" / "reference" / "metrics.md").read_text()))
    asked = [rule["expr"] for rule in RULES] + [t["expr"] for panel in PANELS for t in panel["targets"]]
    for expr in asked:
        names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(expr)}
        assert names <= known, expr


def test_the_dashboard_is_as_grafana_wants_it() -> None:
    """Grafana itself is not asked: it is in no registry that we have. This is what its importer needs."""
    assert DASHBOARD["uid"] == "spell-platform"
    assert [one["type"] for one in DASHBOARD["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.processes
def test_each_alert_fires_and_stays_quiet_by_the_rules_own_tests() -> None:
    needs("promtool")
    tested = [one["name"] for one in yaml.safe_load((HERE / "rules.test.yml").read_text())["tests"]]
    assert tested == [f"{rule['alert']} {how}" for rule in RULES for how in ("fires", "stays quiet")]
    for what in (["check", "config", "prometheus.yml"], ["test", "rules", "rules.test.yml"]):
        done = subprocess.run(["promtool", *what], cwd=HERE, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A real one, which asks every second, and whose alarms wait for nothing."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        config = yaml.safe_load((HERE / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        rules = yaml.safe_load((HERE / "rules.yml").read_text())
        for rule in rules["groups"][0]["rules"]:
            rule["for"] = "0s"
        (folder / "rules.yml").write_text(yaml.safe_dump(rules))
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/api/v1"
        options = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=prometheus.yml", *options], cwd=folder, stdout=log, stderr=log
            )

    def ask(self, what: str, **query: str) -> Any:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            sent = requests.get(f"{self.url}/{what}", params=query, timeout=60)
        except requests.ConnectionError:  # it is starting
            return None
        if sent.status_code == 503:  # likewise
            return None
        answer = sent.json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]

    def series(self, expr: str) -> list[Any]:
        found = self.ask("query", query=expr.replace("$__rate_interval", "1m"))
        return [] if found is None else list(found["result"])

    def firing(self) -> set[str]:
        found = self.ask("alerts") or {"alerts": []}
        return {alert["labels"]["alertname"] for alert in found["alerts"] if alert["state"] == "firing"}


@pytest.fixture
@marking("processes")
def watched(tmp_path: Path) -> Iterator[tuple[Any, Prometheus]]:
    needs("prometheus")
    (tmp_path / "platform").mkdir()
    with platform(tmp_path / "platform", spells=spells_file().read_text()) as here:
        prometheus = Prometheus(tmp_path / "prometheus", f"127.0.0.1:{here.web_port}")
        try:
            yield here, prometheus
        finally:
            prometheus.process.terminate()
            prometheus.process.wait(120)


@pytest.mark.processes
def test_panels_have_data_and_an_alarm_fires_and_clears(watched: tuple[Any, Prometheus]) -> None:
    here, prometheus = watched

    def quiet() -> bool:
        """Whether a worker is known, and no alarm says that there is none; without figures there would be none too."""
        return bool(prometheus.series("max(spell_workers_alive) >= 1")) and "SpellNoWorker" not in prometheus.firing()

    until(quiet, seconds=PATIENCE)
    cast = here.cast("greet", {"name": "Ada"})["cast_id"]
    until(lambda: here.get(cast, wait=30)["final"], seconds=PATIENCE)
    end = time.monotonic() + PATIENCE
    while (left := without(prometheus)) and time.monotonic() < end:
        time.sleep(0.5)
    assert not left
    for rule in RULES:
        prometheus.series(rule["expr"])  # it can be computed
    until(quiet, seconds=PATIENCE)
    here.stop("worker")
    until(lambda: "SpellNoWorker" in prometheus.firing(), seconds=PATIENCE)
    here.start("worker")
    until(quiet, seconds=PATIENCE)


def without(prometheus: Prometheus) -> set[str]:
    """Return the panels that should show something, and have a target that gives no series."""
    found: set[str] = set()
    for panel in PANELS:
        series = [prometheus.series(target["expr"]) for target in panel["targets"]]  # each can be computed
        if panel["title"] in SHOWS and not all(series):
            found.add(panel["title"])
    return found
