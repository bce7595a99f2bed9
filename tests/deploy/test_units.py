"""The systemd units, as far as systemd judges them without running: it can read them, and how far each is shut in."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.image import ROOT, context
from tests.deploy.sandbox import needs

UNITS = ROOT / "deploy" / "systemd"
NAMES = sorted(unit.name for unit in UNITS.glob("*.service"))
OWN = "spell-platform-web@.socket"
THRESHOLD = 1.5  # of 10, "exposure level" in systemd's words; what is open is the network, and our folder
pytestmark = pytest.mark.processes


def described(name: str, section: str = "Service") -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / name)
    return unit[section]


@pytest.mark.parametrize("name", NAMES)
def test_systemd_reads_each_unit_and_finds_it_shut_in(name: str, tmp_path: Path):
    needs("systemd-analyze")
    # Of programs and of sockets it looks whether they are there.
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/spell-platform/current/.venv/bin/", "/usr/bin/env ")
        (tmp_path / unit.name.replace("@", "@1")).write_text(text)
    instance = tmp_path / name.replace("@", "@1")
    read = subprocess.run(["systemd-analyze", "verify", instance], capture_output=True, text=True)
    assert not [line for line in read.stderr.splitlines() if "spell-platform" in line], read.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD * 10:.0f}", instance],
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_starts_what_there_is(name: str):
    service = described(name)
    for path in re.findall(
        r"(?:deploy|spellplatform)/[\w./]+", f"{service['ExecStart']} {service.get('ExecStartPost')}"
    ):
        assert (ROOT / path).is_file(), path


def test_a_unit_waits_longer_for_a_process_than_that_takes_to_end():
    web = described("spell-platform-web@.service")
    graceful = re.search(r"^graceful_timeout = (\d+)", (ROOT / "spellplatform/gunicorn.conf.py").read_text(), re.M)
    assert graceful is not None
    assert int(web["TimeoutStopSec"]) > 2 * int(graceful[1])
    assert web["KillMode"] == "mixed"


def test_all_web_processes_take_from_one_socket_and_the_proxies_ask_there():
    web = described("spell-platform-web@.service")
    assert web["Sockets"].split() == ["spell-platform-web.socket", "spell-platform-web@%i.socket"]
    common, own = (described(name, "Socket")["ListenStream"] for name in ("spell-platform-web.socket", OWN))
    assert own in web["ExecStartPost"], "it must ask this one process"
    nginx = (ROOT / "deploy/nginx/spell-platform.conf").read_text()
    assert set(re.findall(r"^ +server (\S+)", nginx, re.M)) == {common}
    caddy = (ROOT / "deploy/caddy/Caddyfile").read_text()
    assert set(re.findall(r"UPSTREAMS:(.*?)\}", caddy)) == {common}
    assert f'"{common}"' in (ROOT / "deploy/prometheus/prometheus.yml").read_text()


def test_the_image_holds_the_service_and_nothing_else():
    files = {path.as_posix() for path in context()}
    assert {"manage.py", "docs/index.md", "deploy/healthy.py", "requirements/production.txt"} <= files
    tops = {path.partition("/")[0] for path in files}
    assert not tops & {"tests", "localgithub", "localstripe", ".git", ".env", "var"}
    assert not [
        path for path in files if path.endswith((".env", ".pem", ".sqlite3", ".pyc")) or "/settings/env" in path
    ]
