"""What many operations share in the API's description."""

from __future__ import annotations

from core.api.fields import Problem
from core.api.problems import CONTENT_TYPE

PROBLEMS = {(status, CONTENT_TYPE): Problem for status in (400, 401, 402, 403, 404, 409, 413, 415, 422, 429)}
