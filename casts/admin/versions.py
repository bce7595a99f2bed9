"""A spell's versions, for operators: which there are, and what changed from one to another, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from casts.definition import Definition
from casts.models import Cast, Spell, SpellVersion
from core.admin.base import NOTHING, table, utc_time
from core.db.documents import written
from core.numbers import natural

SHOWN = 50  # versions of a list, the newest
CONTEXT = 3  # lines that are the same, before and after a change
FIELDS_NAMED = 6


class Line(NamedTuple):
    """A line of a difference. `sign`: + came, - went, blank is the same, … stands for lines that are the same."""

    sign: str
    text: str

    @property
    def kind(self) -> str:
        return {"+": "came", "-": "went", "…": "left-out"}.get(self.sign, "same")


def lines_of(definition: Definition) -> list[str]:
    """Return a definition as text: a field a line, documents indented, longer texts as they are."""
    lines: list[str] = []
    for name, value in definition.items():
        if isinstance(value, str) and "\n" in value:
            lines += [f'{name} = """', *value.split("\n"), '"""']
        else:
            lines += f"{name} = {json.dumps(value, indent=2, ensure_ascii=False)}".split("\n")
    return lines


def difference(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    """Yield what came and what went, with some of what is the same around it; nothing if all is the same."""
    place = 0
    for group in SequenceMatcher(None, before, after).get_grouped_opcodes(CONTEXT):
        if (skipped := group[0][1] - place) > 0:
            yield Line("…", left_out(skipped))
        for tag, first, last, start, end in group:
            if tag == "equal":
                yield from (Line(" ", line) for line in before[first:last])
                continue
            yield from (Line("-", line) for line in before[first:last])
            yield from (Line("+", line) for line in after[start:end])
        place = group[-1][2]
    if place and (skipped := len(before) - place) > 0:
        yield Line("…", left_out(skipped))


def left_out(number: int) -> str:
    return f"{number:,} line{'s' if number > 1 else ''} the same"


def changed(before: Definition, after: Definition) -> list[str]:
    """Return the names of the fields that are not the same."""
    names = [*after, *(name for name in before if name not in after)]
    return [name for name in names if name not in before or name not in after or not same(before[name], after[name])]


def same(one: Any, other: Any) -> bool:
    return written(one) == written(other)  # to Python 1, 1.0 and True are equal


def page_path(spell_id: int, of: int, than: int) -> str:
    return f"{reverse('admin:casts_spell_versions', args=[spell_id])}?of={of}&than={than}"


def list_of(spell: Spell) -> SafeString | str:
    """Return a table of the newest versions, each with what it changed and a link to how."""
    found = list(spell.versions.order_by("-number")[: SHOWN + 1])
    rows: list[list[Any]] = []
    for version, before in pairwise([*found, None]):
        assert version is not None
        if len(rows) == SHOWN:
            break
        names = changed(before.definition, version.definition) if before else []
        more = f" and {len(names) - FIELDS_NAMED} more" if names[FIELDS_NAMED:] else ""
        said = ", ".join(names[:FIELDS_NAMED]) + more
        path = page_path(spell.pk, version.number, version.number - 1)
        number = format_html('<a href="{}" aria-label="What version {} changed">{}</a>', path, *[version.number] * 2)
        who = [version.by or NOTHING, version.source or NOTHING]
        rows.append([number, utc_time(version.created_at), *who, said if before else "the first that was kept"])
    return table(["version", "since", "by", "from", "changed"], rows)


def of_cast(cast: Cast) -> SafeString | str:
    """Say under which version of its spell a cast was accepted, with a link to what has changed since."""
    number, latest = cast.spell_version, cast.spell.version
    if number is None:
        return "accepted before versions were kept: it goes by the spell as it is"
    if number == latest:
        path = page_path(cast.spell_id, number, number - 1)
        return format_html('<a href="{}">version {}</a>, the latest', path, number)
    path = page_path(cast.spell_id, latest, number)
    return format_html('<a href="{}">version {} (the spell is at {})</a>', path, number, latest)


def page_of(request: HttpRequest, spell: Spell) -> dict[str, Any]:
    """Return what the page shows that compares two versions: `of`, by default the latest, and `than`, the one before.

    Raise Http404 for one that there never was; 0 is before the first.
    """
    of = asked(request, "of", spell.version)
    than = asked(request, "than", max(of - 1, 0))
    versions = {0: SpellVersion(number=0, definition={})} | {
        version.number: version for version in spell.versions.filter(number__in={of, than})
    }
    if of not in versions or than not in versions:
        raise Http404(f"{spell} has no such version; its latest is {spell.version}.")
    lines = list(difference(lines_of(versions[than].definition), lines_of(versions[of].definition)))
    return {"spell": spell, "of": versions[of], "than": versions[than], "lines": lines, "latest": spell.version}


def asked(request: HttpRequest, name: str, default: int) -> int:
    number = natural(request.GET.get(name, str(default)), digits=9)
    if number is None:
        raise Http404(f"{name} is the number of a version.")
    return number
