"""The repositories that the App may see, and what became of the spell files in each."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core.db.documents import DocumentField
from core.queue.due import DueRow
from github_integration.models import Installation

COMMIT_CHARS = 64


class SpellRepository(DueRow):
    """One repository of an installation, by GitHub's own number, which outlives names.

    A step looks at the head of its default branch as it is then; see `github_integration.spell_files.work`.
    """

    class State(models.TextChoices):
        NEW = "new", "not looked at yet"
        APPLIED = "applied", "applied"
        REFUSED = "refused", "refused"
        NOTHING = "nothing", "no spell files"
        WAITING = "waiting", "waiting for an owner"
        GONE = "gone", "out of the App's reach"

    class Reported(models.TextChoices):
        """How the commit was told what became of its files."""

        NOTHING = "", "nothing to tell"
        OWED = "owed", "not yet"
        BEGUN = "begun", "begun"  # GitHub may have been told already
        CHECK_RUN = "check_run", "by a check run"
        STATUS = "status", "by a commit status"
        NOWHERE = "nowhere", "only here: the App may write neither checks nor statuses"

    number = models.PositiveBigIntegerField(unique=True)  # GitHub's id of the repository
    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="spell_repositories")
    name = models.CharField(max_length=140)  # owner/name
    default_branch = models.CharField(max_length=255, blank=True)
    # As last listed; another value than before means a push.
    pushed_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)  # no longer in the installation
    # The newest commit that a push has named, and when that was pushed; GitHub's servers may be behind its webhooks.
    named_commit = models.CharField(max_length=COMMIT_CHARS, blank=True)
    named_at = models.DateTimeField(null=True, blank=True)
    looks_for_named = models.PositiveSmallIntegerField(default=0)

    state = models.CharField(max_length=12, choices=State, default=State.NEW)
    commit = models.CharField(max_length=COMMIT_CHARS, blank=True)  # that `state` is about
    basis = models.CharField(max_length=500, blank=True)  # all that the state depends on: see `work.basis_of`
    looked_at = models.DateTimeField(null=True, blank=True)
    applied_commit = models.CharField(max_length=COMMIT_CHARS, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)
    problems = DocumentField(default=list, blank=True)  # [{file, line, message}]
    trouble = models.CharField(max_length=500, blank=True)  # why the last look learnt nothing: GitHub's words
    failures = models.PositiveIntegerField(default=0)  # such looks in a row

    # What the commit is to be told: {key, commit, conclusion, title, summary, short, annotations}. The key, made with
    # it, is how our check run is known again.
    report = DocumentField(null=True, blank=True)
    reported = models.CharField(max_length=12, choices=Reported, blank=True, default=Reported.NOTHING)
    check_run = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta(DueRow.Meta):
        verbose_name = "repository of spells"
        verbose_name_plural = "repositories of spells"
        ordering = ("name",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index("looked_at", name="spellrepository_troubled", condition=Q(state__in=("refused", "waiting"))),
        ]

    def __str__(self) -> str:
        return self.name


class RepositoryList(DueRow):
    """When an installation's repositories were last listed, to find pushes that no webhook told of."""

    installation = models.OneToOneField(Installation, on_delete=models.CASCADE, related_name="repository_list")
    listed_at = models.DateTimeField(null=True, blank=True)
    repositories = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    failures = models.PositiveIntegerField(default=0)  # in a row

    class Meta(DueRow.Meta):
        verbose_name = "list of repositories"
        verbose_name_plural = "lists of repositories"

    def __str__(self) -> str:
        return f"repositories of {self.installation}"
