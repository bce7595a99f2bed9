"""What the demo keeps between starts and lends to other commands. That it runs, CI tries: `make demo ONCE=1`."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from accounts import keys
from accounts.models import Account, ApiKey, Membership
from spellplatform.demo import environment, receive, tour
from spellplatform.management.commands.demo import Command
from tests import warm
from tests.conftest import marking
from tests.e2e.platform import free_port

ROOT = Path(__file__).resolve().parents[2]
IN = "import sys, pathlib; from spellplatform.demo import environment as e; e.ROOT = pathlib.Path(sys.argv[1]);"


def python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    command = [sys.executable, "-c", code, *arguments]
    return warm.run(command, cwd=ROOT, env=kept | more, capture_output=True, timeout=60)


def prepared(root: Path) -> dict[str, str]:
    """Prepare a demo in a folder of its own; return the environment that it has then."""
    done = python(
        f"{IN} e.prepare(); import json, os; print(json.dumps(dict(os.environ)))", str(root), GITHUB_TOKEN="no"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the settings ----------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_secrets_stay_between_starts_and_are_its_owners_alone(tmp_path):
    first, second = prepared(tmp_path), prepared(tmp_path)
    for name in ("SECRET_KEY", "GITHUB_WEBHOOK_SECRET", "GITHUB_APP_PRIVATE_KEY"):
        assert first[name] == second[name] != ""
    folder = tmp_path / "var" / "demo"
    assert mode(folder) == 0o700
    for name in ("secrets.json", "settings.json", "app.pem"):
        assert mode(folder / name) == 0o600, name
    assert sorted(folder.glob("*.new")) == []


@pytest.mark.processes
def test_a_demo_with_billing_begins_anew_in_a_folder_of_its_own(tmp_path):
    code = (
        "prepared = {}\n"
        "for billing in (True, True, False):\n"
        "    e._locks.clear()\n"
        "    e.prepare(billing=billing)\n"
        "    folder = pathlib.Path(os.environ['VAR_DIR'])\n"
        "    print(folder.name, os.environ['STRIPE_SECRET_KEY'][:8], (folder / 'old' / 'file').exists())\n"
        "    (folder / 'old').mkdir(exist_ok=True)\n"
        "    (folder / 'old' / 'file').touch()\n"
    )
    done = python(f"{IN} import os\n{code}", str(tmp_path), STRIPE_SECRET_KEY="sk_live_mine")
    assert done.stderr == ""
    new = "demo-billing sk_test_ False"
    assert done.stdout.splitlines() == [new, new, "demo  False"]


@pytest.mark.processes
def test_callbacks_may_go_to_this_machine(tmp_path):
    assert prepared(tmp_path)["CALLBACK_ALLOWED_HOSTS"] == "127.0.0.1,localhost"


@pytest.mark.processes
def test_another_command_gets_the_demos_settings(tmp_path):
    started = prepared(tmp_path)
    code = f"{IN} e.reuse(); import json, os; print(json.dumps(dict(os.environ)))"
    done = python(code, str(tmp_path), GITHUB_TOKEN="mine", SECRET_KEY="mine", DATABASE_URL="mine")
    names = json.loads((tmp_path / "var" / "demo" / "settings.json").read_text())
    got = json.loads(done.stdout)
    assert {name: got[name] for name in names} == {name: started[name] for name in names}
    assert "GITHUB_TOKEN" not in got
    assert "not running" in done.stderr
    folder = tmp_path / "var" / "demo"
    assert json.loads(python(code, "/nowhere", VAR_DIR=str(folder)).stdout)["VAR_DIR"] == str(folder)


@pytest.mark.processes
def test_without_a_demo_it_says_how_to_start_one(tmp_path):
    done = python(f"{IN} e.reuse()", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"There is no demo in {tmp_path}/var/demo yet. Start one with: make demo\n"


@pytest.mark.processes
def test_manage_runs_another_command_in_the_demo(tmp_path):
    prepared(tmp_path)
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ} | {"VAR_DIR": str(tmp_path / "var/demo")}
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", "verifyledger"], cwd=ROOT, env=kept, capture_output=True, text=True
    )
    assert "The database is empty" in done.stderr  # the demo's own database, that nobody has filled yet
    assert (tmp_path / "var" / "demo" / "spell.sqlite3").exists()


# --- key and password ------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(db, settings, tmp_path) -> Command:
    settings.VAR_DIR = tmp_path
    return Command(stdout=io.StringIO())


def test_key_and_password_stay_between_starts(demo, settings, client):
    key, password = demo.prepare()
    assert demo.prepare() == (key, password)
    assert keys.authenticate(key).account.name == "demo"
    assert client.login(username="admin", password=password)
    assert Membership.objects.get().role == "owner"  # who may pay
    assert ApiKey.objects.count() == 1
    assert mode(settings.VAR_DIR / "login.json") == 0o600


def test_a_key_that_opens_nothing_any_more_is_replaced(demo):
    key, password = demo.prepare()
    keys.revoke(keys.authenticate(key))
    another, same = demo.prepare()
    assert another != key
    assert same == password
    assert keys.authenticate(another)


@pytest.mark.parametrize("kept", ["", "{", '{"key": "sk_live_spl_x"}', "{}"])
def test_a_file_that_holds_no_login_is_written_anew(demo, settings, client, kept):
    (settings.VAR_DIR / "login.json").write_text(kept)
    key, password = demo.prepare()
    assert keys.authenticate(key)
    assert client.login(username="admin", password=password)
    assert mode(settings.VAR_DIR / "login.json") == 0o600


def test_a_key_of_another_account_is_not_taken_for_the_demos(demo, settings):
    _, foreign = keys.create(Account.objects.create(name="other"), name="demo")
    environment.keep(settings.VAR_DIR / "login.json", {"key": foreign, "password": "p"})
    key, _ = demo.prepare()
    assert key != foreign


# --- what it prints --------------------------------------------------------------------------------------------------


def test_it_prints_lines_to_copy(demo, settings, monkeypatch):
    settings.VAR_DIR /= "it's here"
    cast = {"cast_id": "c", "spell_key": "s", "cost_cents": 1, "events_url": "e", "progress_url": "p"}
    for name, answer in (("cast", cast), ("watch", {}), ("result", "report"), ("page_answers", None)):
        monkeypatch.setattr(tour, name, lambda *_, answer=answer: answer)
    demo.show("KEY", "pass", demo.cast("KEY"))
    lines = demo.stdout.getvalue().splitlines()
    curls = [shlex.split(line) for line in lines if line.startswith("curl ")]
    bodies = [json.loads(words[words.index("-d") + 1]) for words in curls]
    assert bodies[0] == {"spell_key": "greet", "input": {"name": "Merlin"}}
    assert bodies[1] == bodies[0] | {"callback_url": f"http://127.0.0.1:{receive.PORT}/"}
    assert ".venv/bin/python -m spellplatform.demo.receive" in lines
    commands = [shlex.split(line) for line in lines if "manage.py demo" in line]
    assert [words[4] for words in commands] == ["loadspells", "doctor", "createapikey"]
    assert {words[0] for words in commands} == {f"VAR_DIR={settings.VAR_DIR}"}


# --- the receiver ----------------------------------------------------------------------------------------------------


@pytest.fixture
@marking("processes")
def receiver():
    port = free_port()
    command = [sys.executable, "-m", "spellplatform.demo.receive", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert str(port) in process.stdout.readline()
    yield f"http://127.0.0.1:{port}/hook", process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_the_receiver_shows_what_arrives(receiver):
    url, process = receiver
    head = {"webhook-id": "msg_1", "webhook-timestamp": "17", "webhook-signature": "v1,x"}
    assert requests.post(url, json={"type": "cast.succeeded"}, headers=head, timeout=10).status_code == 204
    assert requests.post(url, data="no json", timeout=10).status_code == 204
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out.startswith(
        'POST /hook\nwebhook-id: msg_1\nwebhook-timestamp: 17\nwebhook-signature: v1,x\n{\n  "type": '
    )
    assert "webhook-signature: (missing)\nno json\n" in out
    assert (out.endswith("Stopped.\n"), err) == (True, "")


def test_a_port_that_is_taken_is_told_in_a_sentence(receiver):
    port = receiver[0].split(":")[2].split("/")[0]
    command = [sys.executable, "-m", "spellplatform.demo.receive", port]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} can't be had: ")
    assert len(done.stderr.splitlines()) == 1


# --- repositories of one's own ---------------------------------------------------------------------------------------


def test_folders_are_served_under_their_own_names_beside_the_demo(tmp_path):
    for name in ("tools", "my tools"):
        (tmp_path / name / ".github" / "workflows").mkdir(parents=True)
    served = environment.repositories([tmp_path / "tools", tmp_path / "my tools"])
    assert list(served) == ["demo/spells", "demo/tools", "demo/my-tools"]
    assert served["demo/my-tools"] == tmp_path / "my tools"


@pytest.mark.parametrize(
    ("folder", "why"),
    [("nowhere", "no such folder"), (".", "no .github/workflows"), ("spells", "served as demo/spells already")],
)
def test_what_can_t_be_served_is_said_before_anything_starts(tmp_path, folder, why):
    (tmp_path / "spells" / ".github" / "workflows").mkdir(parents=True)
    with pytest.raises(ValueError, match=why):
        environment.repositories([tmp_path / folder])
