from typing import Any

import pytest

from casts.pages import trouble
from tests.casts.pages.test_jobs import a_step


@pytest.mark.parametrize(
    ("conclusions", "word"),
    [
        (["failure"], "failed"),
        (["cancelled"], "was cancelled"),
        (["timed_out"], "timed out"),
        (["success", "cancelled"], "was cancelled"),  # two steps of one name
        ([], "failed"),
    ],
)
def test_the_step_of_an_error_ended_as_the_list_of_steps_says(conclusions: list[str], word: str):
    steps = [a_step(status="completed", conclusion=one) for one in conclusions]
    other = a_step(job="Other", status="completed", conclusion="timed_out")
    error = {"failed_job": "Cast", "failed_step": "Read"}
    assert trouble.failed_word({"error": error, "steps": [other, *steps]}) == word
    assert trouble.failed_word({"error": None, "steps": steps}) == "failed"


@pytest.mark.parametrize(
    ("told", "said", "place"),
    [
        ({}, "it broke", ""),
        ({"title": "Stones"}, "Stones: it broke", ""),
        ({"file": "a.py"}, "it broke", "a.py"),
        ({"file": "a.py", "line": 3}, "it broke", "a.py:3"),
    ],
)
def test_what_a_step_said_is_shown_with_its_place(told: dict[str, Any], said: str, place: str):
    one = {"level": "error", "title": None, "message": "it broke", "file": None, "line": None} | told
    assert trouble.annotation(one) == {"said": said, "place": place}


def test_the_authors_own_sentence_comes_first_and_the_errors_of_the_log_are_counted():
    own = {"level": "error", "title": None, "message": "The stones are loose.", "file": "a.py", "line": 3}
    error = {"message": "The run failed in step 'Cast'.", "annotations": [own], "log_tail": ["a", "##[error]b", "c"]}
    shown = trouble.trouble_of({"error": error, "steps": []})
    assert shown is not None
    assert shown["headline"] == {"said": "The stones are loose.", "place": "a.py:3"}
    assert shown["log_count"] == "3 lines, 1 error"
    assert [line["level"] for line in shown["log"]] == ["", "error", ""]
    bare = trouble.trouble_of({"error": {"message": "GitHub refused it."}, "steps": []})
    assert bare is not None
    assert bare["headline"]["said"] == "GitHub refused it."
