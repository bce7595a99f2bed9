"""Whether what repositories say of their own spells is applied."""

from __future__ import annotations

from collections.abc import Iterator

from github_integration.doctor.findings import About, Finding
from github_integration.models import RepositoryList, SpellRepository

State = SpellRepository.State
PAGE = "the admin: GitHub → Repositories of spells"


def check() -> Iterator[Finding]:
    """Tell of each repository that defines spells; asks nothing of GitHub."""
    told = SpellRepository.objects.exclude(state__in=(State.NEW, State.NOTHING, State.GONE))
    for row in told.select_related("installation"):
        yield _of(row, About(f"Spells in {row.name}"))
    for listing in RepositoryList.objects.exclude(error="").filter(installation__account__isnull=False):
        yield About(f"Installation {listing.installation_id}").warning(
            "spell files", listing.error, hint="See docs/how-to/spells-in-the-repository.md, “What the App needs”."
        )


def _of(row: SpellRepository, about: About) -> Finding:
    if row.trouble:
        hint = "Its spells stay as they are. Is the App installed on it, and may it read contents?"
        return about.problem("files", row.trouble, hint=hint)
    if row.state == State.WAITING:
        message = "Its files are not applied: nobody owns the spells of this installation."
        hint = f"Choose the account in the admin: GitHub → Installations → {row.installation_id}."
        return about.warning("files", message, hint=hint)
    if row.state == State.REFUSED:
        message = f"Not applied, for {len(row.problems)} mistake(s)."
        for first in row.problems[:1]:
            message += f" {first['file']}, line {first['line']}: {first['message']}"
        return about.problem("files", message, hint=f"Correct it and push. All of them: {PAGE}.")
    if row.reported == SpellRepository.Reported.NOWHERE:
        message = f"Applied at {row.applied_commit[:12]}; its commits can't be told so."
        hint = "Give the App Checks: read and write, or Commit statuses: read and write."
        return about.warning("files", message, hint=hint)
    return about.ok("files", f"applied at {row.applied_commit[:12]}")
