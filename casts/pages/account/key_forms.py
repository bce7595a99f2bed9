"""The form that makes an API key, and for how long a rotated key works on."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils import timezone

from accounts.key_acts import MAY_GIVE
from accounts.models import SCOPES, Membership, Role, usual_scopes
from casts.models import Spell
from core import limits
from core.times import midnight

SPELLS_SHOWN = 500


@dataclass(frozen=True)
class Overlap:
    text: str
    time: dt.timedelta


OVERLAPS = {
    "now": Overlap("at once", dt.timedelta()),
    "hour": Overlap("in 1 hour", dt.timedelta(hours=1)),
    "day": Overlap("in 24 hours", dt.timedelta(hours=24)),
    "week": Overlap("in 7 days", dt.timedelta(days=7)),
}
LASTS = {"": "never", "30": "in 30 days", "90": "in 90 days", "365": "in a year", "day": "on a day:"}


class KeyForm(forms.Form):
    """What a new key is called, what it may do, and for how long."""

    name = forms.CharField(max_length=limits.KEY_NAME_CHARS, label="Name", help_text="What or whom the key is for.")
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that it may do."},
    )
    spells = forms.ChoiceField(
        label="Which spells",
        choices=[("all", "every spell, also those to come"), ("some", "only these:")],
        widget=forms.RadioSelect,
        initial="all",
    )
    spell_keys = forms.MultipleChoiceField(label="Spells", widget=forms.CheckboxSelectMultiple, required=False)
    lasts = forms.ChoiceField(label="When it expires", choices=list(LASTS.items()), required=False)
    day = forms.DateField(
        label="The last day (UTC)", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    # Made with the form, so that one which is sent twice makes one key.
    number = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def __init__(self, membership: Membership, data: Any = None) -> None:
        super().__init__(data, initial={"scopes": usual_scopes()})
        may = MAY_GIVE.get(Role(membership.role), frozenset())
        words = [(scope, word) for scope, word in SCOPES.items() if scope in may]
        spells = Spell.objects.seen_by(membership.account_id).filter(active=True).order_by("name", "key")
        self.fields["scopes"].choices = words  # type: ignore[attr-defined]
        self.fields["spell_keys"].choices = list(spells.values_list("key", "name")[:SPELLS_SHOWN])  # type: ignore[attr-defined]

    def clean(self) -> None:
        super().clean()
        said = self.cleaned_data
        if said.get("spells") == "some":
            if not said.get("spell_keys"):
                self.add_error("spell_keys", "Choose at least one spell, or every spell.")
            elif len(said["spell_keys"]) > limits.KEY_SPELLS:
                self.add_error("spell_keys", f"A key has a list of {limits.KEY_SPELLS} spells at most.")
        if said.get("lasts") == "day":
            if not said.get("day"):
                self.add_error("day", "Say which day, such as 2027-01-31.")
            elif said["day"] < timezone.now().date():
                self.add_error("day", "This day has passed; the key could never be used.")
            elif said["day"] == dt.date.max:
                self.add_error("day", "No calendar goes beyond this day. Choose never.")

    def wanted(self) -> dict[str, Any]:
        said = self.cleaned_data
        return {
            "form": said["number"],
            "name": said["name"],
            "scopes": said["scopes"],
            "spell_keys": said["spell_keys"] if said["spells"] == "some" else None,
            "expires_at": self.ends(said),
        }

    @staticmethod
    def ends(said: dict[str, Any]) -> dt.datetime | None:
        if said["lasts"] == "day":
            return midnight(said["day"] + dt.timedelta(days=1))
        return timezone.now() + dt.timedelta(days=int(said["lasts"])) if said["lasts"] else None
