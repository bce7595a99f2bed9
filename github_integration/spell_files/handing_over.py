"""Handing a spell over to the files of its repository, which name its key: an operator's act, never a file's."""

from __future__ import annotations

from django.db import transaction

from casts.models import Spell
from github_integration.models import SpellRepository, WorkflowTarget
from github_integration.spell_files import work
from github_integration.spell_files.applying import KEY_TAKEN
from github_integration.spell_files.reading import Problem


def hand_over(spell: Spell) -> bool:
    """Have the files of the spell's repository define it from now on; False if that is not what they wait for.

    The repository must be the one that it runs in, and its files must have been refused because they name its key. So
    no spell is deactivated by this, and none gets another owner than the one it had, if it had any.
    """
    target = WorkflowTarget.of(spell)
    before = target.defined_in
    if before is not None and before.gone_at is None:
        return False
    named = SpellRepository.objects.filter(name__iexact=target.repository_used, gone_at=None)
    refused = named.filter(state=SpellRepository.State.REFUSED).select_related("installation")
    told = Problem("", 1, f"{spell.key}: {KEY_TAKEN}").message
    row = next((row for row in refused if any(one["message"] == told for one in row.problems)), None)
    if row is None or spell.account_id not in (None, row.installation.account_id):
        return False
    with transaction.atomic():
        if target._state.adding:
            WorkflowTarget(spell=spell, defined_in=row).save()
        elif not WorkflowTarget.objects.filter(pk=target.pk, defined_in=before).update(defined_in=row):
            return False
        work.look_anew(SpellRepository.due_rows().filter(pk=row.pk))
    return True
