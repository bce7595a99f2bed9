"""What a form is filled with is what is read from it, whatever the fields are called and hold."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from django.template.loader import render_to_string
from hypothesis import HealthCheck, example, given, settings

from casts.forms.filling import filled
from casts.forms.planning import plan
from casts.forms.reading import read
from casts.forms.showing import show
from tests.casts.forms.browsing import controls
from tests.casts.forms.schemas import PAIRS


def rendered(schema: Any, typed: Any) -> str:
    form, _ = show(plan(schema), typed)
    page = SimpleNamespace(uploads={"base64": 1, "text": 1}, focus="")
    return render_to_string("casts/_field.html", {"node": form, "page": page})


def exactly(value: Any) -> str:
    """Return JSON, in which 1, 1.0 and true are not the same, as they are to Python."""
    return json.dumps(value, sort_keys=True)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS)
@example(({"type": "string"}, "a\r\nb"))
@example(({"type": "string", "maxLength": 900}, "\n\na"))
@example(({"type": "integer"}, 10**400))
@example(({"const": 1, "type": ["integer", "null"]}, 1))
def test_a_value_comes_back_from_the_page_as_it_was(pair: Any):
    schema, value = pair
    form = plan(schema)
    reading = read(form, controls(rendered(schema, filled(form, value))).sent)
    assert reading.mistakes == []
    assert exactly(reading.value) == exactly(value)
