"""Tags: by which people find a spell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from casts.models import Spell, SpellVersion
from casts.spells import toml
from tests.casts.client import Api

WORDS = "Tags are a list of words such as text or two words"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('"text"', WORDS),
        ('["Text"]', WORDS),
        ('["text", 1]', WORDS),
        ('["a,b"]', WORDS),
        ('[" a"]', WORDS),
        ("{}", WORDS),
        ('["a", "a"]', "A spell has 10 tags at most, each once."),
        (str([f"t{n}" for n in range(11)]), "A spell has 10 tags at most, each once."),
    ],
)
def test_a_file_of_spells_says_which_tags_are_wrong(db: None, tmp_path: Path, written: str, told: str):
    file = tmp_path / "spells.toml"
    file.write_text(f'[greet]\nrepository = "a/b"\nworkflow_file = "a.yml"\ntags = {written}')
    with pytest.raises(toml.BadSpellFile, match=f"tags: .*{told}"):
        toml.load(file)
    assert Spell.objects.count() == 0


def test_tags_are_a_part_of_a_spell_and_its_versions(spell: Spell, api: Api, tmp_path: Path):
    assert api.get("/spells/greet").json()["tags"] == []
    file = tmp_path / "spells.toml"
    file.write_text('[greet]\ntags = ["text", "for demos"]')
    toml.load(file)
    assert api.get("/spells").json()["results"][0]["tags"] == ["text", "for demos"]
    assert list(SpellVersion.objects.values_list("number", "definition").order_by("number"))[1][1]["tags"] == [
        *("text", "for demos")
    ]
    assert api.get("/spells/greet?version=1").json()["tags"] == []


def test_operators_type_tags_with_commas(spell: Spell, admin_client: Client):
    path = f"/admin/casts/spell/{spell.pk}/change/"
    page: Any = admin_client.get(path)
    form = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    assert form["tags"] == []
    Spell.objects.filter(pk=spell.pk).update(tags=["b", "a"])
    assert 'value="b, a"' in admin_client.get(path).text
