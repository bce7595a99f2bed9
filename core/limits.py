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
# A spell's form has two schemas, of which urlencoding makes up to three times as many bytes.
ADMIN_FORM_BYTES = limit(2 * MIB, "bytes", "Requests", "form of the admin", "413 `INPUT_TOO_LARGE`")
FORM_BYTES = limit(64 * KIB, "bytes", "Requests", "any other body, such as a login", "413 `INPUT_TOO_LARGE`")
BODY_IDLE_SECONDS = limit(10, "seconds", "Requests", "wait for the next part of a body", "408 `REQUEST_TIMEOUT`")
BODY_SECONDS = limit(60, "seconds", "Requests", "wait for the end of a body", "408 `REQUEST_TIMEOUT`")
HEAD_SECONDS = limit(
    20, "seconds", "Requests", "wait for a connection's first head", "408, closed", setting="REQUEST_HEAD_SECONDS"
)

NO_OUTPUT = "`output_invalid`; its files are kept"
RESULT_BYTES = limit(256 * KIB, "bytes", "Artifacts", "`result.json`", NO_OUTPUT)
ZIP_ENTRIES = limit(20_000, "files", "Artifacts", "the artifact `spell-result`", NO_OUTPUT)
ZIP_DIRECTORY_BYTES = limit(
    4 * MIB, "bytes", "Artifacts", "the zip directory of the artifact `spell-result`", NO_OUTPUT
)
