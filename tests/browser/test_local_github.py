"""The local GitHub's own pages, in a browser: from another site's form to an App that is installed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from localgithub.config import Config
from localgithub.server import LocalGitHub

OpenPage = Callable[..., Page]
# What the platform's own pages say: with it a browser sends `Origin: null` to other sites.
POLICY = {"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalGitHub]:
    trees = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        trees[f"me/{name}"] = tmp_path / name
    server = LocalGitHub(Config(repositories=trees, state_dir=tmp_path / "state", port=0, person="me"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(hub: LocalGitHub) -> Iterator[str]:
    """A site of somebody's that sends people to make an App, and whose /evil makes one in their name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            home = f"http://127.0.0.1:{server.server_port}"
            manifest = {"name": "Mine", "url": home, "redirect_url": f"{home}/back", "setup_url": f"{home}/setup"}
            target = "/settings/apps" if self.path == "/evil" else "/settings/apps/new?state=s"
            raw = (
                f'<!doctype html><link rel=icon href="data:,"><form method=post action="{hub.config.base_url}{target}">'
                f'<input name=manifest value="{escape(json.dumps(manifest))}"><input name=name value=Mine>'
                "<button>Go</button></form>"
            ).encode()
            self.send_response(200)
            for name, value in {"Content-Type": "text/html", "Content-Length": str(len(raw)), **POLICY}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_app_is_made_and_installed_by_pressing_buttons(hub: LocalGitHub, site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/start")
    page.get_by_role("button").click()
    page.get_by_label("GitHub App name").fill("My own")
    page.get_by_role("button", name="Create GitHub App").click()
    page.wait_for_url(f"{site}/back?code=*&state=s")
    code = page.url.split("code=")[1].split("&")[0]
    made = requests.post(f"{hub.config.base_url}/app-manifests/{code}/conversions", timeout=10).json()
    page.goto(made["html_url"])
    page.get_by_role("link", name="Install").click()
    page.get_by_label("Only select repositories").check()
    page.get_by_label("me/two").check()
    page.get_by_role("button", name="Install").click()
    page.wait_for_url(f"{site}/setup?installation_id=*&setup_action=install")
    [installation] = hub.world.apps.installations(hub.world.apps.app(made["id"]))
    assert installation.repositories == ["me/two"]
    page.goto(f"{hub.config.base_url}/settings/installations/{installation.id}")
    page.get_by_role("button", name="Uninstall").click()
    expect(page.get_by_role("heading")).to_have_text("Uninstalled")
    assert hub.world.apps.installations(hub.world.apps.app(made["id"])) == []


def test_a_site_can_t_press_the_button_itself(hub: LocalGitHub, site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/evil", quiet=False)
    page.get_by_role("button").click()
    expect(page.locator("body")).to_contain_text("answers no web pages")
    assert len(hub.world.apps.all()) == 1
