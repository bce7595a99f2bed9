"""What a cast's workflow hands back: the result file of the spell's result artifact becomes the cast's output, and
`summary.md` beside it its summary. Nothing else is ever unpacked here.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass, field
from typing import Any

from casts.execution import unzip
from casts.models import Artifact, Spell
from casts.pricing import Report, report_in
from core import json_schema
from core.limits import RESULT_BYTES, SUMMARY_BYTES
from core.strict_json import storable

SUMMARY = "summary.md"

Problems = list[dict[str, str]]


class Unreadable(ValueError):
    """There is a result, or a summary, and it can't be read; str() says why."""


@dataclass
class Result:
    """What was handed back. `problems`: every way in which the output breaks the spell's schema."""

    output: Any = None
    problems: Problems = field(default_factory=list)
    unreadable: str = ""  # why there is no output, though there is a file for it
    summary: str = ""
    note: str = ""  # why there is no summary, though there is a file for it
    report: Report | None = None  # of what it costs, which was taken out of the output


def read(artifact: Artifact | None, spell: Spell, *, takes_report: bool = False) -> Result:
    """Return what the stored artifact holds for this spell; None: the run left no such artifact.

    `takes_report`: whether the result says what it costs, too (`casts.pricing`).
    """
    found = Result()
    if artifact is not None:
        read_files(artifact, spell, found)
    if takes_report and found.output is not None:
        found.output, found.report = report_in(found.output)
    elif takes_report:
        found.report = Report(None, found.unreadable or no_result(spell))
    schema = spell.output_schema
    if found.unreadable:
        found.problems = [{"pointer": "/output", "detail": found.unreadable}]
    elif schema is not None and found.output is None:
        found.problems = [{"pointer": "/output", "detail": no_result(spell)}]
    elif schema is not None:
        found.problems = json_schema.violations(schema, found.output, at="/output")
    return found


def no_result(spell: Spell) -> str:
    if not spell.result_artifact:
        return "The spell names no artifact in which a result could be."
    return f"The run left no {spell.result_file} in an artifact named {spell.result_artifact}."


def read_files(artifact: Artifact, spell: Spell, found: Result) -> None:
    """Fill in the output and the summary that a stored artifact holds, or why they can't be read."""
    name = spell.result_file
    with artifact.file.open("rb") as stored:
        if not unzip.is_zip(stored):  # uploaded as it is: its one file is the result, whatever its name
            stored.seek(0)
            try:
                found.output = parsed(stored.read(RESULT_BYTES + 1), artifact.name)
            except Unreadable as exc:
                found.unreadable = str(exc)
            return
        try:
            result = unzip.member(stored, name, most=RESULT_BYTES + 1)  # one more shows that it is too long
            found.output = None if result is None else parsed(result, name)
        except unzip.BadZip as exc:
            found.unreadable = f"{name} can't be unpacked: {exc}."
        except Unreadable as exc:
            found.unreadable = str(exc)
        summary_file = beside(name, SUMMARY)
        try:
            summary = unzip.member(stored, summary_file, most=SUMMARY_BYTES + 1)
            found.summary = "" if summary is None else said(summary, summary_file)
        except unzip.BadZip as exc:
            found.note = f"{summary_file} can't be unpacked: {exc}."
        except Unreadable as exc:
            found.note = str(exc)


def beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def parsed(text: bytes, name: str) -> Any:
    """Return the JSON that a result file holds; raise Unreadable."""
    if len(text) > RESULT_BYTES:
        raise Unreadable(f"{name} is larger than {RESULT_BYTES} bytes. Keep bulk in other files of the artifact.")
    try:
        output = json.loads(decoded(text))
        storable(output)
    except RecursionError as exc:
        raise Unreadable(f"{name} is nested too deeply.") from exc
    except UnicodeDecodeError as exc:
        raise Unreadable(f"{name} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc
    except ValueError as exc:
        raise Unreadable(f"{name} is not JSON: {exc}.") from exc
    return output


def said(text: bytes, name: str) -> str:
    """Return the text of a summary, without blank lines around it; raise Unreadable."""
    if len(text) > SUMMARY_BYTES:
        raise Unreadable(f"{name} is larger than {SUMMARY_BYTES} bytes.")
    try:
        summary = decoded(text).strip()
    except UnicodeDecodeError as exc:
        raise Unreadable(f"{name} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc
    if "\0" in summary:  # Postgres stores none
        raise Unreadable(f"{name} holds a NUL character.")
    return summary


def decoded(text: bytes) -> str:
    # PowerShell 5 writes UTF-16 with a byte order mark; other tools on Windows write UTF-8 with one.
    utf16 = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return text.decode("utf-16" if utf16 else "utf-8-sig")
