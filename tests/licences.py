"""Write docs/reference/licences.md from what the locked production dependencies say of themselves: `make licences`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

from packaging.utils import canonicalize_name

from tests.pages import DOCS, ROOT

PAGE = DOCS / "reference" / "licences.md"
# They ask for their notice to be kept, and for nothing else.
FREE = {
    *("MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Apache-2.0", "PSF-2.0", "Unlicense"),
}
# What asks for more, and why it may be here. A package that is not named is refused with such a licence.
MORE = {
    "certifi": ("MPL-2.0", "Its file of certificates is used unchanged."),
    "fido2": ("MPL-2.0", "Only its list of public suffixes, which is used unchanged."),
    "psycopg": ("LGPL-3.0-only", "Used unchanged, as a package of its own that anybody can replace."),
    "psycopg-binary": ("LGPL-3.0-only", "Likewise."),
}
# By hand, from the files that they ship: these say it in no form that a program can read, or are of another system.
BY_HAND = {
    "async-timeout": "Apache-2.0",  # before Python 3.11.3 only
    "colorama": "BSD-3-Clause",  # on Windows only
    "django-csp": "BSD-3-Clause",
    "fido2": "BSD-2-Clause AND Apache-2.0 AND MPL-2.0",
    "qrcode": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "sqlparse": "BSD-3-Clause",
    "stripe": "MIT",
    "tzdata": "Apache-2.0",  # on Windows only
    "uvloop": "MIT OR Apache-2.0",
}
LEGACY = {
    "MIT License": "MIT",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD 3-Clause OR Apache-2.0": "BSD-3-Clause OR Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
}


class Unknown(Exception):
    """Nothing says under which licence a package comes."""


def licence_of(package: str) -> str:
    """Return a package's licence as an SPDX expression. Raise Unknown."""
    if package in BY_HAND:
        return BY_HAND[package]
    about = metadata.metadata(package).json
    said = str(about.get("license_expression") or about.get("license") or "").strip()
    said = LEGACY.get(said, said)
    if not said or not re.fullmatch(r"[A-Za-z0-9.+() -]+", said) or len(said) > 60:
        raise Unknown(f"{package} says {said[:60]!r}: look into what it ships, and name its licence in BY_HAND.")
    return said


def refused(package: str, licence: str) -> str:
    """Return why a licence may not be here, blank if it may: all parts joined by AND, of those joined by OR one."""
    allowed = FREE | ({MORE[package][0]} if package in MORE else set())
    for part in re.split(r"\)? AND \(?", licence.strip("()")):
        if not any(one.strip(" ()") in allowed for one in part.split(" OR ")):
            return f"{package} comes under {licence}, which nobody has agreed to: see MORE and FREE."
    return ""


def locked(file: str) -> set[str]:
    """Return the names of what a file of locked requirements installs, on whatever system and Python."""
    text = (ROOT / "requirements" / file).read_text()
    return {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", text, re.M)}


def table(names: Iterable[str]) -> str:
    lines = []
    for name in names:
        licence = licence_of(name)
        lines.append(f"| {name} | {licence} | {MORE[name][1] if name in MORE else ''} |".replace("|  |", "| |"))
    return "\n".join(["| package | licence | |", "|---|---|---|", *lines])


def written() -> str:
    """Return the page."""
    return f"""# Licences of dependencies

Spell Platform itself is under the [MIT licence](../../LICENSE). This is what production installs besides; versions
and hashes are in `requirements/production.txt`. `make licences` writes this page. A test refuses a package that is not
here, a licence that nobody knows, and one that asks for more than that its notice is kept, unless somebody has said why
it may be here. What an image holds of Debian is in its bill of materials
([how to get it](../../SECURITY.md#verify-a-release)).

Nothing comes from npm, so there is nothing for `npm audit`: the pages' scripts are our own, without a build step.

## Always

{table(sorted(always := locked("production.txt")))}

## With an extra

What `redis`, `stripe`, `s3` and `otel` add.

{table(sorted(locked("complete.txt") - always))}
"""


if __name__ == "__main__":
    PAGE.write_text(written())
