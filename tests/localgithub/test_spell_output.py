"""The action spell-output, run for real, and what it hands back, read as the platform reads it."""

from __future__ import annotations

import io
import zipfile
from typing import Any, cast

import requests
from django.core.files.base import ContentFile

from casts.execution import results
from casts.models import Artifact, Spell

from .conftest import Api
from .trees import HAND_BACK, ODD_TEXT, REFUSED

PLAIN = Spell()


class Stored:
    """An artifact as the platform keeps it, without a database."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.file, self.content = name, ContentFile(content), content

    def read(self) -> results.Result:
        return results.read(cast(Artifact, self), PLAIN)

    def files(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def stored(api: Api, run: dict[str, Any]) -> dict[str, Stored]:
    found = {}
    for artifact in api.get(api.repo(f"actions/runs/{run['id']}/artifacts")).json()["artifacts"]:
        link = api.get(api.repo(f"actions/artifacts/{artifact['id']}/zip")).headers["Location"]
        found[artifact["name"]] = Stored(artifact["name"], requests.get(link, timeout=5).content)
    return found


def test_what_the_action_is_given_is_handed_back_and_what_can_not_be_is_refused_with_its_reason(api: Api) -> None:
    run = api.wait(api.start("hand-back.yml", {}))
    [job] = api.jobs(run["id"])
    log = api.log(job["id"])
    assert run["conclusion"] == "success", log[-3000:]
    found = stored(api, run)
    assert set(found) == set(HAND_BACK)

    json_given = found["json"].read()
    assert (json_given.output, json_given.summary) == ({"text": ODD_TEXT}, f"# {ODD_TEXT}\n\n- two")
    assert found["values"].read().output == {"text": ODD_TEXT, "tab": " a\tb", "empty": ""}
    from_files = found["file"].read()
    assert (from_files.output, from_files.summary) == (["é" * 100] * 1200, "# From a file")
    assert set(found["file"].files()) == {"result.json", "summary.md", "a file.md", "deep/one.bin", "-n"}
    assert found["files"].files() == {"one.bin": bytes(range(256)) * 4000}
    assert found["charged"].read().output == {"a": {}, "charge_cents": 42}
    too_long = found["summary"].read()
    assert (too_long.output, too_long.summary, too_long.note) == (1, "", "")

    told = [line.split("##[error]", 1)[1] for line in log.splitlines() if "##[error]" in line]
    assert [why for why in REFUSED if not any(line.startswith(why.replace("%25", "%")) for line in told)] == []
