from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from spellplatform.demo import spells_file
from tests.chaos.proxy import Proxy
from tests.conftest import marking
from tests.deploy import here
from tests.deploy.compose import BRIDGE, Project
from tests.deploy.sandbox import Sandbox, needs, sandbox
from tests.e2e.platform import DATA, EVERY_SCOPE, ROOT

GITHUB = "8081"
WORKFLOWS = Path(__file__).parents[1] / "e2e" / "workflows"
GATE = '[gate]\nworkflow_file = "gate.yml"\nprice_cents = 1\n'


@pytest.fixture(scope="package")
def where() -> Iterator[Sandbox]:
    needs("caddy", "nginx")
    with sandbox() as made:
        yield made


@pytest.fixture(scope="package")
@marking("processes")
def started(where: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services of deploy/compose.yml, started as a newcomer starts them, beside a local GitHub."""
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    image = here.image(where)
    made = Project(where, image, here.programs(where, image), folder)
    github, relays = None, []
    try:
        made.up("setup")
        made.wait("setup", "service_completed_successfully")
        with where.inside():
            github = local_github(folder, made.addresses["proxy"], settings_of(made))
        # Plain HTTP is taken from an address of one's own machine alone: in each network GitHub is there.
        for name in ("web-1", "web-2", "worker-1", "worker-2", "manage"):
            with where.inside(made.networks[name]):
                relays.append(Proxy(int(GITHUB), [int(GITHUB)], host=BRIDGE))
                relays[-1].start()
        made.up()
        prepare(made)
        yield made
    finally:
        made.down()
        for relay in relays:
            relay.stop()
        if github is not None:
            github.terminate()
            github.wait(20)


@pytest.fixture(scope="module")
def project(started: Project) -> Iterator[Project]:
    """What was started, with us in its network for this module: other modules start platforms on our own."""
    with started.where.inside():
        yield started


def settings_of(project: Project) -> dict[str, str]:
    """Return the settings that the first start made, with what the operator adds: GitHub, and the App."""
    file = project.folder / "settings" / "env"
    key = file.with_name("app.pem")
    shutil.copyfile(DATA / "app.pem", key)
    shutil.chown(key, 10001, 10001)
    hosts = ",".join(["127.0.0.1", *project.addresses.values(), "10.213.77.98", "10.213.77.99", "spells.example.com"])
    more = {
        "GITHUB_API_URL": f"http://127.0.0.1:{GITHUB}",
        "GITHUB_API_VERSION": "2026-03-10",
        "GITHUB_APP_ID": "1",
        "GITHUB_APP_PRIVATE_KEY": "/etc/spell-platform/app.pem",
        "GITHUB_APP_INSTALLATION_ID": "1",
        "GITHUB_REPOSITORY": "demo/spells",
        "ALLOWED_HOSTS": hosts,
        "STREAM_HEARTBEAT_SECONDS": "1",
        **{f"RATION_PER_{whose}": "0" for whose in ("KEY", "ACCOUNT", "ADDRESS")},
    }
    with file.open("a") as settings:
        settings.writelines(f"{name}={value}\n" for name, value in more.items())
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    project.secrets = dict(line.split("=", 1) for line in lines)
    return project.secrets


def local_github(folder: Path, proxy: str, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the local GitHub at the bridge; its webhooks come in by the proxy, as the real one's do."""
    (folder / "repository" / ".github").mkdir(parents=True)
    for name in ("workflows", "actions"):
        shutil.copytree(ROOT / ".github" / name, folder / "repository" / ".github" / name)
    shutil.copy(WORKFLOWS / "gate.yml", folder / "repository" / ".github" / "workflows")
    command = [sys.executable, "manage.py", "localgithub", "--host", BRIDGE, "--port", GITHUB, "--blob-port", "0"]
    command += ["--repository", f"demo/spells={folder / 'repository'}", "--state-dir", str(folder / "github")]
    command += ["--app-id", "1", "--app-public-key", str(DATA / "app.pub"), "--installation-id", "1"]
    command += ["--webhook-url", f"http://{proxy}/api/webhooks/github"]
    with (folder / "github.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--webhook-secret", settings["GITHUB_WEBHOOK_SECRET"]], cwd=ROOT, stdout=log, stderr=log
        )


def prepare(project: Project) -> None:
    """Load spells and make a key, as an operator does."""
    spells = project.folder / "settings" / "spells.toml"
    spells.write_text(spells_file().read_text() + GATE)
    project.manage("loadspells", "/etc/spell-platform/spells.toml")
    made = project.manage("createapikey", "acme", "--cap-cents", "50000", "--scopes", EVERY_SCOPE)
    project.key = made.split()[-1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the services wrote when a test fails."""
    report = yield
    if report.failed:
        for project in {value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Project)}:
            report.sections += [(f"{name} log", project.log(name)[-3000:]) for name in project.services]
    return report
