"""Versions of spells: one for each change of what a spell is, whoever makes it, and none for anything else."""

from __future__ import annotations

import threading

import pytest
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.utils import IntegrityError

from casts import versions
from casts.models import Spell, SpellVersion
from core.db.append_only import AppendOnly
from github_integration.models import WorkflowTarget
from tests.casts.test_admin import SPELLS, posted


def kept(spell):
    """Return a spell's versions, the oldest first, having checked that it is at the last of them."""
    rows = list(spell.versions.order_by("number"))
    spell.refresh_from_db()
    assert [row.number for row in rows] == list(range(1, spell.version + 1))
    return rows


def other(field, value):
    """Return another value that a field may have."""
    if field.choices:
        return next(choice for choice, _ in field.choices if choice != value)
    if isinstance(field, models.BooleanField):
        return not value
    if isinstance(field, models.IntegerField):
        return (value or 0) + 1
    return {"title": "changed"} if not isinstance(field, models.CharField | models.TextField) else f"{value}x"


NOT_DEFINED = {"id", "key", "active", "account", "spell"}


def defining(model):
    """Return the fields that a person may change, or that were read of a workflow, and that say what a spell is."""
    learnt = getattr(model, "learnt", ())
    fields = [field for field in model._meta.concrete_fields if field.editable or field.name in learnt]
    return [field for field in fields if field.name not in NOT_DEFINED]


@pytest.mark.parametrize("model", [Spell, WorkflowTarget])
def test_each_field_that_a_file_may_name_makes_a_version_and_is_in_it(spell, model):
    names = {field.name for field in defining(model)}
    assert len(names) > 5
    # What was read of the file last: it is forgotten when another file is named.
    for number, name in enumerate(sorted(names, key=lambda one: (one == "declared_inputs", one)), start=2):
        row = Spell.objects.get(pk=spell.pk) if model is Spell else WorkflowTarget.objects.get(spell=spell)
        value = other(model._meta.get_field(name), getattr(row, name))
        setattr(row, name, value)
        row.save()
        before, after = kept(spell)[-2:]
        assert (after.number, after.definition[name]) == (number, value)
        assert {key for key in after.definition if after.definition[key] != before.definition[key]} == {name}


def test_what_a_spell_is_not_decided_by_makes_none(spell):
    for changes in ({"active": False}, {"tags_runs": True}, {}):
        for name, value in changes.items():
            setattr(spell, name, value)
        spell.save()
        WorkflowTarget.of(spell).save()
    assert [row.definition.keys() & {"active", "tags_runs"} for row in kept(spell)] == [set()]


def test_a_field_that_came_later_had_its_default_before(spell):
    [first] = kept(spell)
    older = {name: value for name, value in first.definition.items() if name not in ("matching", "result_file")}
    SpellVersion.objects.filter(pk=first.pk).delete()
    SpellVersion.objects.create(spell=spell, number=1, definition=older, created_at=first.created_at)
    assert versions.keep(spell) == 1
    WorkflowTarget.objects.filter(spell=spell).update(matching="exclusive")
    assert versions.keep(spell) == 2


def test_who_read_a_spell_before_another_changed_it_takes_no_number_back(spell):
    early, late = Spell.objects.get(), Spell.objects.get()
    for row, price in ((early, 7), (late, 8), (early, 8)):
        row.price_cents = price
        row.save()
    assert [row.definition["price_cents"] for row in kept(spell)] == [5, 7, 8]


def test_the_order_of_names_that_callers_see_and_numbers_that_are_not_the_same_are_changes(spell):
    for schema in ({"default": 1}, {"default": True}, {"default": 1.0}, {"title": "a", "default": 1.0}):
        spell.input_schema = schema
        spell.save()
    spell.input_schema = {"default": 1.0, "title": "a"}
    spell.save()
    assert len(kept(spell)) == 6


def test_a_form_is_one_change(admin_client, admin_user):
    admin_client.post(f"{SPELLS}add/", posted())
    spell = Spell.objects.get()
    change = f"{SPELLS}{spell.pk}/change/"
    admin_client.post(change, posted(price_cents="7", ref="v2"))
    admin_client.post(change, posted(price_cents="7", ref="v2"))
    admin_client.post(change, posted(price_cents="7", ref="v2") | {"active": ""})
    refused = admin_client.post(change, posted(price_cents="8", ref="v3", repository="nowhere"))
    assert refused.status_code == 200
    first, second = kept(spell)
    assert (first.by, first.source, first.definition["repository"]) == (admin_user.username, "", "demo/spells")
    assert (second.by, second.definition["price_cents"], second.definition["ref"]) == (admin_user.username, 7, "v2")


def test_a_table_of_a_file_is_one_change_that_names_the_file(db, tmp_path):
    file = tmp_path / "ours.toml"
    for text in ("price_cents = 1", "price_cents = 2\nref = 'v2'", "price_cents = 2\nref = 'v2'"):
        file.write_text(f'[greet]\nrepository = "demo/spells"\n{text}\n')
        call_command("loadspells", str(file), verbosity=0)
    spell = Spell.objects.get()
    assert [(row.source, row.by, row.definition["ref"]) for row in kept(spell)] == [
        ("ours.toml", "", ""),
        ("ours.toml", "", "v2"),
    ]


def test_a_change_that_is_rolled_back_keeps_none(spell):
    with transaction.atomic():
        spell.price_cents = 99
        spell.save()
        transaction.set_rollback(True)
    assert len(kept(spell)) == 1


def test_versions_are_never_changed_and_go_only_with_a_spell_that_was_never_cast(spell, make_spell, make_cast):
    [row] = kept(spell)
    row.by = "somebody else"
    with pytest.raises(AppendOnly):
        row.save()
    with pytest.raises(AppendOnly):
        row.delete()
    make_cast()
    for change in (
        lambda: SpellVersion.objects.update(by="x"),
        SpellVersion.objects.filter(spell=spell).delete,
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    never_cast = make_spell("never-cast")
    never_cast.delete()
    assert set(SpellVersion.objects.values_list("spell__key", flat=True)) == {"greet"}


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_are_two_versions(make_spell):
    spell, both = make_spell(), threading.Barrier(2)

    def change(name):
        try:
            row = Spell.objects.get(pk=spell.pk)
            both.wait(10)
            setattr(row, name, "changed")
            row.save(update_fields=[name])
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(name,)) for name in ("name", "description")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(kept(spell)) == 3
    assert spell.versions.get(number=3).definition | {"name": "changed", "description": "changed"} == (
        spell.versions.get(number=3).definition
    )
