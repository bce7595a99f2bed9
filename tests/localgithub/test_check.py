"""What GitHub finds wrong with a file when somebody dispatches it."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from localgithub.actions import Actions
from localgithub.answers import ApiError
from localgithub.compiler import Compiler, read_concurrency
from localgithub.dispatch import checked_inputs
from localgithub.workflow import WorkflowError, called_error, load, misfit

from .conftest import Api

GOOD = """\
on: workflow_dispatch
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: 'true'
"""
RICH = """\
name: Rich
run-name: Rich ${{ inputs.x }}
on:
  workflow_dispatch:
    inputs: {x: {type: choice, options: [a, b], default: a, required: true}}
  repository_dispatch: {types: [poke]}
env: {A: b}
defaults: {run: {shell: bash}}
permissions: {contents: read}
concurrency: {group: g, cancel-in-progress: true}
jobs:
  a:
    name: A
    if: always()
    runs-on: [ubuntu-latest]
    needs: []
    concurrency: h
    timeout-minutes: 3
    continue-on-error: false
    strategy: {fail-fast: false, matrix: {v: [1], include: [{v: 2}]}}
    outputs: {o: x}
    env: {C: d}
    container: {image: x}
    services: {db: {image: y}}
    steps:
      - {id: s, name: S, if: success(), run: echo, env: {E: f}, shell: bash, working-directory: .}
      - {uses: actions/cache@v4, with: {path: x, key: y}, continue-on-error: true, timeout-minutes: 1}
  b: {needs: a, uses: ./.github/workflows/none.yml, with: {q: 1}, secrets: inherit}
"""


@pytest.mark.parametrize(
    ("written", "instead", "error"),
    [
        ("    runs-on: ubuntu-latest\n", "", "(Line: 4, Col: 5): Required property is missing: runs-on"),
        ("ubuntu-latest", "''", "(Line: 4, Col: 14): Unexpected value ''"),
        (" ubuntu-latest", "", "(Line: 4, Col: 13): Unexpected value ''"),
        ("ubuntu-latest", "[]", "(Line: 4, Col: 14): The sequence must contain at least one value."),
        ("ubuntu-latest", "{group: g, labels: [x, '']}", "(Line: 4, Col: 37): Unexpected value ''"),
        ("    runs-on", "    needs: b\n    runs-on", "(Line: 4, Col: 12): Job 'a' depends on unknown job 'b'."),
        ("    runs-on", "    needs: [a]\n    runs-on", "(Line: 3, Col: 3): The workflow must contain at least one job"),
        ("    runs-on", "    run-on: x\n    runs-on", "(Line: 4, Col: 5): Unexpected value 'run-on'"),
        ("- run: 'true'", "- name: x", "(Line: 6, Col: 9): every step must define a `uses` or `run` key"),
        ("- run: 'true'", "- {run: x, uses: a/b@c}", "(Line: 6, Col: 9): a step cannot have both"),
        ("- run: 'true'", "- uses: checkout", "(Line: 6, Col: 15): Expected format {org}/{repo}[/path]@ref."),
        ("- run: 'true'", "- echo", "(Line: 6, Col: 9): Unexpected value 'echo'"),
        ("- run: 'true'", "- run: ${{ input.x }}", "(Line: 6, Col: 14): Unrecognized named-value: 'input'"),
        ("- run: 'true'", "- run: ${{ concat(1) }}", "(Line: 6, Col: 14): Unrecognized function: 'concat'"),
        ("- run: 'true'", "- run: ${{ github.x", "(Line: 6, Col: 14): The expression is not closed."),
        ("- run: 'true'", "- {run: x, if: github.x ==}", "(Line: 6, Col: 22): Unexpected end of expression"),
        (
            "- run: 'true'",
            "- {run: x, id: q}\n      - {run: y, id: Q}",
            "(Line: 7, Col: 22): The identifier 'Q' may not",
        ),
        ("  a:", "  1a:", "(Line: 3, Col: 3): The identifier '1a' is invalid."),
        ("jobs:", "jobs:\n  a: {runs-on: x, steps: [{run: y}]}", "(Line: 4, Col: 3): 'a' is already defined"),
        ("jobs:", "job:\njobs:", "(Line: 2, Col: 1): Unexpected value 'job'"),
        ("jobs:", "jobs: [", "(Line: 4, Col: 12): expected ',' or ']', but got ':'"),
        ("    steps:", "\tsteps:", "(Line: 5, Col: 1): "),
        ("jobs:", "? [x]\n: y\njobs:", "(Line: 2, Col: 3): found unhashable key"),
        ("jobs:", "env: &x {a: *x}\njobs:", "(Line: 1, Col: 1): An alias stands within its own anchor"),
    ],
)
def test_mistake_is_told_with_its_place(written, instead, error):
    assert load("o/r", "w.yml", GOOD).error == ""
    assert load("o/r", "w.yml", GOOD.replace(written, instead)).error.startswith(error)


@pytest.mark.parametrize(
    "step",
    [
        "run: ${{ github.event.inputs['a b'] || inputs.x && format('{0}}}', matrix.*.y) }}",
        "{run: x, if: \"always() && (github.ref != 'x' || !cancelled())\"}",
        "run: ${{ hashFiles('**/x', 'y') >= 0x1f }} ${{ steps.a.outputs.b-c == 1.5e3 }}",
        "uses: docker://alpine:3.20",
        "uses: ./.github/actions/x",
        "uses: octo/repo/path/to@v1.2",
        "{run: x, timeout-minutes: 3, continue-on-error: true, shell: bash, working-directory: y, env: {A: 1}}",
    ],
)
def test_what_github_takes_is_taken(step):
    assert load("o/r", "w.yml", GOOD.replace("run: 'true'", step)).error == ""


def test_ring_of_jobs_is_refused():
    jobs = "".join(f"  {a}: {{needs: {b}, runs-on: x, steps: [{{run: y}}]}}\n" for a, b in ("bc", "cb"))
    assert load("o/r", "w.yml", GOOD + jobs).error == (
        "(Line: 7, Col: 3): Job 'b' depends on job 'c' which creates a cycle in the dependency graph."
    )


@pytest.mark.parametrize(
    ("file", "call", "error"),
    [
        ("other.yml", "{}", '"./.github/workflows/called.yml" : workflow was not found.'),
        ("called.yml", "{}", '"./.github/workflows/called.yml" : Input q is required, but not provided'),
        ("called.yml", "{q: 1, z: 2}", '"./.github/workflows/called.yml" : Invalid input, z is not defined'),
    ],
)
def test_called_workflow_is_checked_with_its_caller(tmp_path, file, call, error):
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    called = GOOD.replace("on: workflow_dispatch", "on: {workflow_call: {inputs: {q: {type: string, required: true}}}}")
    (folder / file).write_text(called)
    caller = f"on: push\njobs: {{a: {{uses: ./.github/workflows/called.yml, with: {call}}}}}\n"
    said = called_error(load("o/r", ".github/workflows/w.yml", caller), tmp_path)
    assert said.startswith(f'error parsing called workflow ".github/workflows/w.yml" -> {error}')


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        yield from places(value[key], (*path, key))


def test_no_shape_of_a_file_breaks_the_server(tmp_path):
    """Whatever stands in any place of a file: it is refused with a place, or compiled."""
    whole = json.dumps(yaml.safe_load(RICH.replace("on:", '"on":')))
    actions = Actions(tmp_path, tmp_path / "kept", str(tmp_path / "nowhere"))
    refused = 0
    others: tuple[Any, ...] = (None, "x", "${{ inputs.x }}", [[1]], {"a": {"b": []}})
    for path in [*places(json.loads(whole))][1:]:
        for instead in others:
            data = json.loads(whole)
            parent = data
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = instead
            workflow = load("o/r", "w.yml", json.dumps(data))
            refused += bool(workflow.error)
            if workflow.error:
                assert workflow.error.startswith("(Line: 1, Col: "), (path, instead, workflow.error)
                continue
            workflow.title("workflow_dispatch", {"inputs": {}})
            with contextlib.suppress(WorkflowError, ApiError):  # what it calls is not there; an input is missing
                called_error(workflow, tmp_path)
                checked_inputs(workflow, {})
                read_concurrency(workflow.data.get("concurrency"))
                Compiler(tmp_path, actions, docker=False).run(workflow)
    assert refused > 150


def test_dispatch_of_a_broken_file_is_refused_with_line_and_reason(api: Api, server, tree):
    for file, words in {
        "needs.yml": "(Line: 4, Col: 17): Job 'test' depends on unknown job 'biuld'.",
        "calls-none.yml": 'error parsing called workflow ".github/workflows/calls-none.yml" -> ',
    }.items():
        refused = api.dispatch(file)
        assert refused.status_code == 422
        assert refused.json()["message"].startswith(f"Invalid Argument - failed to parse workflow: {words}")


@pytest.mark.parametrize(
    ("value", "kind", "wrong"),
    [
        ("${{ inputs.text }}", "number", True),
        ("${{inputs.text}}", "boolean", True),
        ("${{ github.event.inputs.flag }}", "boolean", True),
        ("${{ fromJSON(inputs.text) }}", "number", False),
        ("${{ inputs.flag }}", "boolean", False),
        ("${{ inputs.text }}", "string", False),
        ("${{ needs.a.outputs.n }}", "number", False),
        ("3", "number", True),
        (3, "number", False),
        (True, "boolean", False),
        (3, "string", False),
    ],
)
def test_text_is_no_number_for_a_called_workflow(value, kind, wrong):
    assert bool(misfit({"n": value}, {"n": {"type": kind}}, {"text"})) is wrong
