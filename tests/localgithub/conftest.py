import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from localgithub.config import Config
from localgithub.server import LocalGitHub
from tests.conftest import marking

from .oracles import check_answer, check_webhook
from .trees import SAMPLE, make_actions, make_tree

ODD = 'it\'s "odd" (é) #1 $x'  # the names of folders mean themselves, whatever a shell or act would make of them
SECRET = "It's a Secret to Everybody"
REPOSITORY = "octo-org/spells"


class Api:
    """A caller whose every answer is held against GitHub's description."""

    def __init__(self, base: str, token: str = "", version: str = "") -> None:
        self.base, self.session = base, requests.Session()
        self.session.headers["User-Agent"] = "tests"
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        if version:
            self.session.headers["X-GitHub-Api-Version"] = version

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = self.session.request(method, self.base + path, allow_redirects=False, timeout=10, **options)
        check_answer(answer)
        return answer

    def get(self, path: str, **options: Any) -> requests.Response:
        return self("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self("POST", path, json=body, **options)

    def repo(self, tail: str) -> str:
        return f"/repos/{REPOSITORY}/{tail}"

    def dispatch(self, file: str, inputs: dict[str, Any] | None = None, **body: Any) -> requests.Response:
        wanted = {"ref": "main", "inputs": inputs or {}, **body}
        return self.post(self.repo(f"actions/workflows/{file}/dispatches"), wanted)

    def start(self, file: str, inputs: dict[str, Any] | None = None) -> int:
        answer = self.dispatch(file, inputs, return_run_details=True)
        assert answer.status_code == 200, answer.text
        return answer.json()["workflow_run_id"]

    def run(self, run_id: int) -> dict[str, Any]:
        return self.get(self.repo(f"actions/runs/{run_id}")).json()

    def jobs(self, run_id: int, query: str = "") -> list[dict[str, Any]]:
        return self.get(self.repo(f"actions/runs/{run_id}/jobs{query}")).json()["jobs"]

    def log(self, job_id: int) -> str:
        answer = self.get(self.repo(f"actions/jobs/{job_id}/logs"))
        assert answer.status_code == 302
        return requests.get(answer.headers["Location"], timeout=10).content.decode("utf-8-sig")

    def wait(self, run_id: int, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Poll a run until it is over, or until `until` says so."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            run = self.run(run_id)
            if until(run) if until else run["status"] == "completed":
                return run
            time.sleep(0.05)
        raise AssertionError(f"run {run_id} is still {run['status']}")


class Receiver:
    """A webhook's other end: checks each signature and body, keeps them in the order of arrival."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.problems: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take({name.lower(): value for name, value in self.headers.items()}, raw)
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/webhooks/github"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self, headers: dict[str, str], raw: bytes) -> None:
        body = json.loads(raw)
        try:
            expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
            assert headers["x-hub-signature-256"] == expected
            check_webhook(headers["x-github-event"], body)
        except Exception as error:
            self.problems.append(f"{headers['x-github-event']}.{body.get('action')}: {error}")
        self.got.append((headers, body))

    def of_run(self, run_id: int) -> list[str]:
        """Return event.action of each delivery about one run."""
        names = []
        for headers, body in list(self.got):
            about = body.get("workflow_run", {}).get("id") or body.get("workflow_job", {}).get("run_id")
            if about == run_id:
                names.append(f"{headers['x-github-event']}.{body['action']}")
        return names

    def wait_for(self, run_id: int, name: str = "workflow_run.completed", count: int = 1) -> list[str]:
        end = time.monotonic() + 10
        while self.of_run(run_id).count(name) < count:
            assert time.monotonic() < end, f"no {name}, only {self.of_run(run_id)}"
            time.sleep(0.02)
        return self.of_run(run_id)


@pytest.fixture(scope="session")
def app_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def private_pem(app_key: rsa.RSAPrivateKey) -> str:
    plain = serialization.NoEncryption()
    return app_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


@pytest.fixture(scope="session")
def public_pem(app_key: rsa.RSAPrivateKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return app_key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


@pytest.fixture(scope="session")
def make_jwt(private_pem: str) -> Callable[..., str]:
    def make(**changes: Any) -> str:
        present = int(time.time())
        claims = {"iat": present - 60, "exp": present + 540, "iss": "Iv1.local", **changes}
        # Signed as bytes, because PyJWT itself refuses to write the integer `iss` that GitHub takes.
        return jwt.api_jws.encode(json.dumps(claims).encode(), private_pem, algorithm="RS256")

    return make


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    assert receiver.problems == []


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree") / ODD, SAMPLE)


@pytest.fixture(scope="session")
@marking("processes")
def server(
    tmp_path_factory: pytest.TempPathFactory, tree: Path, public_pem: str, receiver: Receiver
) -> Iterator[LocalGitHub]:
    config = Config(
        repositories={REPOSITORY: tree, "octo-org/other": tree},
        state_dir=tmp_path_factory.mktemp("state") / ODD,
        port=0,
        app_public_key=public_pem,
        installation_id=77,
        webhook_url=receiver.url,
        webhook_secret=SECRET,
        personal_token="github_pat_local",
        actions_source=str(make_actions(tmp_path_factory.mktemp("github.com"))),
        minute=1,  # a job may take a second where its file says a minute
        secrets={"PASSWORD": "hunter2\nand more", "EMPTY": ""},
        variables={"COLOUR": "blue"},
        environments={REPOSITORY: ["production", "staging"]},
    )
    server = LocalGitHub(config)
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _behave(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no fault behind for the next test."""
    yield
    if "server" in request.fixturenames:
        world = request.getfixturevalue("server").world
        world.faults.reset()
        world.auth.fresh_seconds = 0
        world.suspend(False)


@pytest.fixture
def as_app(server: LocalGitHub, make_jwt: Callable[..., str]) -> Api:
    return Api(server.config.base_url, make_jwt())


@pytest.fixture(scope="session")
def token(server: LocalGitHub, make_jwt: Callable[..., str]) -> str:
    minted = Api(server.config.base_url, make_jwt()).post("/app/installations/77/access_tokens")
    assert minted.status_code == 201
    return minted.json()["token"]


@pytest.fixture
def api(server: LocalGitHub, token: str) -> Api:
    return Api(server.config.base_url, token)


@pytest.fixture
def control(server: LocalGitHub) -> Callable[..., dict[str, Any]]:
    """Call the control plane."""

    def call(path: str, **body: Any) -> dict[str, Any]:
        address = f"{server.config.base_url}/_local/{path}"
        known = {"Authorization": f"Bearer {server.world.control_token}"}
        answer = requests.request("POST" if body else "GET", address, json=body or None, headers=known, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    return call
