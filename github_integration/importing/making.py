"""Spells of imported workflows: what is there already, what would change, and making it so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.audit import log
from accounts.models import Account
from accounts.principals import Principal
from casts import versions
from casts.definition import fields_of
from casts.models import Spell, SpellTarget
from casts.spells import toml
from github_integration.importing.asking import FOLDER, ImportFailed, Source, Workflow, read_source
from github_integration.importing.merging import PARTS, Change, merged, written_by
from github_integration.models import WorkflowTarget
from github_integration.workflow_files.schema import Draft, key_of, one_line, with_different_keys

JSON = Any


class State(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    SAME = "unchanged"
    UNCLEAR = "unclear"  # a person has to say what is meant
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Found:
    """One workflow of a repository, beside the spell that there is of it, if there is one."""

    file: str
    state: State
    key: str = ""  # of the spell that is there, or would be made
    why: str = ""  # left out, or unclear
    draft: Draft | None = None
    spell: Spell | None = None
    values: Mapping[str, JSON] | None = None  # what the spell would have, by the names in merging.PARTS
    changes: tuple[Change, ...] = ()  # to the spell that is there
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def usable(self) -> bool:
        return self.state in (State.NEW, State.CHANGED, State.SAME)


@dataclass(frozen=True)
class Preview:
    source: Source
    found: tuple[Found, ...]

    @property
    def problems(self) -> list[str]:
        return [f"{one.file}: {one.why}" for one in self.found if one.state == State.UNCLEAR]


@dataclass(frozen=True)
class Result:
    """The keys of what was made and changed, and of what was as the files say."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def preview(
    repository: str,
    ref: str = "",
    *,
    files: Collection[str] = (),
    keys: Mapping[str, str] | None = None,
    prefix: str = "",
    most: int | None = None,
) -> Preview:
    """Return what could be imported of a repository. Raise ImportFailed. Asks GitHub; changes nothing.

    keys: of files whose spells are to have other keys than their names; prefix: of all keys made of names.
    """
    return compared(read_source(repository, ref, files=files, most=most), keys=keys or {}, prefix=prefix)


def compared(source: Source, *, keys: Mapping[str, str], prefix: str = "", lock: bool = False) -> Preview:
    """Compare what was read with the spells that there are. `lock`: until the transaction ends."""
    there = _spells_of(source, lock=lock)
    drafts = [
        replace(one.draft, key=keys.get(one.file) or key_of(one.file, prefix=prefix))
        for one in source.workflows
        if one.draft is not None
    ]
    named = {draft.file: draft for draft in with_different_keys(drafts)}
    named |= {draft.file: draft for draft in drafts if keys.get(draft.file)}  # as they were asked for
    twice = {key for key, count in Counter(draft.key for draft in named.values()).items() if count > 1}
    wanted = {draft.key for draft in named.values()}
    others = {spell.key: spell for spell in Spell.objects.filter(key__in=wanted).select_related("workflowtarget")}
    found = [_found(one, source, named.get(one.file), there, keys, others, twice) for one in source.workflows]
    return Preview(source, tuple(found))


def _spells_of(source: Source, *, lock: bool) -> list[Spell]:
    """Return the spells whose workflow is in the repository, whatever its name was."""
    spells = Spell.objects.filter(runtime=Spell.Runtime.WORKFLOW_DISPATCH).select_related("workflowtarget")
    names = {source.repository.lower(), source.asked.lower()}
    found = [spell for spell in spells if WorkflowTarget.of(spell).repository_used.lower() in names]
    if not lock:
        return found
    # NO KEY: casts that are accepted don't wait. In the order in which all lock spells.
    locked = spells.filter(pk__in=[spell.pk for spell in found]).order_by("pk")
    return sorted(locked.select_for_update(of=("self",), no_key=True), key=lambda spell: spell.key)


def _found(
    workflow: Workflow,
    source: Source,
    draft: Draft | None,
    there: list[Spell],
    keys: Mapping[str, str],
    others: Mapping[str, Spell],
    twice: Collection[str],
) -> Found:
    if draft is None:
        return Found(workflow.file, State.LEFT_OUT, why=workflow.left_out)
    found = Found(workflow.file, State.UNCLEAR, draft.key, draft=draft, notes=draft.notes)
    found = replace(found, fingerprint=workflow.fingerprint)
    of_it = [spell for spell in there if _is_of(spell, draft.file, source.ref)]
    spell, why = _meant(of_it, draft.key, chosen=draft.file in keys)
    if why:
        return replace(found, why=why)
    if spell is not None and (kept_in := WorkflowTarget.of(spell).kept_in()):
        return replace(found, state=State.LEFT_OUT, why=f"its spell {spell.key} is kept in {kept_in}")
    if spell is None:
        if draft.key in others:
            why = f"the key {draft.key} is taken by a spell of {described(others[draft.key])}"
            if _may_be_renamed(others[draft.key], draft.file, source):
                why += f"; if that was renamed to {source.repository}, write this name into that spell"
        elif draft.key in twice:
            why = f"the key {draft.key} is chosen for two workflows"
        values = written_by(draft)
        return replace(found, state=State.UNCLEAR if why else State.NEW, why=why, values=values)
    target = WorkflowTarget.of(spell)
    now = {name: getattr(target if name == "input_mapping" else spell, name) for name in PARTS}
    became = merged(target.imported, now, draft, key=spell.key)
    moved = any(not change.kept for change in became.changes) or target.declared_inputs != draft.declared_inputs
    return replace(
        found,
        key=spell.key,
        state=State.CHANGED if moved else State.SAME,
        spell=spell,
        values=became.values,
        changes=became.changes,
        notes=(*draft.notes, *_astray(target, source)),
    )


def _is_of(spell: Spell, file: str, ref: str) -> bool:
    target = WorkflowTarget.of(spell)
    return target.workflow_used == file and _short(target.ref_used) == _short(ref)


def _may_be_renamed(spell: Spell, file: str, source: Source) -> bool:
    """Whether a spell is of the same file in a repository that differs by its owner or by its name alone."""
    target = WorkflowTarget.of(spell)
    before, now = target.repository_used.lower().split("/"), source.repository.lower().split("/")
    return target.workflow_used == file and any(one == other for one, other in zip(before, now, strict=False))


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _meant(of_it: list[Spell], key: str, *, chosen: bool) -> tuple[Spell | None, str]:
    """Return which of a workflow's spells is meant, None for a new one; or why that can't be told."""
    by_key = [spell for spell in of_it if spell.key == key]
    imported = [spell for spell in of_it if WorkflowTarget.of(spell).imported is not None]
    if chosen or by_key:
        return (by_key[0] if by_key else None), ""
    for few in (imported, of_it):
        if len(few) == 1:
            return few[0], ""
    if of_it:
        keys = ", ".join(spell.key for spell in of_it)
        return None, f"several spells are of this workflow: {keys}; choose one of their keys, or another for a new one"
    return None, ""


def _astray(target: WorkflowTarget, source: Source) -> list[str]:
    notes = []
    if target.repository_used.lower() != source.repository.lower():
        notes.append(
            f"Its spell names the repository {target.repository_used}, which is called {source.repository} now."
        )
    if source.installation and target.installation_used != source.installation:
        notes.append(f"Its spell goes by installation {target.installation_used}; it should be {source.installation}.")
    return notes


def described(spell: Spell) -> str:
    target = WorkflowTarget.of(spell)
    if spell.runtime != Spell.Runtime.WORKFLOW_DISPATCH:
        return f"the event {target.event_type} in {target.repository_used}"
    return f"{target.workflow_used} in {target.repository_used} at {target.ref_used}"


# --- making it so ----------------------------------------------------------------------------------------------


def apply(
    seen: Preview,
    chosen: Collection[str] | None = None,
    *,
    by: Principal,
    account: Account | None = None,
    keys: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Result:
    """Make and change the spells of the chosen files, None: of all that can be, in one transaction.

    Compares again with what is there by now. keys, prefix: as for `preview`; account: whose the new ones are, None:
    everybody's. Raise ImportFailed with every reason, and leave everything as it was.
    """
    files = [one.file for one in seen.source.workflows if chosen is None or one.file in chosen]
    try:
        with transaction.atomic():
            now = compared(seen.source, keys=keys or {}, prefix=prefix, lock=True)
            found = [one for one in now.found if one.file in files and one.state != State.LEFT_OUT]
            problems = [f"{one.file}: {one.why}" for one in found if not one.usable]
            for one in found if not problems else []:
                problems += [f"{one.file}: {problem}" for problem in _save(one, now.source, by, account)]
            if problems:
                raise ImportFailed("\n".join(problems))
            result = Result(*(_keys(found, state) for state in (State.NEW, State.CHANGED, State.SAME)))
            facts = {"created": result.created, "changed": result.changed}
            log.record(by, "spells.import", after={"repository": now.source.repository, "ref": now.source.ref} | facts)
    except IntegrityError as exc:
        raise ImportFailed("Somebody else made one of these spells at the same moment. Have another look.") from exc
    return result


def _keys(found: list[Found], state: State) -> tuple[str, ...]:
    return tuple(one.key for one in found if one.state == state)


def _save(found: Found, source: Source, by: Principal, account: Account | None) -> list[str]:
    assert found.draft is not None
    assert found.values is not None
    spell = found.spell or Spell(key=found.key, account=account)
    target = WorkflowTarget.of(spell)
    if found.spell is None:
        set_where(target, source, found.file)
    for name in PARTS:
        setattr(target if name == "input_mapping" else spell, name, found.values[name])
    target.declared_inputs, target.imported = found.draft.declared_inputs, written_by(found.draft)
    rows: list[Spell | SpellTarget] = [spell, target]
    mistakes = toml.mistakes(rows, ("key", *fields_of(WorkflowTarget)))
    if not mistakes:
        spell.save(keep_version=False)
        target.save(keep_version=False)
        versions.keep(spell, by=by.label, source=f"import {source.repository}/{FOLDER}{found.file}@{source.ref}")
    return [f"{name}: {' '.join(told)}" for name, told in mistakes.items()]


def set_where(target: WorkflowTarget, source: Source, file: str) -> None:
    """Have a new spell's target name all of it, whatever the settings say some day."""
    target.repository, target.workflow_file, target.ref = source.repository, file, source.ref
    if source.installation != settings.GITHUB_APP_INSTALLATION_ID:
        target.installation_id = source.installation


def unstored(found: Found, source: Source) -> Spell:
    """Return the spell that a workflow would make, as it would be."""
    assert found.values is not None
    spell = found.spell or Spell(key=found.key)
    target = WorkflowTarget.of(spell)
    if found.spell is None:
        set_where(target, source, found.file)
    for name in PARTS:
        setattr(target if name == "input_mapping" else spell, name, found.values[name])
    return spell


def shown(value: JSON) -> str:
    """Return a part of a spell in one short line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return one_line(text)[:80]
