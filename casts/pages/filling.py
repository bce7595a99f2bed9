"""A spell's form as a member fills it in: what was typed, what it comes to, and what is wrong with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from casts.forms.fields import ABSENT, JSON, Field, Kind, Part, Path, Typed, control
from casts.forms.filling import as_json, filled, fresh
from casts.forms.planning import plan
from casts.forms.reading import Mistake, Reading, Unreadable, file_text, read
from casts.forms.rows import added, find, removed
from casts.forms.showing import Node, Wrong, show
from casts.forms.wording import advice
from casts.models import Spell
from casts.spells.inputs import checked_input
from core.errors import InvalidInput, SpellError
from core.json_schema import pointer

OURS = re.compile(r"[vbnjo](?:/.*)?", re.DOTALL)
MISSING = re.compile(r'"(.*)" is a required property', re.DOTALL)
WHOLE = control(Part.WHOLE, ())
FULL = "There is no room for more rows in this form. Write the input as JSON instead."


@dataclass
class Filling:
    """What is typed in a spell's form."""

    spell: Spell
    typed: Typed
    mistakes: list[Mistake] = field(default_factory=list)
    focus: str = ""  # the path of the field that is begun at, as controls have it
    notes: list[str] = field(default_factory=list)

    @classmethod
    def untouched(cls, spell: Spell) -> Filling:
        return cls(spell, fresh(plan(spell.input_schema)))

    @classmethod
    def of_value(cls, spell: Spell, value: JSON) -> Filling:
        return cls(spell, filled(plan(spell.input_schema), value))

    @classmethod
    def sent(cls, spell: Spell, data: QueryDict, files: MultiValueDict[str, Any]) -> Filling:
        """Return what a browser sent. Files are taken as what was typed where they are for."""
        form = plan(spell.input_schema)
        one = cls(spell, {name: str(data[name]) for name in data if OURS.fullmatch(name)})
        one.__dict__["form"] = form
        for name in files:
            if name[:1] == Part.FILE and (found := find(form, name[1:])) is not None:
                one.take_file(files[name], *found)
        return one

    @cached_property
    def form(self) -> Field:
        return plan(self.spell.input_schema)

    @cached_property
    def reading(self) -> Reading:
        return read(self.form, self.typed)

    @property
    def value(self) -> JSON:
        """What was typed, as far as it can be read."""
        return {} if self.reading.value is ABSENT else self.reading.value

    @property
    def is_json(self) -> bool:
        return WHOLE in self.typed

    @property
    def has_form(self) -> bool:
        return self.form.kind != Kind.JSON

    def take_file(self, file: Any, one: Field, path: Path) -> None:
        most = settings.CAST_INPUT_MAX_CHARS
        room = most * 3 // 4 if one.upload == "base64" else settings.CAST_INPUT_MAX_BYTES
        name = (file.name or "")[:100]
        try:
            if (file.size or 0) > room:
                raise Unreadable(f"The file {name} has {file.size:,} bytes; at most {room:,} fit. Choose another.")
            self.typed[control(Part.VALUE, path)] = file_text(file.read(), one.upload)
            self.notes.append(f"The file {name} was taken over as text.")
        except Unreadable as exc:
            self.mistakes.append(Mistake(path, str(exc)))

    # --- What the buttons do ---------------------------------------------------------------------------------------

    def act(self, wanted: str) -> None:
        """Change what is typed, as a button asks for: add/PATH, remove/PATH, json or fields."""
        verb, slash, rest = wanted.partition("/")
        if verb == "add":
            self.add(slash + rest)
        elif verb == "remove" and (left := removed(self.form, self.typed, slash + rest)) is not None:
            self.change(left)
            self.focus = (slash + rest).rpartition("/")[0]
        elif verb == "json" and not self.is_json and self.has_form:
            kept = read(self.form, self.typed, keep=True).value
            self.change({WHOLE: as_json({} if kept is ABSENT else kept)})
        elif verb == "fields" and self.is_json:
            if self.reading.mistakes:
                self.mistakes += self.reading.mistakes
            else:
                self.change(filled(self.form, self.value))
                if self.is_json:
                    self.mistakes.append(Mistake((), "The form has no fields that could hold this. It stays JSON."))

    def add(self, where: str) -> None:
        found = added(self.form, self.typed, where)
        if found is not None:
            self.change(found[0])
            where = control(Part.VALUE, found[1])[1:]
            one = find(self.form, where)
            while one is not None and one[0].kind == Kind.OBJECT and one[0].fields:
                one = one[0].fields[0], (*one[1], one[0].fields[0].name)
            self.focus = where if one is None else control(Part.VALUE, one[1])[1:]
        elif (array := find(self.form, where)) is not None:
            self.mistakes.append(Mistake(array[1], FULL))

    def change(self, typed: Typed) -> None:
        self.typed = typed
        vars(self).pop("reading", None)

    # --- What is wrong ---------------------------------------------------------------------------------------------

    def check(self) -> bool:
        """Find all mistakes, by the checks that each cast goes through; return whether there are none."""
        unread = [*self.mistakes, *self.reading.mistakes]
        self.mistakes = unread
        try:
            checked_input(self.spell, self.value)
        except InvalidInput as exc:
            self.tell(exc)
        except SpellError as exc:
            self.mistakes = [*self.mistakes, Mistake((), str(exc))]
        return not self.mistakes

    def tell(self, error: InvalidInput) -> None:
        """Put the mistakes that the API would list beside their fields."""
        unread = {mistake.path for mistake in self.mistakes}
        for one in error.extra.get("errors", ()):
            where, text = str(one["pointer"]).removeprefix("/input"), str(one["detail"])
            path = self.missing(where, text)
            if path is not None:
                if path not in unread:  # if it can't be read, it is missing, too
                    self.mistakes.append(Mistake(path, "This is needed."))
                continue
            path, rest = self.reading.place_of(where)
            self.mistakes.append(Mistake(path, f"{text} (at {rest})" if rest else advice(text)))

    def missing(self, where: str, text: str) -> Path | None:
        """Return the field that a mistake of its object is about."""
        found = MISSING.fullmatch(text)
        if found is None:
            return None
        try:
            name = str(json.loads(f'"{found[1]}"'))
        except ValueError:
            name = found[1]
        return self.reading.places.get(where + pointer([name]))

    def shown(self) -> tuple[Node, list[Wrong]]:
        if self.is_json:
            self.mistakes = [Mistake((), one.text) for one in self.mistakes]
        return show(self.form, self.typed, self.mistakes)
