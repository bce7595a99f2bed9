"""deploy/nginx and deploy/caddy, as they are, with the real programs before two web processes."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deploy.compose import BRIDGE, Project
from tests.deploy.image import ROOT
from tests.deploy.sandbox import BARE, Mount
from tests.e2e.platform import AGENT, until

pytestmark = pytest.mark.processes
NGINX, CADDY = "10.213.77.99", "10.213.77.98"
NAME = "spells.example.com"
MEGA = 1024 * 1024


@dataclass
class Front:
    """A proxy, as a client reaches it."""

    project: Project
    url: str
    host: str
    verify: Any = True

    @classmethod
    def published(cls, project: Project) -> Front:
        """As deploy/compose.yml publishes it."""
        return cls(project, f"http://{project.addresses['proxy']}", "127.0.0.1:8000")

    def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> requests.Response:
        bearer = {"Authorization": f"Bearer {self.project.key}"} if key is None else {}
        headers = AGENT | {"Host": self.host} | bearer | options.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=90, verify=self.verify, **options)


@contextlib.contextmanager
def serving(
    project: Project, front: Front, command: list[str], environment: dict[str, str], mounts: list[Mount], folder: Path
) -> Iterator[Front]:
    """Run a proxy on a machine of its own, until it answers."""
    network = project.where.machine_at(front.url.partition("//")[2], BRIDGE)
    layer = project.where.scratch()
    with (folder / "log").open("wb") as log:
        program = project.where.start(
            command,
            layers=[layer, Path("/")],
            environment=BARE | environment,
            mounts=mounts,
            network=network,
            output=log,
        )
    try:
        until(lambda: program.poll() is not None or answers(front))
        assert program.poll() is None, (folder / "log").read_text()
        yield front
    finally:
        program.terminate()
        program.wait(20)


@pytest.fixture(scope="module")
def nginx(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The files as on a server, but for the upstreams' addresses, with Debian's own configuration around them."""
    folder = tmp_path_factory.mktemp("nginx")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem"), "-subj", f"/CN={NAME}"]
    subprocess.run([*make, "-addext", f"subjectAltName=IP:{NGINX}"], check=True, capture_output=True)
    text = (ROOT / "deploy" / "nginx" / "spell-platform.conf").read_text()
    # Here no systemd holds one socket for both.
    line = "server 127.0.0.1:8000 max_fails=0;"
    assert line in text
    text = text.replace(line, " ".join(line.replace("127.0.0.1", project.addresses[f"web-{n}"]) for n in (1, 2)))
    (folder / "conf").write_text(text)
    mounts = [
        Mount("/etc/nginx/conf.d/spell-platform.conf", folder / "conf"),
        Mount("/etc/nginx/spell-platform", ROOT / "deploy" / "nginx"),
        Mount("/etc/ssl/spell-platform", folder),
        Mount("/etc/nginx/sites-enabled"),
        Mount("/var/log/nginx"),
        Mount("/run"),
    ]
    command = ["nginx", "-g", "daemon off; error_log stderr;"]
    front = Front(project, f"https://{NGINX}", NAME, verify=str(folder / "fullchain.pem"))
    with serving(project, front, command, {}, mounts, folder) as running:
        yield running


@pytest.fixture(scope="module")
def caddy(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Without TLS: its certificates would come from the internet."""
    folder = tmp_path_factory.mktemp("caddy")
    upstreams = " ".join(f"{project.addresses[name]}:8000" for name in ("web-1", "web-2"))
    command = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    mounts = [Mount("/etc/caddy", ROOT / "deploy" / "caddy")]
    front = Front(project, f"http://{CADDY}", NAME)
    with serving(project, front, command, {"SITE": ":80", "UPSTREAMS": upstreams}, mounts, folder) as running:
        yield running


def answers(front: Front) -> bool:
    try:
        return front.ask("GET", "/api/v1/budget").ok
    except requests.RequestException:
        return False


@pytest.fixture(params=["nginx", "caddy"])
def front(request: pytest.FixtureRequest) -> Front:
    found: Front = request.getfixturevalue(request.param)
    return found


def events(front: Front, cast_id: str, after: int | None = None) -> Iterator[tuple[int, Any]]:
    """Yield (id, data) of a stream, and (-1, text) for each heartbeat."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    number = 0
    with front.ask("GET", f"/api/v1/casts/{cast_id}/events", headers=headers, stream=True) as stream:
        assert stream.status_code == 200
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"id: "):
                number = int(line[4:])
            elif line.startswith(b"data: "):
                yield number, json.loads(line[6:])
            elif line.startswith(b":"):
                yield -1, line.decode()


def test_a_stream_stays_open_in_silence_and_goes_on_where_it_was(front: Front):
    gate = front.project.folder / f"gate-{uuid.uuid4().hex}"
    cast = front.ask("POST", "/api/v1/cast", json={"spell_key": "gate", "input": {"gate": str(gate)}}).json()
    last, beats = 0, 0
    for number, data in events(front, cast["cast_id"]):
        beats += number == -1 and last > 0
        last = max(last, number)
        # Nothing happens at the gate: two heartbeats in a row have come through, unbuffered.
        if (
            beats >= 2
            and data != -1
            and front.ask("GET", f"/api/v1/casts/{cast['cast_id']}").json()["status"] == "running"
        ):
            break
    gate.touch()
    seen = [(number, data) for number, data in events(front, cast["cast_id"], after=last) if number >= 0]
    assert [number for number, _ in seen] == list(range(last + 1, last + 1 + len(seen)))
    assert seen[-1][1]["final"]


def test_what_github_may_send_passes_and_what_is_larger_is_refused_in_our_words(front: Front):
    for size, status in ((25 * MEGA, 202), (25 * MEGA + 1024, 413)):
        body = b'{"zen": "%s"}' % (b"z" * (size - 11))
        assert len(body) == size
        secret = front.project.secrets["GITHUB_WEBHOOK_SECRET"].encode()
        answer = front.ask(
            "POST",
            "/api/webhooks/github",
            key="",
            data=body,
            headers={
                "Content-Type": "application/json",
                "X-GitHub-Event": "ping",
                "X-GitHub-Delivery": str(uuid.uuid4()),
                "X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
            },
        )
        assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_service_learns_who_asks_and_under_which_number(front: Front):
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Request-Id": "mine"}
    answer = front.ask("GET", "/api/v1/casts/none", headers=lies)
    number = answer.json()["request_id"]
    assert number != "mine"
    assert len(number) >= 16

    def line() -> Any:
        logs = front.project.log("web-1") + front.project.log("web-2")
        return next((line for line in logs.splitlines() if number in line and '"request"' in line), None)

    assert json.loads(until(line))["client"] == BRIDGE


def test_figures_are_not_for_the_public(front: Front):
    for path in ("/metrics", "/metrics/"):
        assert front.ask("GET", path).status_code == 404
    assert "spell_" not in front.ask("GET", "/metrics").text


def test_nginx_neither_redirects_nor_passes_on_a_key_without_tls(nginx: Front):
    plain = Front(nginx.project, nginx.url.replace("https", "http"), NAME)
    refused = plain.ask("GET", "/api/v1/budget", allow_redirects=False)
    assert (refused.status_code, refused.json()["title"]) == (403, "TLS is required")
    led = plain.ask("GET", "/account/login/", allow_redirects=False)
    assert (led.status_code, led.headers["Location"]) == (308, f"https://{NAME}/account/login/")


def test_web_processes_are_restarted_one_after_the_other_and_no_caller_notices(nginx: Front, caddy: Front):
    """A POST as well: what was not sent is sent to the other, and what was sent is finished before a process ends."""
    # Debian's Caddy has a fault with bodies (see deploy/caddy/Caddyfile): it is asked without.
    ways = [(nginx, "GET"), (nginx, "POST"), (caddy, "GET")]
    done, wrong = threading.Event(), []
    counted = itertools.count()

    def call(front: Front, method: str) -> None:
        path, good = ("/api/v1/budget", 200) if method == "GET" else ("/api/v1/cast", 422)
        while not done.is_set():
            next(counted)
            try:
                answer = front.ask(method, path, json=None if method == "GET" else {"spell_key": "greet"})
                if answer.status_code != good:
                    wrong.append((front.url, method, answer.status_code, answer.text[:200]))
            except requests.RequestException as exc:
                wrong.append((front.url, method, 0, str(exc)))

    callers = [threading.Thread(target=call, args=way) for way in ways * 2]
    for caller in callers:
        caller.start()
    try:
        for name in ("web-1", "web-2"):
            assert nginx.project.stop(name) == 0
            nginx.project.start(name)
            nginx.project.wait(name, "service_healthy")
    finally:
        done.set()
        for caller in callers:
            caller.join()
    assert wrong == []
    assert next(counted) > 50
