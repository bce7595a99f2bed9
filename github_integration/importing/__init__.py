"""Spells of the workflows that a repository has: what there is (`preview`), and making spells of it (`apply`)."""

from github_integration.importing.asking import ImportFailed, Source, Workflow
from github_integration.importing.making import Found, Preview, Result, State, apply, preview
from github_integration.importing.merging import MISSING, Change

__all__ = [
    "MISSING",
    "Change",
    "Found",
    "ImportFailed",
    "Preview",
    "Result",
    "Source",
    "State",
    "Workflow",
    "apply",
    "preview",
]
