"""What deploy/nginx and deploy/caddy write of a request that failed, with the real programs and no service behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests

from tests.deploy.image import ROOT
from tests.deploy.sandbox import needs
from tests.e2e.platform import free_port, until

pytestmark = pytest.mark.processes
TOKEN = "a-token-of-a-link"
AROUND = """
daemon off; pid HERE/pid; error_log HERE/error.log; events {}
http {
    client_body_temp_path HERE/a; proxy_temp_path HERE/b; fastcgi_temp_path HERE/c;
    uwsgi_temp_path HERE/d; scgi_temp_path HERE/e;
    upstream spell_platform { server 127.0.0.1:1; }
    upstream spell_platform_anew { server 127.0.0.1:1; }
    include HERE/common.conf;
    include HERE/plain.conf;
}
"""


def nginx(folder: Path, port: int) -> list[str]:
    for name in ("common.conf", "pass.conf", "plain.conf"):
        text = (ROOT / "deploy" / "nginx" / name).read_text().replace("listen 80 ", f"listen 127.0.0.1:{port} ")
        for there in ("/etc/nginx/spell-platform", "/var/log/nginx"):
            text = text.replace(there, str(folder))
        (folder / name).write_text(text)
    (folder / "nginx.conf").write_text(AROUND.replace("HERE", str(folder)))
    return ["nginx", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int) -> list[str]:
    text = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
    text = text.replace("{\n", "{\n\tadmin off\n", 1).replace("lb_try_duration 10s", "lb_try_duration 0s")
    text = text.replace("{$SITE:spells.example.com}", f"http://127.0.0.1:{port}").replace(
        "127.0.0.1:8000", "127.0.0.1:1"
    )
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_no_token_of_a_link_is_in_what_a_proxy_writes(proxy, tmp_path: Path):
    needs(proxy.__name__)
    port = free_port()
    with (tmp_path / "output").open("wb") as output:
        program = subprocess.Popen(proxy(tmp_path, port), stdout=output, stderr=output)
    try:

        def asked() -> int:
            try:
                url = f"http://127.0.0.1:{port}/casts/its-id?token={TOKEN}"
                return requests.get(url, timeout=60).status_code
            except requests.ConnectionError:
                return 0

        assert until(asked) == 502
    finally:
        program.terminate()
        program.wait(20)
    told = {file.name: file.read_text() for file in tmp_path.iterdir() if file.is_file()}
    assert [name for name, text in told.items() if TOKEN in text] == []
    assert "/casts/its-id" in "".join(told.values())  # that it failed is told
