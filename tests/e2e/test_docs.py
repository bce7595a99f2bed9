"""Every `curl` of the documentation does what is shown: run as it is written, beside the running demo."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.casts.receivers import receiver
from tests.e2e.platform import ROOT, server, until
from tests.pages import PAGES, name_of

pytestmark = pytest.mark.skipif(bool(server()), reason="The demo has a SQLite database of its own; once is enough.")

LEFT_BEHIND = (".git", ".venv", "var", "tests", "staticfiles", "*_cache", ".hypothesis", "__pycache__")
FIRST_SPELL = "docs/tutorial/your-first-spell.md"
KEY_LINE = "export BASE=http://127.0.0.1:8000 KEY=sk_live_spl_...\n"  # for the reader to fill in
# What an example can't know. Of these only the kind of the value is compared, of all others the value.
VOLATILE = {
    *("cast_id", "created_at", "expires_at", "request_id", "progress_url", "events_url", "url", "id", "prefix"),
    *("secret", "digest", "size_bytes", "next_try_at", "next", "retry_of", "captured_cents", "held_cents"),
    *("remaining_cents", "month", "resets_at", "total_cents", "tries", "day", "casts", "open_casts"),
    *("version", "spell_version"),  # the documentation's other examples change spells too
}


# --- the demo --------------------------------------------------------------------------------------------------------


@dataclass
class Demo:
    """`manage.py demo`, in a copy of the project, and a shell beside it."""

    folder: Path
    base: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(self, method: str, path: str, *, key: str = "KEY", **options: Any) -> Any:
        """Send a request; return the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.variables[key]}", **options.pop("headers", {})}
        answer = requests.request(method, f"{self.base}/api/v1{path}", headers=headers, timeout=90, **options)
        assert answer.ok, answer.text
        return answer.json()

    def cast(self, *, wait: bool = True, **body: Any) -> str:
        """Cast greet; return the id, of a cast that has ended by default."""
        wanted = {"spell_key": "greet", "input": {"name": "Three"}} | body
        made = self.call("POST", "/cast", json=wanted)["cast_id"]
        if wait:
            until(lambda: self.call("GET", f"/casts/{made}", headers={"Prefer": "wait=60"})["final"])
        return str(made)

    def shell(self, block: str) -> tuple[str, list[tuple[int, str]]]:
        """Run a block as it is written; return what it printed, and each curl's status and headers."""
        heard = self.folder / f"heard-{next(self.numbers)}"
        heard.mkdir()
        environment = {**os.environ, **self.variables, "HEARD": str(heard)}
        environment["PATH"] = f"{self.folder / 'shim'}:{environment['PATH']}"
        for name in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "VAR_DIR", "ARTIFACT_ROOT", "PUBLIC_URL"):
            environment.pop(name, None)  # of the tests
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block + "\nexport -p > exported"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        for name, value in re.findall(r'^declare -x (\w+)="(.*)"$', (self.folder / "exported").read_text(), re.M):
            if re.search(rf"^export (.* )?{name}=", block, re.M):
                self.variables[name] = value
        headers = [file.read_text() for file in sorted(heard.iterdir())]
        return done.stdout, [(int(re.findall(r"^HTTP/\S+ (\d+)", text, re.M)[-1]), text) for text in headers]


def letters(parent: Path) -> Path:
    """Make the repository of the tutorial about the first spell."""
    tree = parent / "letters"
    workflow = tree / ".github" / "workflows" / "letter.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(yaml_of(FIRST_SPELL)[0])
    subprocess.run(["git", "-C", str(tree), "init", "-q", "-b", "main"], check=True)
    commit(tree)
    return tree


def commit(tree: Path) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tree), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(tree), *who, "commit", "-qm", "change"], check=True)


def yaml_of(doc: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", (ROOT / doc).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    for tool in ("curl", "openssl"):
        assert shutil.which(tool), f"the documentation's examples need {tool}"
    folder = tmp_path_factory.mktemp("docs") / "spells"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "shim").mkdir()
    curl = folder / "shim" / "curl"
    # Named by the time, so that they sort as they were sent.
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} -D "$HEARD/$(date +%s%N)" "$@"\n')
    curl.chmod(0o755)
    environment = {n: os.environ[n] for n in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if n in os.environ}
    environment |= {"CALLBACK_ALLOWED_HOSTS": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [str(folder / ".venv" / "bin" / "python"), "manage.py", "demo", "--repository", str(letters(folder.parent))],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout:
            printed.extend(process.stdout)  # line by line, to its end

    ears = threading.Thread(target=listen, daemon=True)
    ears.start()
    try:
        until(lambda: process.poll() is not None or "Serving until Ctrl-C.\n" in printed, seconds=120)
        assert process.poll() is None, "".join(printed)
        [(base, key)] = set(
            re.findall(r"curl -sS (\S+)/api/v1/cast -H 'Authorization: Bearer (\S+)'", "".join(printed))
        )
        yield Demo(folder, base, {"BASE": base, "KEY": key})
    finally:
        process.terminate()
        process.wait(60)
        ears.join(10)


# --- what the documentation says -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """One block of shell, and what is shown below it before the next one."""

    doc: str
    text: str
    shown: Any  # JSON; None if there is none
    headers: dict[str, str]  # of a shown answer


def blocks() -> list[Block]:
    """Return every block of shell, in the order of the documents."""
    found = []
    for path in PAGES:
        fenced = re.findall(r"^```(\w*)\n(.*?)^```$|^(#+ )", path.read_text(), re.M | re.S)
        for place, (kind, text, _) in enumerate(fenced):
            if kind != "sh":
                continue
            below = list(itertools.takewhile(lambda part: part[0] in ("json", "text"), fenced[place + 1 :]))
            shown = next((json.loads(said) for kind, said, _ in below if kind == "json"), None)
            answer = next((said for kind, said, _ in below if kind == "text" and said.startswith("HTTP/")), "")
            found.append(Block(name_of(path), text, shown, dict(re.findall(r"^([\w-]+): (.*)$", answer, re.M))))
    return found


def differences(shown: Any, real: Any, at: str = "") -> Iterator[str]:
    """Yield in what an answer differs from the shown one; it may have more fields."""
    name = at.rsplit("/", 1)[-1]
    if isinstance(shown, dict) and isinstance(real, dict):
        for field_name, value in shown.items():
            if field_name not in real:
                yield f"{at}/{field_name} is not in the answer"
            elif field_name != "created_by":  # another key than on the page
                yield from differences(value, real[field_name], f"{at}/{field_name}")
    elif isinstance(shown, list) and isinstance(real, list):
        if len(shown) > len(real) and name != "days":  # there are none but in the month of the example
            yield f"{at} has {len(real)} items, not {len(shown)}"
        for number, (one, other) in enumerate(zip(shown, real, strict=False)):
            yield from differences(one, other, f"{at}/{number}")
    elif shown != real and not (name in VOLATILE and type(shown) is type(real)):
        yield f"{at} is {real!r}, not {shown!r}"


Prepare = Callable[[Demo, contextlib.ExitStack], None]


@dataclass(frozen=True)
class Snippet:
    """How one block is run: found by a part of it, and what its calls are answered with."""

    doc: str
    part: str
    statuses: tuple[int, ...]
    prepare: Prepare | None = None
    instead: tuple[tuple[str, str], ...] = ()  # what the reader fills in
    prints: str = ""  # a pattern
    again: tuple[int, ...] = ()  # the statuses when it is run once more
    again_header: str = ""


def with_id(**body: Any) -> Prepare:
    """Let $ID be a cast that has ended."""

    def prepare(demo: Demo, _: contextlib.ExitStack) -> None:
        demo.variables["ID"] = demo.cast(**body)

    return prepare


def with_running(demo: Demo, _: contextlib.ExitStack) -> None:
    """Let $ID be a cast that runs."""
    demo.variables["ID"] = cast = demo.cast(wait=False, input={"name": "Three", "times": 5})
    until(lambda: demo.call("GET", f"/casts/{cast}")["status"] == "running", every=0.02)


def with_queued(demo: Demo, _: contextlib.ExitStack) -> None:
    """Let $ID be a cast that was just made."""
    demo.variables["ID"] = demo.cast(wait=False)


def with_refusing_receiver(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    """Let $ID be a cast whose receiver answers 503."""
    inbox = cleaning.enter_context(receiver())
    inbox.answers = [(503, {})]
    demo.variables["ID"] = cast = demo.cast(callback_url=f"{inbox.url}")
    log = f"/callbacks?cast={cast}&state=pending"
    until(
        lambda: [
            one for one in demo.call("GET", log, key="ADMIN_KEY")["results"] if one["next_try_at"] and one["tries"]
        ]
    )


def without_the_endpoint(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    """Delete the endpoint that the block makes: nobody is there."""

    def delete() -> None:
        for endpoint in demo.call("GET", "/callbacks/endpoints", key="ADMIN_KEY")["results"]:
            path = f"{demo.base}/api/v1/callbacks/endpoints/{endpoint['id']}"
            headers = {"Authorization": f"Bearer {demo.variables['ADMIN_KEY']}"}
            assert requests.delete(path, headers=headers, timeout=60).status_code == 204

    cleaning.callback(delete)


def with_a_cap(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    """Have the key's cap that is shown."""
    cap = {"scope": "key", "key_id": 1}
    demo.call("PATCH", "/budget", key="ADMIN_KEY", json=cap | {"cap_cents": 25})
    cleaning.callback(demo.call, "PATCH", "/budget", key="ADMIN_KEY", json=cap | {"cap_cents": None})


def without_the_cap(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    """Lift the cap that the block sets."""
    cap = {"scope": "key", "key_id": 1, "cap_cents": None}
    cleaning.callback(demo.call, "PATCH", "/budget", key="ADMIN_KEY", json=cap)


def with_ten_keys(demo: Demo, _: contextlib.ExitStack) -> None:
    """Have a key of the number that is shown."""
    while demo.call("POST", "/keys", key="ADMIN_KEY", json={"name": "one more"})["id"] < 10:
        pass


def with_the_spell_of_the_page(demo: Demo, _: contextlib.ExitStack) -> None:
    """Write the workflow and its entry into the files that the page names, and load them as it says."""
    text = (ROOT / WRITE).read_text()
    for language, name in (("yaml", ".github/workflows/shout.yml"), ("toml", "shout.toml")):
        before, written = re.findall(rf"^([^\n]+:)\n\n```{language}\n(.*?)^```$", text, re.M | re.S)[0]
        assert f"`{name}`" in before
        (demo.folder / name).write_text(written)
    [load] = [block.text for block in blocks() if block.doc == WRITE and "demo loadspells" in block.text]
    printed = demo.shell(load)[0]
    assert printed.strip() in text


def with_the_webhooks_secret(demo: Demo, _: contextlib.ExitStack) -> None:
    secrets = json.loads((demo.folder / "var" / "demo" / "secrets.json").read_text())
    demo.variables["SECRET"] = secrets["GITHUB_WEBHOOK_SECRET"]


README, API, TUTORIAL = "README.md", "docs/reference/api.md", "docs/tutorial/first-cast.md"
SETUP, WRITE = "docs/how-to/github-actions-setup.md", "docs/how-to/write-a-spell.md"
TROUBLESHOOTING = "docs/how-to/troubleshooting.md"
IMPORT = ".venv/bin/python manage.py demo importspells demo/letters"


def with_letters_imported(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    demo.shell(IMPORT)


def with_letters_own_spells(demo: Demo, cleaning: contextlib.ExitStack) -> None:
    """Say whose the installation's spells are, as an operator does in the admin, and commit the tutorial's file."""
    choose = (
        "from accounts.models import Account; from github_integration.models import Installation; "
        "Installation.objects.filter(pk=1).update(account=Account.objects.get(name='demo'))"
    )
    demo.shell(f'.venv/bin/python manage.py demo shell -v0 -c "{choose}"')
    [file] = re.findall(r"^```toml\n(.*?)^```$", text_of(FIRST_SPELL), re.MULTILINE | re.DOTALL)
    tree = demo.folder.parent / "letters"
    (tree / ".github" / "spells.toml").write_text(file)
    commit(tree)
    until(lambda: "letters-write" in str(demo.call("GET", "/spells")))


SNIPPETS = [
    Snippet(README, '"name": "Merlin"', (201,), prints='"final":true'),
    Snippet(TUTORIAL, "/spells/greet", (200,), prints='"price_cents":1,'),
    Snippet(TUTORIAL, '"name": "Merlin"', (201,)),
    Snippet(TUTORIAL, "EVENTS=$(curl", (201, 200), prints=r'(?s)^retry: 2000.*"final":true'),
    Snippet(TUTORIAL, '"input": {"name": 7}', (422,)),
    Snippet(TUTORIAL, '"spell_key": "stumble"', (201,)),
    Snippet(TUTORIAL, "/budget", (200,)),
    Snippet(WRITE, '"spell_key": "shout"', (201,), with_the_spell_of_the_page),
    Snippet(API, '-H \'Prefer: wait=30\' -d \'{"spell_key": "greet", "input": {"name": "Ada"}}\'', (201,)),
    Snippet(API, '"metadata": {"order": "A-17"}', (201,)),
    Snippet(API, '"input": {"nam": "Ada", "times": 20}', (422,)),
    Snippet(API, "Idempotency-Key: order-A-17", (201,), again=(201,), again_header="Idempotent-Replayed: true"),
    Snippet(API, "$ID/cancel", (202,), with_running),
    Snippet(API, "$ID/retry", (202,), with_id(input={"name": "Three", "times": 1})),
    Snippet(API, "until curl", (200,), with_queued),
    Snippet(API, "$ID/events", (200,), with_queued, prints=r'^retry: 2000\n\nid: \d+\ndata: \{(?s:.*)"final":true'),
    Snippet(API, "metadata.order=A-17&page_size=1", (200,), with_id(metadata={"order": "A-17"})),
    Snippet(API, "artifacts/spell-result", (200,), with_id()),
    Snippet(API, "DELETE $BASE/api/v1/casts/$ID/links", (204,), with_id()),
    Snippet(API, '"https://shop.example.com/hooks/spells"', (201,), without_the_endpoint),
    Snippet(API, "callbacks?cast=$ID&state=pending", (200,), with_refusing_receiver),
    Snippet(API, "/spells/greet", (200,)),
    Snippet(API, "curl -sS $BASE/api/v1/budget", (200,), with_a_cap),
    Snippet(API, "PATCH $BASE/api/v1/budget", (200,), without_the_cap),
    Snippet(API, "/usage?from=2026-11-01&to=2026-11-30", (200,)),
    Snippet(API, '/keys -H "Authorization: Bearer $ADMIN_KEY"\n', (200,)),
    Snippet(API, '"nightly report"', (201,)),
    Snippet(API, "/keys/10/rotate", (201,), with_ten_keys),
    Snippet(API, "DELETE $BASE/api/v1/keys/10", (204,), with_ten_keys),
    Snippet(API, "/audit?page_size=5", (200,)),
    Snippet(FIRST_SPELL, '"copies": 2', (201,), with_letters_imported),
    Snippet(FIRST_SPELL, '"tone": "rude"', (422,), with_letters_imported),
    Snippet(FIRST_SPELL, '"copies": 9', (201,), with_letters_imported),
    Snippet(FIRST_SPELL, "/spells/letters-write", (200,), with_letters_own_spells, prints="Write letters"),
    Snippet(SETUP, "Prefer: wait=60", (201,), prints=r'"greeting": ?"Hello, Ada!"'),
    Snippet(
        SETUP,
        "openssl dgst",
        (202,),
        with_the_webhooks_secret,
        instead=(("https://spells.example.com", "$BASE"), ("export SECRET=the-webhook-secret\n", "")),
        prints="^202$",
    ),
]
# Each with the reason why it can't run here.
NOT_RUN = {
    (TROUBLESHOOTING, "curl -sS https://api.github.com/zen"): "asks github.com itself",
    ("docs/how-to/operate/target-down.md", "http://TARGET/metrics"): "asks another machine",
}


def block_of(snippet: Snippet) -> Block:
    [found] = [b for b in blocks() if b.doc == snippet.doc and "curl " in b.text and snippet.part in b.text]
    return found


def test_every_curl_is_run_or_has_a_reason() -> None:
    run = [block_of(snippet) for snippet in SNIPPETS]
    assert len({(b.doc, b.text) for b in run}) == len(run)
    in_blocks = {name: sum(b.text.count("curl ") for b in run if b.doc == name) for name in {b.doc for b in run}}
    for path in PAGES:
        excused = sum(doc == name_of(path) for doc, _ in NOT_RUN)
        assert path.read_text().count("curl -") == in_blocks.get(name_of(path), 0) + excused, name_of(path)
    for doc, text in NOT_RUN:
        assert text in (ROOT / doc).read_text()


@pytest.fixture(scope="module")
def everything(demo: Demo) -> Demo:
    """The demo, with the key that may do everything, made as the documentation says."""
    [block] = [b for b in blocks() if "ADMIN_KEY=$(" in b.text]
    demo.shell(block.text)
    assert demo.variables["ADMIN_KEY"].startswith("sk_live_spl_")
    return demo


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: f"{snippet.doc}: {snippet.part[:40]}")
def test_a_curl_of_the_documentation_does_what_it_says(everything: Demo, snippet: Snippet) -> None:
    block = block_of(snippet)
    text = block.text.replace(KEY_LINE, "")
    for written, instead in snippet.instead:
        assert written in text
        text = text.replace(written, instead)
    with contextlib.ExitStack() as cleaning:
        if snippet.prepare is not None:
            snippet.prepare(everything, cleaning)
        printed, heard = everything.shell(text)
        statuses = tuple(status for status, _ in heard)
        if text.startswith("until "):
            assert set(statuses) == set(snippet.statuses)
            assert json.loads((everything.folder / "cast.json").read_text())["final"] is True
        else:
            assert statuses == snippet.statuses
        if snippet.prints:
            assert re.search(snippet.prints, printed, re.M), printed
        if snippet.again:
            printed, heard = everything.shell(text)
            assert tuple(status for status, _ in heard) == snippet.again
            assert snippet.again_header in heard[0][1]
    head, _, body = printed.rpartition("\n\n") if "-i " in text else ("", "", printed)
    for name in block.headers:
        assert f"\n{name}:" in head.replace("\r", ""), f"{name} is not among {head}"
    if block.shown is not None:
        real = json.loads(body)
        if "results" in real and "results" not in block.shown:  # a line of a list
            real = real["results"][0]
        assert list(differences(block.shown, real)) == []


def test_the_first_spell_hands_back_a_result_and_follows_its_workflow(everything: Demo) -> None:
    with contextlib.ExitStack() as cleaning:
        with_letters_imported(everything, cleaning)
    tree = everything.folder.parent / "letters"
    workflow = tree / ".github" / "workflows" / "letter.yml"
    workflow.write_text(workflow.read_text() + yaml_of(FIRST_SPELL)[1])
    commit(tree)
    cast = everything.cast(spell_key="letter", input={"to": "Merlin", "copies": 2})
    [shown] = re.findall(r'^\{\n  "status": "succeeded",\n  "output".*?^\}$', text_of(FIRST_SPELL), re.M | re.S)
    assert list(differences(json.loads(shown), everything.call("GET", f"/casts/{cast}"))) == []

    workflow.write_text(workflow.read_text().replace("[friendly, formal]", "[friendly, formal, royal]"))
    printed, _ = everything.shell(IMPORT)
    [said] = re.findall(r"^letter.yml → letter\n.*?$", text_of(FIRST_SPELL), re.M | re.S)
    assert said in printed
    everything.cast(spell_key="letter", input={"to": "Merlin", "tone": "royal"})


def text_of(doc: str) -> str:
    return (ROOT / doc).read_text()


def test_the_shown_event_has_the_fields_of_real_ones(everything: Demo) -> None:
    text = (ROOT / API).read_text()
    shown = re.search(r"^id: 5\ndata: (\{.*\})$", text, re.M)
    assert shown is not None
    cast = everything.cast()
    url = f"{everything.base}/api/v1/casts/{cast}/events"
    streamed = requests.get(url, headers={"Authorization": f"Bearer {everything.variables['KEY']}"}, timeout=60)
    [data] = re.findall(r"^data: (.*)$", streamed.text, re.M)
    assert re.findall(r'"(\w+)":', shown[1]) == list(json.loads(data))


def test_differences_are_found() -> None:
    shown = {"a": 1, "b": {"c": "x"}, "cast_id": "1", "list": [{"d": 1}]}
    assert list(differences(shown, {**shown, "cast_id": "2", "more": 1})) == []
    real: dict[str, Any] = {"b": {"c": "y"}, "cast_id": None, "list": []}
    assert len(list(differences(shown, real))) == 4
