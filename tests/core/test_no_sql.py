"""Queries are the ORM's. SQL text stands in core/db and in the wake-ups, which the ORM has no words for."""

import ast
import re
from pathlib import Path

from tests.one_of_each import OURS

ROOT = Path(__file__).parents[2]
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|SET LOCAL|WHERE|RETURNING|CREATE|ALTER|DROP)\s+\S")


def modules():
    """Our modules, but for migrations, which make triggers and indexes."""
    for package in (*OURS, "spellplatform"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in file.parts:
                yield file.relative_to(ROOT), file.read_text()


def texts(tree):
    """The strings of a module that are not its documentation."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docstrings = {id(first.value) for first in firsts if isinstance(first, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_there_is_no_sql_outside_of_core_db_and_the_wake_ups():
    found = {file: [n.lineno for n in texts(ast.parse(text)) if SQL.search(n.value)] for file, text in modules()}
    places = {str(file.parent if file.parent.name == "db" else file) for file, lines in found.items() if lines}
    assert places == {"core/db", "core/queue/wakeups.py"}, found


def test_nobody_waves_sql_through_the_linter():
    assert not [file for file, text in modules() if "S608" in text]
