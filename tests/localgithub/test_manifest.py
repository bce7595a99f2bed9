"""From a manifest to an installed App, as a browser does it, and what others can't do in its place."""

import json
import re
import stat
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests

from localgithub.config import Config
from localgithub.server import LocalGitHub

from .conftest import Api, Receiver
from .oracles import check_answer, check_webhook
from .trees import git

BACK = "http://127.0.0.1:1/github/connected/"
SETUP = "http://127.0.0.1:1/github/installed/?from=github"
FORM = "application/x-www-form-urlencoded"


class Listener(Receiver):
    """A receiver of Apps whose secrets come into being in the test."""

    def take(self, headers: dict[str, str], raw: bytes) -> None:
        body = json.loads(raw)
        try:
            check_webhook(headers["x-github-event"], body)
        except Exception as error:
            self.problems.append(f"{headers['x-github-event']}: {error}")
        self.got.append((headers, body))

    def wait(self, event: str, action: str = "", count: int = 1) -> dict[str, Any]:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = [b for h, b in self.got if h["x-github-event"] == event and b.get("action", "") == action]
            if len(found) >= count:
                return found[-1]
            time.sleep(0.02)
        raise AssertionError(f"no {event}.{action}")


class Browser:
    """Loads pages and sends their forms, with the headers of a browser."""

    def __init__(self, base: str) -> None:
        self.base, self.page = base, ""

    def load(self, path: str) -> requests.Response:
        return self._keep(
            requests.get(self.base + path, headers={"Accept": "text/html"}, timeout=10, allow_redirects=False)
        )

    def post(self, path: str, fields: Any, origin: str | None = "", **headers: str) -> requests.Response:
        """Send a form; `origin` empty: from a page of the server's own."""
        sent = {"Accept": "text/html", **headers}
        if origin is not None:
            sent["Origin"] = origin or self.base
        answer = requests.post(self.base + path, data=fields, headers=sent, timeout=10, allow_redirects=False)
        return self._keep(answer)

    def send(self, number: int = 0, **changes: Any) -> requests.Response:
        """Send a form of the page that was loaded last."""
        action, inner = re.findall(r'<form method=post action="([^"]+)">(.*?)</form>', self.page, re.DOTALL)[number]
        fields: dict[str, Any] = {}
        for tag in re.findall(r"<input [^>]+>", inner):
            known = {name: unescape(a or b) for name, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|(\S+?)(?=[\s>]))', tag)}
            if known["type"] in ("hidden", "text") or " checked" in tag:
                fields[known["name"]] = known.get("value", "")
        return self.post(unescape(action), fields | changes)

    def _keep(self, answer: requests.Response) -> requests.Response:
        self.page = answer.text
        return answer


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()
    assert listener.problems == []


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(name)
        git(tmp_path / name, "init", "-q", "-b", "main")
        git(tmp_path / name, "add", ".")
        git(tmp_path / name, "commit", "-qm", "first")
    trees = {"me/one": tmp_path / "one", "me/two": tmp_path / "two", "octo-org/three": tmp_path / "three"}
    return Config(repositories=trees, state_dir=tmp_path / "state", port=0, person="me")


@pytest.fixture
def hub(config: Config) -> Iterator[LocalGitHub]:
    server = LocalGitHub(config)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def browser(hub: LocalGitHub) -> Browser:
    return Browser(hub.config.base_url)


def manifest(listener: Listener | None = None, **changes: Any) -> dict[str, Any]:
    made = {
        "name": "My Spells",
        "url": "http://127.0.0.1:1/",
        "redirect_url": BACK,
        "setup_url": SETUP,
        "public": False,
        "default_permissions": {"actions": "write", "contents": "read", "statuses": "write"},
        "default_events": ["push", "workflow_run", "workflow_job"],
    }
    if listener:
        made["hook_attributes"] = {"url": listener.url, "active": True}
    return {name: value for name, value in (made | changes).items() if value is not None}


def asked(browser: Browser, given: Any, path: str = "/settings/apps/new?state=s%26t") -> requests.Response:
    text = given if isinstance(given, str) else json.dumps(given)
    return browser.post(path, {"manifest": text}, origin="http://127.0.0.1:8000")


def code_of(answer: requests.Response) -> str:
    assert answer.status_code == 302, answer.text
    where = urlsplit(answer.headers["Location"])
    assert answer.headers["Location"].startswith(BACK + "?")
    assert parse_qs(where.query)["state"] == ["s&t"]
    return parse_qs(where.query)["code"][0]


def converted(browser: Browser, code: str) -> requests.Response:
    answer = requests.post(
        f"{browser.base}/app-manifests/{code}/conversions", headers={"User-Agent": "tests"}, timeout=10
    )
    check_answer(answer)
    return answer


def as_app(browser: Browser, made: dict[str, Any], issuer: Any = None) -> Api:
    present = int(time.time())
    claims = {"iat": present - 60, "exp": present + 300, "iss": str(issuer or made["client_id"])}
    return Api(browser.base, jwt.encode(claims, made["pem"], algorithm="RS256"))


def make(browser: Browser, listener: Listener | None = None, **changes: Any) -> dict[str, Any]:
    asked(browser, manifest(listener, **changes))
    return converted(browser, code_of(browser.send())).json()


@pytest.mark.processes
def test_app_is_made_and_installed_in_a_browser_and_lives_on(hub, browser, config, listener):
    answer = asked(browser, manifest(listener))
    assert answer.status_code == 200
    assert "Create GitHub App for me" in browser.page
    assert hub.world.apps.all() == [hub.world.apps.first]  # nothing is made by looking
    code = code_of(browser.send(name="Other Name"))
    made = converted(browser, code)
    assert made.status_code == 201
    app = made.json()
    assert (app["slug"], app["name"], app["owner"]["login"]) == ("other-name", "Other Name", "me")
    assert app["webhook_secret"]
    assert converted(browser, code).status_code == 404  # once
    assert listener.wait("ping")["hook"]["app_id"] == app["id"]

    for issuer in (app["client_id"], app["id"]):
        assert as_app(browser, app, issuer).get("/app").json()["id"] == app["id"]
    assert as_app(browser, app, 1).get("/app").status_code == 401  # no App speaks for another

    browser.load("/apps/other-name/installations/new?state=x")
    answer = browser.send(selection="selected", repository="me/one")
    where = urlsplit(answer.headers["Location"])
    query = parse_qs(where.query)
    assert (
        browser.post("/apps/other-name/installations/new", answer.request.body, **{"Content-Type": FORM}).headers[
            "Location"
        ]
        == answer.headers["Location"]
    )  # pressed twice
    assert (query["from"], query["setup_action"], query["state"]) == (["github"], ["install"], ["x"])
    number = int(query["installation_id"][0])
    told = listener.wait("installation", "created")
    assert (told["installation"]["id"], told["sender"]["login"]) == (number, "me")
    assert [one["full_name"] for one in told["repositories"]] == ["me/one"]

    token = as_app(browser, app).post(f"/app/installations/{number}/access_tokens").json()["token"]
    api = Api(browser.base, token)
    assert [one["name"] for one in api.get("/installation/repositories").json()["repositories"]] == ["one"]
    assert api.get("/repos/me/two").status_code == 404
    head = api.get("/repos/me/one/commits/main").json()["sha"]
    status = api.post(f"/repos/me/one/statuses/{head}", {"state": "success"}).json()
    assert status["creator"]["login"] == "other-name[bot]"
    assert api.get("/repos/me/one/commits/main/check-runs").status_code == 403  # not in its manifest
    assert as_app(browser, app).get("/repos/me/one/installation").json()["id"] == number
    assert as_app(browser, app).get("/users/Me/installation").json()["id"] == number
    assert as_app(browser, app).get("/orgs/octo-org/installation").status_code == 404
    assert as_app(browser, app).get("/repos/octo-org/three/installation").status_code == 404
    assert as_app(browser, app).post("/app/installations/1/access_tokens").status_code == 404  # another App's

    browser.load(f"/settings/installations/{number}")
    assert browser.send(selection="all").status_code == 302
    changed = listener.wait("installation_repositories", "added")
    assert [one["full_name"] for one in changed["repositories_added"]] == ["me/two"]
    assert changed["repository_selection"] == "all"
    assert api.get("/repos/me/two").status_code == 200

    hub.stop()
    config.port = 0
    again = LocalGitHub(config)
    again.start()
    try:
        browser = Browser(config.base_url)
        found = as_app(browser, app).get("/app/installations").json()
        assert [(one["id"], one["repository_selection"]) for one in found] == [(number, "all")]
        assert as_app(browser, app).get("/app/hook/config").json()["url"] == listener.url
        kept_app = again.world.apps.app(app["id"])
        assert kept_app
        assert kept_app.webhook_secret == app["webhook_secret"]
        browser.load(f"/settings/installations/{number}")
        browser.send(1)
        listener.wait("installation", "suspend")
        assert as_app(browser, app).post(f"/app/installations/{number}/access_tokens").status_code == 403
        browser.load(f"/settings/installations/{number}")
        browser.send(1)
        listener.wait("installation", "unsuspend")
        browser.load(f"/settings/installations/{number}")
        assert browser.send(2).status_code == 200
        listener.wait("installation", "deleted")
        assert as_app(browser, app).get("/app/installations").json() == []
        assert browser.load(f"/settings/installations/{number}").status_code == 404
        kept = config.state_dir / "apps.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert "PRIVATE KEY" not in kept.read_text()
    finally:
        again.stop()


@pytest.mark.processes
def test_flow_goes_on_after_a_restart_in_its_middle(hub, browser, config):
    asked(browser, manifest())
    hub.stop()
    first = LocalGitHub(config)  # on the same port
    first.start()
    code = code_of(browser.send())
    first.stop()
    second = LocalGitHub(config)
    second.start()
    try:
        assert converted(browser, code).status_code == 201
        assert converted(browser, code).status_code == 404
    finally:
        second.stop()


def test_what_was_kept_and_is_broken_names_its_file(config):
    config.state_dir.mkdir()
    for text in ("{", "[]", '{"apps": [{"id": 1}], "installations": [], "pending": {}}'):
        (config.state_dir / "apps.json").write_text(text)
        with pytest.raises(SystemExit, match=r"apps\.json, which has the Apps made here, can't be read"):
            LocalGitHub(config)


@pytest.mark.processes
def test_code_is_good_for_an_hour(hub, browser):
    asked(browser, manifest())
    code = code_of(browser.send())
    hub.world.apps._state.pending[code].until = time.time() - 1
    assert converted(browser, code).status_code == 404
    assert converted(browser, "x" * 40).status_code == 404


@pytest.mark.processes
def test_bad_manifest_is_refused_with_what_github_says(hub, browser):
    for change, said in (
        ("", "the manifest is no JSON"),
        ("[1]", "the manifest is not an object"),
        ("[" * 50_000, "the manifest is no JSON"),
        ({"url": None}, 'Error: "url" wasn\'t supplied.'),
        ({"hook_attributes": {"active": False}}, 'Error: "url" wasn\'t supplied.'),
        ({"hook_attributes": "x"}, 'Error: "url" wasn\'t supplied.'),
        ({"url": "javascript:alert(1)"}, "url must be a valid URL"),
        ({"redirect_url": "javascript:alert(1)"}, "redirect_url must be a valid URL"),
        ({"setup_url": "//x"}, "setup_url must be a valid URL"),
        ({"callback_urls": ["x"]}, "callback_urls[0] must be a valid URL"),
        ({"surprise": 1}, '"surprise" is not a permitted key.'),
        ({"public": "yes"}, "public is not a boolean"),
        ({"name": 1}, "name is not a string"),
        ({"default_permissions": ["x"]}, "default_permissions is not an object"),
        ({"default_permissions": {"magic": "write"}}, "resource is not included in the list: magic"),
        ({"default_permissions": {"contents": "admin"}}, "action is not included in the list: contents: admin"),
        ({"default_permissions": {"metadata": "write"}}, "action is not included in the list: metadata: write"),
        ({"default_permissions": {"contents": ["x"]}}, "action is not included in the list"),
        ({"default_events": ["installation"]}, "Default events unsupported: installation"),
        (
            {"default_permissions": {"actions": "read"}, "default_events": ["push"]},
            "not supported by permissions: push",
        ),
        ({"default_events": "push"}, "default_events is not an array"),
    ):
        given = change if isinstance(change, str) else manifest(**change)
        answer = asked(browser, given)
        assert answer.status_code == 422, said
        assert said in unescape(browser.page), said
    assert asked(browser, manifest(), "/organizations/nobody/settings/apps/new").status_code == 404
    assert len(hub.world.apps.all()) == 1


@pytest.mark.processes
def test_name_is_asked_for_again_until_it_is_good(hub, browser):
    make(browser)
    asked(browser, manifest(description='<script>alert("x")</script>', name='"><b>'))
    assert "<b>" not in browser.page
    for name, said in (
        ("", "Name can't be blank"),
        ("!!", "Name can't be blank"),
        ("x" * 35, "Name is too long (maximum is 34 characters)"),
        ("my spells", "Name has already been taken"),
        ("Local spells", "Name has already been taken"),
    ):
        assert browser.send(name=name).status_code == 422
        assert said in unescape(browser.page)
    assert browser.send(name="Second").status_code == 302
    assert len(hub.world.apps.all()) == 3


@pytest.mark.processes
def test_no_other_page_can_send_our_forms(hub, browser):
    app = make(browser, redirect_url=BACK)
    browser.load(f"/apps/{app['slug']}/installations/new")
    browser.send(selection="all")
    [one] = hub.world.apps.installations(hub.world.apps.app(app["id"]))
    settings = f"/settings/installations/{one.id}"
    browser.load(settings)
    good = re.findall(r'name="authenticity_token" value="(\w+)"', browser.page)[0]
    targets = {
        "/settings/apps": {"manifest": json.dumps(manifest(name="Evil")), "name": "Evil"},
        "/organizations/octo-org/settings/apps": {"manifest": json.dumps(manifest(name="Evil")), "name": "Evil"},
        "/apps/local-spells/installations/new": {"account": "me", "selection": "all"},
        settings: {"do": "uninstall"},
    }
    before = (hub.world.apps.all(), hub.world.apps.installations())
    for path, fields in targets.items():
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", browser.base + ".evil.example", "file://"):
            assert browser.post(path, {**fields, "authenticity_token": good}, origin).status_code == 403, (path, origin)
        for token in ("", "x", "ü"):
            assert browser.post(path, {**fields, "authenticity_token": token}).status_code == 403, path
        assert browser.post(path, fields).status_code == 403
        rebound = browser.post(path, {**fields, "authenticity_token": good}, None, Host="evil.example")
        assert rebound.status_code == 421
        as_text = browser.post(path, "do=uninstall", None, **{"Content-Type": "text/plain"})
        assert as_text.status_code == 415
        as_json = browser.post(path, json.dumps(fields), None, **{"Content-Type": "application/json"})
        assert as_json.status_code == 415
    # The page that shows a manifest is for all; others than pages with forms stay closed, by their own Origin too.
    assert asked(browser, manifest()).status_code == 200
    assert browser.post("/settings/apps/new", {"manifest": json.dumps(manifest())}, "null").status_code == 200
    assert browser.post("/app-manifests/x/conversions", "", browser.base).status_code == 403
    huge = browser.post("/settings/apps/new", {"manifest": "x" * 300_000}, "null")
    assert huge.status_code == 413
    assert (hub.world.apps.all(), hub.world.apps.installations()) == before
    for path in (settings, "/settings/apps/new", "/apps/local-spells"):
        shown = browser.load(path)
        assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"], path


@pytest.mark.processes
def test_private_app_is_for_its_owner_and_a_public_one_for_all(hub, browser):
    mine = make(browser)
    browser.load(f"/apps/{mine['slug']}/installations/new")
    assert "Install My Spells on me" in browser.page
    assert browser.send(account="octo-org", selection="all").status_code == 404
    browser.load(f"/apps/{mine['slug']}/installations/new")
    assert browser.send(selection="selected").status_code == 422  # no repository
    public = make(browser, name="Public", public=True)
    browser.load(f"/apps/{public['slug']}/installations/new")
    links = re.findall(r'<a href="(\?target_id=\d+)">([\w-]+)</a>', browser.page)
    assert [name for _, name in links] == ["me", "octo-org"]
    browser.load(f"/apps/{public['slug']}/installations/new{links[1][0]}")
    assert browser.send(selection="all").status_code == 302
    again = browser.load(f"/apps/{public['slug']}/installations/new{links[1][0]}")
    assert again.headers["Location"].startswith("/settings/installations/")
    asked(browser, manifest(name="Of the org"), "/organizations/octo-org/settings/apps/new?state=s%26t")
    org = converted(browser, code_of(browser.send())).json()
    assert (org["owner"]["login"], org["owner"]["type"]) == ("octo-org", "Organization")
    browser.load("/apps/of-the-org/installations/new")
    assert "on octo-org" in browser.page


@pytest.mark.processes
def test_configured_installation_has_its_page_too(hub, browser):
    browser.load("/settings/installations/1")
    assert browser.send(selection="selected", repository="me/two").status_code == 302
    [one] = hub.world.apps.installations(hub.world.apps.first)
    assert one.repositories == ["me/two"]
    browser.load("/settings/installations/1")
    browser.send(2)
    assert browser.load("/settings/installations/1").status_code == 404
    browser.load("/apps/local-spells/installations/new")
    assert browser.send(selection="all").headers["Location"] == "/settings/installations/1"
