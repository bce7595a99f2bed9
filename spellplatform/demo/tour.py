"""What the demo shows: one cast over the public API, watched live, and what it left."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import requests

BAR = 30  # characters
TEXT = "the quick brown fox jumps over the lazy dog and the quick cat"


class Failed(Exception):
    """The tour did not go as it should."""


def cast(base: str, key: str) -> dict[str, Any]:
    """Cast a spell; return the answer. Raise Failed."""
    answer = requests.post(
        f"{base}/api/v1/cast",
        headers={"Authorization": f"Bearer {key}"},
        json={"spell_key": "count-words", "input": {"text": TEXT}},
        timeout=30,
    )
    if answer.status_code != 201:
        raise Failed(f"POST /api/v1/cast answered {answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body


def events(url: str, key: str) -> Iterator[dict[str, Any]]:
    """Yield a cast's events from its SSE stream, until it closes."""
    with requests.get(url, headers={"Authorization": f"Bearer {key}"}, stream=True, timeout=120) as stream:
        if stream.status_code != 200:
            raise Failed(f"The event stream answered {stream.status_code}: {stream.text}")
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"data: ") and line != b"data: {}":  # a server that restarts sends that at last
                yield json.loads(line.removeprefix(b"data: "))


def watch(url: str, key: str) -> dict[str, Any]:
    """Draw a progress bar from the stream; return the final event. Raise Failed if there is none."""
    live, last = sys.stdout.isatty(), None
    for last in events(url, key):
        filled = BAR * last["progress"] // 100
        line = f"  {'█' * filled}{'░' * (BAR - filled)} {last['progress']:3d} %  {last['status']:<9}  {last['message']}"
        print(f"\r\x1b[K{line[:150]}" if live else line, end="" if live else "\n", flush=True)
    if live:
        print()
    if last is None or not last["final"]:
        raise Failed("The event stream closed without a final event.")
    return last


def result(final: dict[str, Any]) -> str:
    """Download the artifact that the final event links, check its digest, and return its report. Raise Failed."""
    if final["status"] != "succeeded":
        raise Failed(f"The cast ended as {final['status']}: {final['message']} {json.dumps(final['error'])}")
    if not final["artifact_url"]:
        raise Failed("The final event links no artifact.")
    answer = requests.get(final["artifact_url"], timeout=30)
    if answer.status_code != 200:
        raise Failed(f"The artifact answered {answer.status_code}: {answer.text[:500]}")
    digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
    if digest != final["artifacts"][0]["digest"]:
        raise Failed(f"The artifact's digest is {digest}, not {final['artifacts'][0]['digest']}.")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        if json.loads(archive.read("result.json")) != final["output"]:
            raise Failed("The cast's output is not what result.json holds.")
        return archive.read("report.md").decode()


def page_answers(url: str, cast_id: str) -> None:
    """Raise Failed unless the progress page opens by its link alone and shows the cast."""
    answer = requests.get(url, timeout=30)
    if answer.status_code != 200 or cast_id not in answer.text:
        raise Failed(f"The progress page answered {answer.status_code}.")
