"""One spell by the day: how many casts, how long they took, why they failed."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from casts import tallies
from casts.dashboard.drawing import ON_DAY, bars, failure_table, failures_in, lines
from casts.dashboard.panels import may_see
from casts.models import Spell
from casts.tallies import DAY, Tally, together
from core.admin.dashboard import Panel

DAYS = 14
RUNNING = "From the run's beginning to the cast's end, by the day of acceptance"
WAITING = "From acceptance to the run's beginning, by the day of acceptance"


@require_safe
def spell_times(request: HttpRequest, spell_id: int) -> HttpResponse:
    if not may_see(request.user):
        raise PermissionDenied
    spell = get_object_or_404(Spell, pk=spell_id)
    counted = tallies.load(spell=spell.pk)
    days = [(start, spells.get(spell.pk, Tally())) for start, spells in counted.last_days(DAYS)]
    query = {"spell__id__exact": spell.pk}
    found = failures_in({spell.pk: together(tally for _, tally in days)})
    context = {
        **admin.site.each_context(request),
        "title": f"{spell.key}: the last {DAYS} days",
        "spell": spell,
        "panels": [
            Panel("Run time", (lines(days, DAY, ON_DAY, RUNNING, "runs", **query),)),
            Panel("Waiting", (lines(days, DAY, ON_DAY, WAITING, "waits", **query),)),
            Panel("Casts", (bars(days, DAY, ON_DAY, "Casts accepted, by what became of them", **query),)),
            Panel("Failures", (failure_table(found, days[0][0], counted.now, of_one=True),)),
        ],
    }
    return TemplateResponse(request, "admin/spell_times.html", context)
