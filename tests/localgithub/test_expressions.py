import pytest

from localgithub.expressions import ExpressionError, evaluate, interpolate
from localgithub.workflow import load

JOBS = "jobs: {a: {runs-on: x, steps: [{run: 'true'}]}}"
CONTEXT = {"inputs": {"x": "X", "empty": "", "on": True}, "github": {"event": {"client_payload": {"a-b": [1], "n": 0}}}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("${{ inputs.x }}-${{inputs.none}}-", "X--"),
        ("${{ inputs.empty || github.event.client_payload.n || 'it''s' }}", "it's"),
        ("${{ inputs.on && 'yes' || 'no' }}", "yes"),
        ("${{ inputs['x'] == 'x' }}", "true"),
        ("${{ !inputs.on }}", "false"),
        ("${{ format('{0}/{1}', inputs.x, 2) }}", "X/2"),
        ("${{ toJSON(github.event.client_payload.a-b) }}", "[\n  1\n]"),
        ("${{ hashFiles('x') }}", "${{ hashFiles('x') }}"),
        ("${{ 'no end }}", "${{ 'no end }}"),
    ],
)
def test_text_is_filled_as_github_fills_it(template, text):
    assert interpolate(template, CONTEXT) == text


@pytest.mark.parametrize("source", ["", "a ||", "(a", "a b", "fromJSON('{')"])
def test_what_is_no_expression_is_refused(source):
    with pytest.raises(ExpressionError):
        evaluate(source, CONTEXT)


def test_input_is_not_evaluated_again():
    workflow = load("o/r", ".github/workflows/w.yml", "run-name: ${{ inputs.x }}\non: workflow_dispatch\n" + JOBS)
    assert workflow.title("workflow_dispatch", {"inputs": {"x": "${{ github.token }}"}}) == "${{ github.token }}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "(Line: 1, Col: 5): "),
        ("[]", "(Line: 1, Col: 1): "),
        ("on: push", "(Line: 1, Col: 1): Required property is missing: jobs"),
        ("on: push\njobs: {a: {steps: []}}", "(Line: 2, Col: 11): Required property is missing: runs-on"),
        (
            "on: push\njobs: {a: {runs-on: x, steps: [{}]}}",
            "(Line: 2, Col: 32): every step must define a `uses` or `run` key",
        ),
    ],
)
def test_broken_file_is_kept_with_its_error_and_named_by_its_path(text, error):
    workflow = load("o/r", "w.yml", text)
    assert workflow.error.startswith(error)
    assert workflow.name == "w.yml"
