"""Has half of the requests that make something be ones that succeed, so that what is made can be asked for."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    meant_well = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if case.method != "POST" or not isinstance(case.body, dict) or not meant_well or len(str(case.body)) % 2:
        return
    match case.path:
        case "/api/v1/cast" | "/api/v1/casts":
            case.body = {"spell_key": "echo", "input": case.body.get("input")}
        case "/api/v1/callbacks/endpoints":
            case.body = {"url": "https://example.com/", "description": "made up"}
