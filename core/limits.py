"""The one table of limits: how large and how many things may be, and what happens beyond.

docs/reference/limits.md shows this table, and a test holds the two equal. A limit that an installation may change is a
setting, whose default stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Limit:
    """One row: of what, how much, in which unit, and what happens to more."""

    section: str
    what: str
    most: int
    unit: str
    beyond: str
    setting: str = ""  # which changes it


TABLE: list[Limit] = []


def limit(most: int, unit: str, section: str, what: str, beyond: str, *, setting: str = "") -> int:
    """Add a row to the table and return its number."""
    TABLE.append(Limit(section, what, most, unit, beyond, setting))
    return most


# What may be stored can be asked for: all fifty metadata entries of a cast as filters, or four of the longest kind in
# which each character takes twelve bytes, and a cursor.
TARGET_BYTES = limit(32 * KIB, "bytes", "Requests", "path and query", "414 `URI_TOO_LONG`")
BODY_BYTES = limit(MIB, "bytes", "Requests", "body of a request to the API", "413 `INPUT_TOO_LARGE`")
WEBHOOK_BYTES = limit(25 * MIB, "bytes", "Requests", "body of a webhook of GitHub's", "413 `INPUT_TOO_LARGE`")
STRIPE_BYTES = limit(MIB, "bytes", "Requests", "body of a webhook of Stripe's", "413 `INPUT_TOO_LARGE`")
# A spell's form has two schemas, of which urlencoding makes up to three times as many bytes.
ADMIN_FORM_BYTES = limit(2 * MIB, "bytes", "Requests", "form of the admin", "413 `INPUT_TOO_LARGE`")
# An input of the largest size, in which each field adds what separates the parts of a form.
SPELL_FORM_BYTES = limit(512 * KIB, "bytes", "Requests", "a spell's form", "413 `INPUT_TOO_LARGE`")
FORM_BYTES = limit(64 * KIB, "bytes", "Requests", "any other body, such as a login", "413 `INPUT_TOO_LARGE`")
BODY_IDLE_SECONDS = limit(10, "seconds", "Requests", "wait for the next part of a body", "408 `REQUEST_TIMEOUT`")
BODY_SECONDS = limit(60, "seconds", "Requests", "wait for the end of a body", "408 `REQUEST_TIMEOUT`")
HEAD_SECONDS = limit(
    20, "seconds", "Requests", "wait for a connection's first head", "408, closed", setting="REQUEST_HEAD_SECONDS"
)

DETAIL_CHARS = limit(1000, "characters", "Problems", "`detail` of a problem", "cut, and ends with …")
UNKNOWN_NAMES = limit(50, "names", "Problems", "unknown names that are told", "left out")
VIOLATIONS = limit(100, "places", "Problems", "`errors` of a problem, and of a cast", "left out")
VIOLATION_CHARS = limit(300, "characters", "Problems", "a pointer or detail in `errors`", "cut, and ends with …")

TOO_LARGE = "413 `INPUT_TOO_LARGE`"
INPUT_CHARS = limit(
    60_000, "characters", "Casts", "`input`, with defaults filled in", TOO_LARGE, setting="CAST_INPUT_MAX_CHARS"
)
INPUT_BYTES = limit(
    130_000, "bytes", "Casts", "`input`, with defaults filled in", TOO_LARGE, setting="CAST_INPUT_MAX_BYTES"
)
# A workflow takes 65,535 characters for all inputs of a run, as compact JSON; the others and the names take up to 150.
PACKED_CHARS = limit(65_300, "characters", "Casts", "`input`, packed as text into JSON, for the envelope", TOO_LARGE)
NATIVE_CHARS = limit(
    65_535, "characters", "Casts", "a workflow's own inputs, each as text, or an event's data, as JSON", TOO_LARGE
)

INVALID = "422 `VALIDATION_ERROR`"
# Enterprise Server took 10 up to 3.19.
WORKFLOW_INPUTS = limit(25, "inputs", "Casts", "a workflow's own inputs", INVALID, setting="GITHUB_INPUTS_MAX")
EVENT_NAMES = limit(10, "names", "Casts", "names at the top of an event's data", INVALID)
SPELL_KEY_CHARS = limit(64, "characters", "Casts", "`spell_key`", INVALID)
METADATA_ENTRIES = limit(50, "entries", "Casts", "`metadata`", INVALID)
METADATA_KEY_CHARS = limit(100, "characters", "Casts", "a name in `metadata`", INVALID)
METADATA_CHARS = limit(500, "characters", "Casts", "a value in `metadata`", INVALID)
URL_CHARS = limit(2000, "characters", "Casts", "`callback_url`, and an endpoint's `url`", INVALID)
IDEMPOTENCY_KEY_CHARS = limit(255, "characters", "Casts", "`Idempotency-Key`", "400 `MALFORMED_REQUEST`")
STEP_NAME_CHARS = limit(300, "characters", "Casts", "the name of a step or a job", "cut")
STEPS_SHOWN = limit(250, "steps", "Casts", "`steps` of a cast and of each of its events", "the last ones are left out")
ANNOTATIONS_SHOWN = limit(
    50, "annotations", "Casts", "`annotations` of a cast", "notices are left out, then warnings, then errors"
)
ANNOTATED_JOBS = limit(5, "jobs", "Casts", "jobs whose `annotations` are asked for", "failed ones come first")

PAGE_SIZE = limit(100, "entries", "Lists", "`page_size`", INVALID)
PAGE_BYTES = limit(
    2 * MIB, "bytes", "Lists", "a page of casts: what is stored of them, but one in any case", "the page is shorter"
)
FILTERS = limit(60, "parameters", "Lists", "a list's query", INVALID)

KEY_NAME_CHARS = limit(100, "characters", "API keys", "`name`", INVALID)
KEY_SPELLS = limit(100, "spells", "API keys", "`spell_keys`", INVALID)
KEYS = limit(500, "keys", "API keys", "valid keys of an account", "409 `TOO_MANY_KEYS`")
KEY_OVERLAP_SECONDS = limit(7 * 86_400, "seconds", "API keys", "`overlap_seconds` of a rotation", INVALID)
KEYS_SHOWN = limit(1000, "keys", "API keys", "the list of keys", "the oldest are left out")

INVITATIONS_PER_ACCOUNT = limit(50, "mails", "Members", "invitations of an account within a day", "refused in words")
INVITATIONS_PER_ADDRESS = limit(3, "mails", "Members", "invitations to an address within a day", "refused in words")

ENDPOINTS = limit(20, "endpoints", "Callbacks", "endpoints of an account", "409 `TOO_MANY_ENDPOINTS`")
ENDPOINT_CHARS = limit(200, "characters", "Callbacks", "`description` of an endpoint", INVALID)
ENDPOINT_TESTS = limit(6, "tests", "Callbacks", "test events of an endpoint within a minute", "429 `TOO_MANY_TESTS`")
TRIES_SHOWN = limit(100, "tries", "Callbacks", "`attempts` of a message", "the oldest are left out")

REFUSED_SCHEMA = "the schema is refused"
SCHEMA_BYTES = limit(64 * KIB, "bytes", "Spells", "a schema, as compact JSON", REFUSED_SCHEMA)
# Well below what the validator (255) and Python's own recursion take, wherever in the stack a document is handled.
JSON_DEPTH = limit(100, "levels", "Requests", "nesting of JSON, also in schemas and results", "400 `MALFORMED_JSON`")
SCHEMA_PATTERNS = limit(200, "patterns", "Spells", "`pattern` and `patternProperties` of a schema", REFUSED_SCHEMA)
PATTERN_BYTES = limit(MIB, "bytes", "Spells", "a pattern, as it is compiled", REFUSED_SCHEMA)
PATTERN_STEPS = limit(
    10_000, "steps", "Spells", "a match of a pattern that looks around or back (stored earlier)", "it does not fit"
)
# In the time that one word of a schema takes at one place of a document: about a twentieth of a microsecond.
SCHEMA_WORK = limit(20_000_000, "checks", "Spells", "holding a document against a schema", "422 `VALIDATION_ERROR`")
SCHEMA_STEPS = limit(200_000, "places", "Spells", "parts of a schema at places of a document", "422 `VALIDATION_ERROR`")
# About as many microseconds.
SCHEMA_ERROR_WORK = limit(
    300_000, "values", "Problems", "what all errors together are about", "one is told in place of all"
)

NO_OUTPUT = "`output_invalid`; its files are kept"
RESULT_BYTES = limit(256 * KIB, "bytes", "Artifacts", "the result, `result.json`", NO_OUTPUT)
SUMMARY_BYTES = limit(
    64 * KIB, "bytes", "Artifacts", "`summary.md` beside it", "left out, as the cast's `message` says; its file is kept"
)
PLAINLY = "shown as plain text"
MARKDOWN_BYTES = limit(64 * KIB, "bytes", "Pages", "a text of a result that is shown as Markdown", PLAINLY)
MARKDOWN_HTML_BYTES = limit(96 * KIB, "bytes", "Pages", "what such a text makes as HTML", PLAINLY)
# A picture takes four bytes a pixel in whoever's browser opens the page.
NO_PREVIEW = "it is not shown; 404 `NO_PREVIEW`"
PREVIEW_BYTES = limit(16 * MIB, "bytes", "Pages", "a picture or PDF among artifacts that is shown", NO_PREVIEW)
PREVIEW_PIXELS = limit(40_000_000, "pixels", "Pages", "a picture among artifacts that is shown", NO_PREVIEW)
CONTENTS_SHOWN = limit(50, "files", "Pages", "files of a zip among artifacts that are listed", "left out, and counted")
CONTENTS_LOOKED_AT = limit(20, "files", "Pages", "files of a zip that are shown as pictures", "listed by name")
BUNDLE_FILES = limit(
    5_000, "files", "Artifacts", "files of zips in the zip of all artifacts", "further zips are in it as they are"
)
# A name that only one row has makes an empty cell in each other row: a large output of such would fill the memory.
CSV_CELLS = limit(1_000_000, "cells", "Artifacts", "a table as CSV, `output.csv`", "404 `NO_RESULT`")
ZIP_ENTRIES = limit(20_000, "files", "Artifacts", "the artifact with the result, `spell-result`", NO_OUTPUT)
ZIP_DIRECTORY_BYTES = limit(4 * MIB, "bytes", "Artifacts", "the zip directory of that artifact", NO_OUTPUT)


def cut(text: str) -> str:
    """Return a text, cut to what one part of a problem may hold."""
    return text if len(text) <= VIOLATION_CHARS else text[: VIOLATION_CHARS - 1] + "…"


OPEN_TOPUPS = limit(10, "top-ups", "Money", "top-ups of an account that are under way", "409 `TOO_MANY_TOPUPS`")
FAILED_TOPUPS = limit(
    10, "top-ups", "Money", "top-ups of an account that fail within an hour", "429 `TOO_MANY_DECLINES`"
)
INVOICES_SHOWN = limit(100, "invoices", "Money", "the list of invoices", "the oldest are left out")

GITHUB_ANSWER_BYTES = limit(64 * MIB, "bytes", "GitHub", "an answer, unpacked", "as if GitHub had not answered")
GITHUB_LOG_BYTES = limit(256 * MIB, "bytes", "GitHub", "what is read of a job's log", "its end is not found")
SPELL_FILES = limit(50, "files", "GitHub", "files of spells in a repository", "none of them is applied")
SPELL_FILE_BYTES = limit(256 * KIB, "bytes", "GitHub", "a file of spells in a repository", "none of them is applied")
SPELLS_IN_FILES = limit(500, "spells", "GitHub", "spells that a repository's files define", "none of them is applied")
SPELL_FILE_READS = limit(
    600, "files", "GitHub", "schema and workflow files that a repository's spells name", "none of them is applied"
)
SPELL_FILES_BYTES = limit(
    16 * MIB, "bytes", "GitHub", "all files that a repository's spells need, together", "none of them is applied"
)
SPELL_FILE_PROBLEMS = limit(200, "mistakes", "GitHub", "mistakes that are told of a commit", "left out, and counted")
