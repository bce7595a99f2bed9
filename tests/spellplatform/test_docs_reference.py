"""The reference pages are complete: what the code reads, takes and answers is in their tables, and nothing else."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from rest_framework.serializers import Serializer

from accounts.api import keys, usage
from accounts.models import SCOPES, usual_scopes
from casts.api import (
    budget,
    urls,  # noqa: F401 - imports every view, and with them every error
)
from casts.api import cast_serializers as s
from casts.callbacks import serializers as c
from casts.execution.finish import ENDED_BY_US
from casts.models import Cast, CastStatus
from casts.spells.toml import written_fields
from core.api import catalog
from core.errors import SpellError
from github_integration.models import Installation, WorkflowTarget
from github_integration.words import WORDS
from tests.pages import DOCS, PAGES, ROOT


def page(name: str) -> str:
    """Return a page; comments in its examples, which begin like headings, are moved to the right."""
    text = (DOCS / name).read_text()
    return re.sub(r"^```.*?^```$", lambda m: m[0].replace("\n#", "\n #"), text, flags=re.DOTALL | re.MULTILINE)


CONFIGURATION, API = page("reference/configuration.md"), page("reference/api.md")
SPELLS, OPERATIONS = page("reference/spells-toml.md"), page("how-to/operations.md")
HOW_TO = "".join(page.read_text() for page in PAGES if page.parent.name == "how-to")
SOURCES = [
    file
    for folder in ("core", "accounts", "casts", "payments", "github_integration", "webhooks", "spellplatform")
    for file in (ROOT / folder).rglob("*.py")
    if not {"local", "demo", "migrations"} & set(file.relative_to(ROOT).parts)
]

ATTENTION = "".join(file.read_text() for file in SOURCES if file.name.startswith("attention"))


def section(text: str, title: str) -> str:
    """Return what stands below one heading of a page, up to the next of the same or a higher level."""
    marks = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert marks, title
    rest = text[marks.end() :]
    end = re.search(rf"^#{{1,{len(marks[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    heads = {i - 1 for i, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for i, row in enumerate(cells) if i not in heads and i - 1 not in heads]


def words(cells: list[str]) -> set[str]:
    """Return what stands in backticks in some cells."""
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def read_by(file: str) -> dict[str, ast.expr | None]:
    """Return the names that settings.py or gunicorn.conf.py reads, each with the expression of its default."""
    found: dict[str, ast.expr | None] = {}
    for node in ast.walk(ast.parse((ROOT / "spellplatform" / file).read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            found[node.args[0].value] = next((k.value for k in node.keywords if k.arg == "default"), None)
    return found


def read_anywhere() -> dict[str, ast.expr | None]:
    """Return what either reads; the default is that of settings.py where both do."""
    return read_by("gunicorn.conf.py") | read_by("settings.py")


def documented_settings() -> dict[str, str]:
    """Return the names in the settings tables, with the default as written there."""
    tables = rows(section(CONFIGURATION, "Settings"))
    return {row[0].strip("`"): row[1].strip("`") for row in tables}


def test_every_setting_is_documented_and_no_other():
    assert set(documented_settings()) == set(read_anywhere())


def test_documented_defaults_are_the_real_ones():
    documented = documented_settings()
    for name, expression in read_anywhere().items():
        if expression is None or any(isinstance(node, ast.Name | ast.JoinedStr) for node in ast.walk(expression)):
            continue  # depends on another setting; the table says so in words
        value = eval(compile(ast.Expression(expression), "<default>", "eval"))
        if value in ("", None, []):
            assert documented[name] == "—", name
        elif isinstance(value, bool):
            assert documented[name] == str(value).lower(), name
        elif isinstance(value, int | float):
            assert float(documented[name]) == value, name
        elif isinstance(value, list):
            assert documented[name] == "`, `".join(value), name
        else:
            assert documented[name] == value, name


def test_no_page_has_a_shell_or_a_service_manager_read_the_file():
    for block in re.findall(r"^```.*?^```$", "\n".join(p.read_text() for p in PAGES), re.DOTALL | re.MULTILINE):
        assert not re.search(r"(?:\.|source) (?:\./)?\.env|EnvironmentFile|docker[^\n]* --env-file", block), block


def test_the_how_to_pages_name_real_settings_only():
    known = set(read_anywhere()) | {"GITHUB_EVENT_PATH", "GITHUB_STEP_SUMMARY"}  # which runners set
    named = set(re.findall(r"\b(?:GITHUB|CAST|LINK|PUBLIC|WORKER|STREAM|ARTIFACT)_[A-Z_]+[A-Z]\b", HOW_TO))
    assert named <= known


def test_every_field_of_a_spell_file_is_documented_and_no_other():
    assert [row[0].strip("`") for row in rows(section(SPELLS, "Spells as TOML"))] == [
        *written_fields(WorkflowTarget),
        "account",
    ]


def test_every_scope_is_documented_and_no_other():
    assert {row[0].strip("`") for row in rows(section(API, "Keys and scopes"))} == set(SCOPES)


def error_codes() -> set[tuple[str, int]]:
    """Return every (code, status) that an answer can carry."""
    found = {(c.code, c.status) for c in subclasses(SpellError)} | {(SpellError.code, SpellError.status)}
    for file in SOURCES:
        for status, name in re.findall(
            r'(?:problem\(|refuse\(scope, send,)\s*(\d{3}),\s*"([A-Z_]+)"', file.read_text()
        ):
            found.add((name, int(status)))
    return found


def subclasses(kind: type[SpellError]) -> set[type[SpellError]]:
    return {kind, *(deeper for sub in kind.__subclasses__() for deeper in subclasses(sub))}


def test_every_error_code_is_documented_and_no_other():
    assert {(row[0].strip("`"), int(row[1])) for row in rows(section(API, "Errors"))} == error_codes()


def test_every_error_code_has_its_page_and_no_other():
    assert {(kind.code, kind.status) for kind in catalog.KINDS} == error_codes()
    titles = {one.code: one.title for one in subclasses(SpellError) - {SpellError}}
    assert titles == {code: catalog.BY_CODE[code].title for code in titles}


PASSED_ON = {"startup_failure", "action_required", "stale", "skipped"}  # GitHub's words for the end of a run


def reasons() -> set[str]:
    """Return every status_reason that the code gives, but for GitHub's own conclusions, which are passed on."""
    told = r"""(?:reason(?:=|": |: str = | = )|end_failed\(cast, )"(\w+)\""""
    found = {word for file in SOURCES for word in re.findall(told, file.read_text())}
    found |= set(Installation.Pause.values)
    found.add(Cast._meta.get_field("status_reason").default)
    return found | set(ENDED_BY_US)


def test_every_reason_that_needs_an_operator_is_one_of_the_api_and_has_its_remedy():
    assert set(WORDS.remedies) < reasons()
    assert set(Installation.Pause.values) < set(WORDS.remedies)
    assert set(WORDS.remedies) <= words([row[0] for row in rows(section(OPERATIONS, "What to do when …"))])


def test_a_runtime_has_words_for_reasons_that_there_are():
    assert set(WORDS.remedies) | set(WORDS.without_run) <= reasons() | PASSED_ON


def test_every_button_is_documented_and_no_other():
    labels = set(re.findall(r'[=,] ?"((?:Look|Leave|Try|Cast|Copy|Apply|Sweep|Send) [^".]+)"', ATTENTION))
    labels |= {"Cancel", "Resume", "Enable", "It is settled"}
    documented = {row[0] for row in rows(section(OPERATIONS, "What the buttons do"))}
    assert documented == {label.replace(" at all", "").replace(" all", "") for label in labels} | {"Look now"}


def test_every_trouble_with_money_is_documented():
    told = re.findall(r'^ +"([a-z][^"]{15,}[^".])",$', (ROOT / "payments" / "attention.py").read_text(), re.MULTILINE)
    assert len(told) > 5
    assert [one for one in told if f"| {one}" not in OPERATIONS] == []


def test_every_status_and_reason_is_documented_and_no_other():
    table = rows(section(API, "Statuses and reasons"))
    assert words([row[0] for row in table]) == set(CastStatus.values)
    assert words([row[1] for row in table]) == reasons() | PASSED_ON


@pytest.mark.parametrize(
    ("title", "serializer"),
    [
        ("The cast", s.CastOut),
        ("Artifacts", s.ArtifactOut),
        ("Budget", budget.BudgetOut),
        ("Budget", budget.InnerPeriodOut),
        ("Usage", usage.UsageOut),
        ("Usage", usage.UsageDay),
        ("Managing keys", keys.KeyMade),
        ("Callbacks", c.EndpointMade),
        ("Callbacks", c.CallbackOut),
        ("Callbacks", c.Secrets),
    ],
)
def test_every_field_of_an_answer_is_shown(title: str, serializer: type[Serializer[Any]]):
    text = section(API, title)
    missing = [name for name in serializer().fields if f"`{name}`" not in text and f'"{name}":' not in text]
    assert not missing


@pytest.mark.parametrize(
    ("title", "serializer"), [("POST /api/v1/cast", s.CastRequest), ("PATCH /api/v1/budget", budget.NewCap)]
)
def test_every_field_of_a_request_is_documented(title: str, serializer: type[Serializer[Any]]):
    assert {row[0].strip("`") for row in rows(section(API, title))} == set(serializer().fields)


def test_the_usual_scopes_are_marked():
    marked = [row[0].strip("`") for row in rows(section(API, "Keys and scopes")) if row[1] == "yes"]
    assert marked == usual_scopes()
