"""What needs an operator: spell files that were refused, that wait for an owner, or that GitHub does not show."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Min, Q, QuerySet

from core.admin.attention import Section, Trouble, User, buttons, listed, may, trouble_filter
from github_integration.models import SpellRepository

State = SpellRepository.State
WORDS = {"any": "refused, waiting for an owner, or not shown by GitHub"}
MOST = 40
# With spells, or files that would make some: of other repositories GitHub's trouble is nobody's.
MATTERS = Q(state__in=(State.REFUSED, State.WAITING)) | (~Q(trouble="") & Q(targets__isnull=False))
MODEL = "github_integration_spellrepository"


def troubled(rows: QuerySet[Any]) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.filter(pk__in=SpellRepository.objects.filter(MATTERS, gone_at=None).values("pk"))
    return found


RepositoryTroubles = trouble_filter(WORDS, lambda rows, word: troubled(rows))


def spell_files(user: User) -> Section | None:
    """Tell of repositories whose spell files are not applied."""
    if not may(user, "github_integration.view_spellrepository"):
        return None
    allowed = may(user, "github_integration.change_spellrepository")
    rows = troubled(SpellRepository.objects.select_related("installation").exclude(state=State.WAITING))
    troubles = [trouble_of(row, allowed=allowed) for row in rows.order_by("looked_at", "pk")[:MOST]]
    waiting = SpellRepository.objects.filter(state=State.WAITING, gone_at=None)
    by_owner = waiting.values("installation", "installation__account_login").order_by("installation")
    for one in by_owner.annotate(counted=Count("pk"), since=Min("looked_at"))[:MOST]:
        number, login = one["installation"], one["installation__account_login"]
        troubles.append(
            Trouble(
                f"Repositories of installation {number} ({login or 'not told yet'}) define spells that nobody owns",
                one["counted"],
                one["since"],
                advice="Choose the account whose spells these are, on the installation's page; then they are applied.",
                path=listed("github_integration_installation", id__exact=number),
                mild=True,
            )
        )
    return Section("Spells in repositories", tuple(troubles))


def trouble_of(row: SpellRepository, *, allowed: bool) -> Trouble:
    path = listed(MODEL, id__exact=row.pk)
    if row.trouble:
        what, why = f"GitHub does not show the spell files of {row.name}", row.trouble
        advice = "Its spells stay as they are. Is the App installed on it, and may it read contents?"
    else:
        count, first = len(row.problems), row.problems[0] if row.problems else {"file": "", "line": 0, "message": ""}
        what = f"The spell files of {row.name} are not applied: {count} mistake{'s' * (count != 1)}"
        why = f"{first['file']}, line {first['line']}: {first['message']}"
        advice = "Its authors were told at the commit; the spells are as they were before. The page shows all mistakes."
    return Trouble(
        what,
        since=row.looked_at,
        why=why,
        advice=advice,
        path=path,
        buttons=buttons(allowed, path, look_now="Look now"),
        mild=not row.trouble,
    )
