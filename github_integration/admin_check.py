"""The operators' button that has the doctor look at a spell on GitHub."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from casts.admin.spells import SpellAdmin
from casts.models import Spell
from github_integration.doctor import spells as doctor
from github_integration.doctor.findings import Finding, Level
from github_integration.models import WorkflowTarget

MOST = 20  # spells at once: each takes some calls, and somebody waits
WORST_FIRST = (Level.PROBLEM, Level.WARNING, Level.OK)
VERDICTS = {
    Level.PROBLEM: "Casts can't work like this.",
    Level.WARNING: "Casts work, but less well than they could; or something could not be checked.",
    Level.OK: "All is as it should be.",
}


@admin.action(description="Check on GitHub", permissions=["change"])
def check_on_github(where: SpellAdmin, request: HttpRequest, queryset: QuerySet[Spell]) -> HttpResponse | None:
    """Show what the doctor says of the chosen spells, and keep what their workflows declare."""
    chosen = list(queryset.order_by("key").select_related(WorkflowTarget.relation())[: MOST + 1])
    if len(chosen) > MOST:
        told = f"Choose {MOST} spells at most; “manage.py doctor” checks all."
        where.message_user(request, told, messages.WARNING)
        return None
    return page_of(where, request, chosen, doctor.examine(chosen))


def check_as_typed(where: SpellAdmin, request: HttpRequest, spell: Spell) -> HttpResponse:
    """Show what the doctor says of a spell that is not saved; nothing is kept."""
    return page_of(where, request, [spell], doctor.examine([spell], keep=False), typed=True)


def page_of(
    where: SpellAdmin, request: HttpRequest, chosen: list[Spell], found: list[Finding], *, typed: bool = False
) -> HttpResponse:
    counted = Counter(finding.level for finding in found)
    shown = {
        **where.admin_site.each_context(request),
        "title": f"Check of {chosen[0]}" if len(chosen) == 1 else f"Check of {len(chosen)} spells",
        "opts": where.opts,
        "spells": chosen,
        "typed": typed,
        "groups": grouped(found, chosen),
        "verdict": VERDICTS[next((level for level in WORST_FIRST if counted[level]), Level.OK)],
        "counts": ", ".join(f"{level}: {counted[level]}" for level in Level),
    }
    return TemplateResponse(request, "admin/github_integration/check.html", shown)


def grouped(found: list[Finding], chosen: list[Spell]) -> list[tuple[str, Spell | None, list[Finding]]]:
    """Return the findings by subject, the spells first; of each the worst first."""
    groups: dict[str, list[Finding]] = {}
    for finding in found:
        groups.setdefault(finding.subject, []).append(finding)
    spells: dict[str, Spell | None] = {f"Spell {spell.key}": spell for spell in chosen}
    subjects = [*(subject for subject in spells if subject in groups), *(s for s in groups if s not in spells)]
    order: Any = {level: place for place, level in enumerate(WORST_FIRST)}
    return [(s, spells.get(s), sorted(groups[s], key=lambda finding: order[finding.level])) for s in subjects]


SpellAdmin.runtime_actions.append(check_on_github)
SpellAdmin.tries["check"] = ("Check against GitHub", check_as_typed)
SpellAdmin.buttons.append(
    ("check_on_github", "Check on GitHub", "Has the doctor look at the workflow, and keeps which inputs it declares.")
)
