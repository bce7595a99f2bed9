"""Every example of the API reference succeeds as it stands, in the page's order, and is answered as the page shows.

`REFERENCE_WRITE=1 pytest tests/e2e/test_reference.py` records the shown answers anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from accounts.models import SCOPES
from casts.api import reference
from casts.api.reference_page import EXAMPLES, curl
from spellplatform.demo import spells_file
from tests import described
from tests.e2e.platform import Platform, platform, server, until
from tests.stripes import SECRET_KEY, Stripe

pytestmark = pytest.mark.skipif(bool(server()), reason="What is asked here depends on no database; once is enough.")

BILLED = """
from accounts.models import Account
from accounts import credit
from payments import customers
account = Account.objects.get()
customers.begin(account, email="pay@example.com")
credit.book(account.pk, "grant", 5000, "for the examples", by="tests")
"""
CREATED = re.compile(r'"(?:whsec_|sk_live_spl_)[^"]*"')


@pytest.fixture
def here(stripe_server: Stripe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"STRIPE_SECRET_KEY": SECRET_KEY, "STRIPE_API_URL": stripe_server.url, "STRIPE_SWEEP_SECONDS": "0"}
    with platform(
        tmp_path_factory.mktemp("reference"),
        spells=spells_file().read_text(),
        STRIPE_WEBHOOK_SECRET="whsec_of-nobody-Zq4Wm9Rk2Vx7",
        **settings,
    ) as one:
        one.manage("shell", "-v0", "-c", BILLED)
        yield one


def at(answer: Any, where: str) -> Any:
    for part in where.split("/"):
        answer = answer[int(part)] if part.isdigit() else answer[part]
    return answer


def run(folder: Path, variables: dict[str, str], line: str) -> tuple[int, str]:
    """Run an example as it is written; return its status and what it printed."""
    line = line.replace("curl -sS", f"curl -sS --max-time 60 -D {folder / 'headers'}", 1)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    statuses = re.findall(r"^HTTP/\S+ (\d+)", (folder / "headers").read_text(), re.M)
    return int(statuses[-1]), done.stdout


def free(folder: Path, variables: dict[str, str], line: str) -> tuple[int, str] | None:
    """Run an example; None if it is about a message that is under way just then, and has to be run again."""
    answer = run(folder, variables, line)
    return None if "CALLBACK_IN_FLIGHT" in answer[1] else answer


def test_every_example_succeeds_as_it_stands(here: Platform, tmp_path: Path) -> None:
    [account] = here.rows("SELECT name FROM accounts_account")
    made = here.manage("createapikey", account["name"], "--name", "everything", "--scopes", ",".join(SCOPES))
    [key] = re.findall(r"sk_live_spl_\w{36}", made)
    variables = {"BASE": here.url, "KEY": key}
    places = {
        operation["operationId"]: (method, path)
        for path, methods in described.description()["paths"].items()
        for method, operation in methods.items()
    }
    shown: dict[str, Any] = {}
    for name, about in reference.OPERATIONS.items():
        if about.needs:
            continue
        method, path = places[name]
        if name == "list_callbacks":
            here.ended(here.cast("greet", {"name": "Ada"})["cast_id"])  # of whose end the endpoint is told
        once_free = partial(free, tmp_path, dict(variables), curl(about, method, path))
        status, printed = until(once_free)
        assert status < 300, (name, status, printed)
        if printed.startswith("{"):
            answer = json.loads(printed)
            shown[name] = shortened(answer)
            variables |= {variable: str(at(answer, where)) for variable, where in about.gives.items()}
    written = cleaned(json.dumps(shown, indent=2, ensure_ascii=False), variables)
    if os.environ.get("REFERENCE_WRITE"):
        EXAMPLES.write_text(written + "\n")
    recorded = json.loads(EXAMPLES.read_text())
    assert set(recorded) == set(shown)
    real = json.loads(written)
    assert {name: some for name in shown if (some := list(misshapen(recorded[name], real[name], "")))} == {}


def shortened(value: Any) -> Any:
    """Return an answer with two items of each list, which show how the others look."""
    if isinstance(value, list):
        return [shortened(one) for one in value[:2]]
    return {name: shortened(one) for name, one in value.items()} if isinstance(value, dict) else value


def cleaned(text: str, variables: dict[str, str]) -> str:
    """Leave out what is a secret, of this machine, or long."""
    text = CREATED.sub(lambda m: f'"{m[0][1:].split("_")[0]}_…"', text)
    text = re.sub(r"token=[\w.-]+", "token=…", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "https://spells.example.com", text)
    return text.replace(variables["BASE"], "https://spells.example.com")


def misshapen(recorded: Any, real: Any, at: str) -> Iterator[str]:
    """Yield where an answer has other fields or kinds of values than the recorded one."""
    if isinstance(recorded, dict) and isinstance(real, dict):
        for name in recorded.keys() | real.keys():
            if (name in recorded) != (name in real):
                yield f"{at}/{name} is there in one alone"
            else:
                yield from misshapen(recorded[name], real[name], f"{at}/{name}")
    elif isinstance(recorded, list) and isinstance(real, list):
        for one, other in zip(recorded, real, strict=False):
            yield from misshapen(one, other, f"{at}/0")
    elif None not in (recorded, real) and type(recorded) is not type(real):
        yield f"{at} is {real!r}, not {recorded!r}"
