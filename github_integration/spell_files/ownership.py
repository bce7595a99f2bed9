"""What of a spell the files of its repository say, and what stays the operator's."""

from __future__ import annotations

from typing import Protocol

PRICES = ("price_cents", "price", "charge_failed_runs")
PRICE_PARTS = ("price_kind", "per_minute_cents")  # which files write as `price`
LIMITS = ("max_running", "timeout_seconds", "ttl_seconds", "artifact_retention_days", "retention")
# By which fields a file says something; all of them are set anew each time, to their defaults where it says nothing.
ALWAYS = (
    *("name", "description", "tags", "runtime", "workflow_file", "ref", "event_type", "input_mapping", "matching"),
    *("input_schema", "output_schema", "result_artifact", "result_file", "show_run", "show_input"),
)
# What follows from where the file is, and why it can't be written there.
IMPLIED = {
    "repository": "a spell runs in the repository whose files define it: leave it out",
    "installation_id": "it is the installation that the repository belongs to: leave it out",
    "account": "the operator says whose spells these are: leave it out",
    "active": "a spell in these files is active, and one that is taken out is not: leave it out",
}


class Choices(Protocol):
    """The operator's, for one installation."""

    prices_from_repository: bool
    limits_from_repository: bool


def written_in_files(choices: Choices) -> tuple[str, ...]:
    """Return the fields that files may write, by the names that they have there."""
    prices = PRICES if choices.prices_from_repository else ()
    limits = LIMITS if choices.limits_from_repository else ()
    return (*ALWAYS, *prices, *limits)


def set_by_files(choices: Choices) -> tuple[str, ...]:
    """Return the fields that nobody else may change."""
    return ("key", "account", "repository", "installation_id", *columns_of(choices))


def columns_of(choices: Choices) -> tuple[str, ...]:
    """Return the fields of a spell, and of its target, that files set."""
    parts = PRICE_PARTS if choices.prices_from_repository else ()
    return (*(name for name in written_in_files(choices) if name != "price"), *parts)


def why_not(field: str, choices: Choices) -> str:
    """Return why files may not write a field that a spell has, blank if they may."""
    if field in IMPLIED:
        return f"can't be written here: {IMPLIED[field]}."
    if field in PRICES and not choices.prices_from_repository:
        return "the operator of this service sets prices here: leave it out, or ask for prices to come from this file."
    if field in LIMITS and not choices.limits_from_repository:
        return "the operator of this service sets limits here: leave it out, or ask for limits to come from this file."
    return ""
