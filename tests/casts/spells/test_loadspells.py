"""`manage.py loadspells`: all of a file, or nothing and every reason."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account
from casts.models import Spell
from github_integration.models import Installation, SpellRepository, WorkflowTarget
from tests.casts.conftest import accept_cast

GOOD = """
[greet]
name = "Greeting"
description = "Says hello."
repository = "demo/spells"
workflow_file = "cast.yml"
price_cents = 12
charge_failed_runs = false
[greet.input_schema]
type = "object"
required = ["name"]
properties.name.type = "string"

[report]
runtime = "repository_dispatch"
event_type = "report"
repository = "demo/spells"
"""


@pytest.fixture
def load(db, tmp_path):
    def run(text):
        file = tmp_path / "spells.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        out = io.StringIO()
        call_command("loadspells", str(file), stdout=out)
        return out.getvalue().strip()

    return run


def test_a_file_makes_its_spells(load):
    assert load(GOOD) == "created: greet, report; updated: none"
    greet, report = Spell.objects.order_by("key")
    assert (greet.name, greet.price_cents, greet.charge_failed_runs) == ("Greeting", 12, False)
    assert greet.input_schema == {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    assert (report.name, report.runtime) == ("report", "repository_dispatch")
    assert WorkflowTarget.of(report).event_type == "report"


def test_a_second_load_updates_and_leaves_what_the_file_does_not_name(load):
    load(GOOD)
    Spell.objects.filter(key="greet").update(tags_runs=True, description="kept by hand")
    assert load('[greet]\nprice_cents = 15\n[new]\nrepository = "demo/spells"') == "created: new; updated: greet"
    greet = Spell.objects.get(key="greet")
    assert (greet.price_cents, greet.name, greet.description, greet.tags_runs) == (
        15,
        "Greeting",
        "kept by hand",
        True,
    )
    assert WorkflowTarget.of(greet).workflow_file == "cast.yml"
    assert Spell.objects.count() == WorkflowTarget.objects.count() == 3


def test_another_target_is_another_workflow_of_which_nothing_is_learnt(load):
    load(GOOD)
    Spell.objects.filter(key="greet").update(tags_runs=True)
    for line, learnt in (("installation_id = 7", True), ('workflow_file = "other.yml"', False)):
        load(f"[greet]\n{line}")
        assert Spell.objects.get(key="greet").tags_runs is learnt


def test_a_file_says_how_a_price_is_put_together_or_leaves_it_as_it_is(load):
    def priced():
        return Spell.objects.values_list("price_kind", "per_minute_cents", "price_cents").get(key="greet")

    load(GOOD)
    for line, price in (
        ("price = {per_minute_cents = 5, max_cents = 100}", ("per_minute", 5, 100)),
        ('description = "x"', ("per_minute", 5, 100)),
        ("price = {reported = true, max_cents = 50}", ("reported", None, 50)),
        ("price_cents = 7", ("flat", None, 7)),
    ):
        load(f"[greet]\n{line}")
        assert priced() == price
    assert Spell.objects.get(key="greet").version == 5


def test_a_file_says_what_callers_see(load):
    load(GOOD)
    assert set(Spell.objects.values_list("show_run", "show_input")) == {(True, True)}
    load("[greet]\nshow_run = false\n[report]\nshow_input = false")
    assert list(Spell.objects.order_by("key").values_list("show_run", "show_input")) == [(False, True), (True, False)]


def test_an_empty_file_does_nothing(load):
    assert load("") == "created: none; updated: none"


BAD = {
    "[greet]\nprise_cents = 5": ["greet", "prise_cents", "price_cents"],
    '[greet]\nkey = "other"': ["greet", "does not know key"],
    "[greet]\ntags_runs = true": ["greet", "tags_runs"],
    "[greet]\nprice_cents = -1": ["greet", "price_cents", "0"],
    "[greet]\nprice_cents = 4.99": ["greet", "price_cents", "whole number"],
    "[greet]\nprice_cents = true": ["greet", "price_cents", "whole number"],
    '[greet]\nprice_cents = "12"': ["greet", "price_cents", "whole number"],
    "[greet]\nprice = 5": ["greet", "price: Write {per_minute_cents", "price_cents = 5"],
    "[greet]\nprice = {max_cents = 5}": ["greet", "price: Write {per_minute_cents"],
    "[greet]\nprice = {per_minute_cents = 5}": ["greet", "price: Write {per_minute_cents"],
    "[greet]\nprice = {per_minute_cents = 5, reported = true, max_cents = 9}": ["greet", "price: Write {per_minute"],
    "[greet]\nprice = {reported = false, max_cents = 9}": ["greet", "price: reported: Write true"],
    "[greet]\nprice = {per_minute_cents = 1.5, max_cents = 9}": ["greet", "price: per_minute_cents: ", "whole number"],
    "[greet]\nprice = {per_minute_cents = 0, max_cents = 9}": ["greet", "price: ", "greater than or equal to 1"],
    "[greet]\nprice = {per_minute_cents = 9, max_cents = 5}": ["greet", "price: ", "more than the maximum of 5"],
    "[greet]\nprice = {reported = true, max_cents = 0}": ["greet", "price: ", "nothing is ever charged"],
    "[greet]\nprice = {reported = true, max_cents = 2147483648}": ["greet", "price: ", "2147483647"],
    "[greet]\nprice = {reported = true, max_cents = 9}\nprice_cents = 9": ["greet", "price: ", "not both"],
    '[greet]\nprice = {reported = true, max_cents = 9}\nresult_artifact = ""': ["greet", "price: ", "result artifact"],
    '[greet]\nprice_kind = "flat"': ["greet", "does not know price_kind", "price_cents, price,"],
    "[greet]\ntimeout_seconds = 0": ["greet", "timeout_seconds", "1"],
    "[greet]\nttl_seconds = 999999999999999999999": ["greet", "ttl_seconds"],
    # What only Postgres would refuse by itself, and where a calendar ends.
    "[greet]\nprice_cents = 2147483648": ["greet", "price_cents", "2147483647"],
    "[greet]\ntimeout_seconds = 2147483648": ["greet", "timeout_seconds", "2147483647"],
    "[greet]\nartifact_retention_days = 36501": ["greet", "artifact_retention_days", "36500"],
    '[greet]\nactive = "sometimes"': ["greet", "active"],
    '[greet]\nshow_run = "perhaps"': ["greet", "show_run"],
    "[greet]\nname = 5": ["greet", "name", "text"],
    '[greet]\ndescription = ["a"]': ["greet", "description", "text"],
    '[greet]\nname = "a\\u0000b"': ["greet", "name"],
    '[greet]\ninput_schema = "object"': ["greet", "input_schema", "JSON object"],
    '[greet.input_schema]\ntype = "strnig"': ["greet", "input_schema", "2020-12"],
    '[greet.input_schema]\nproperties.a."$ref" = "https://example.org/s.json"': ["greet", "input_schema", "itself"],
    "[greet.input_schema]\nproperties.at.default = 2026-11-23": ["greet", "input_schema", "JSON"],
    "[greet.input_schema]\nproperties.n.default = inf": ["greet", "input_schema", "JSON"],
    "[greet.output_schema]\ntype = 5": ["greet", "output_schema"],
    '[greet]\nresult_artifact = ""\noutput_schema = "{}"': ["greet", "output_schema", "no output"],
    '[greet]\nresult_artifact = "a/b"': ["greet", "result_artifact", "/"],
    '[greet]\nresult_file = "../result.json"': ["greet", "result_file", "inside the artifact"],
    '[greet]\nresult_file = "/result.json"': ["greet", "result_file", "inside the artifact"],
    "[greet]\nresult_file = 'out\\result.json'": ["greet", "result_file", "inside the artifact"],
    '[greet]\nresult_file = ""': ["greet", "result_file"],
    '[greet]\nrepository = "spells"': ["greet", "repository", "owner/name"],
    '[greet]\nworkflow_file = "../cast.yml"': ["greet", "workflow_file"],
    '[greet]\nruntime = "wasm"': ["greet", "runtime", "one of workflow_dispatch, repository_dispatch; not 'wasm'"],
    '[greet]\nruntime = "repository_dispatch"': ["greet", "event_type"],
    "[Greet]\n": ["Greet", "key", "lower-case"],
    'greet = "x"': ["greet", "table"],
    "[[greet]]\nprice_cents = 1": ["greet", "table"],
    "[greet": ["not TOML"],
    "[greet]\nname = 'a'\nname = 'b'": ["not TOML"],
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text.replace("\n", " "))
def test_a_bad_file_loads_nothing_and_says_what_to_fix(load, text):
    load(GOOD)
    before = list(Spell.objects.order_by("key").values())
    with pytest.raises(CommandError) as refused:
        load(f'[aaa]\nrepository = "demo/spells"\n{text}\n' if text.startswith("[") else text)
    assert str(refused.value).startswith("Nothing was loaded.")
    for word in BAD[text]:
        assert word in str(refused.value)
    assert list(Spell.objects.order_by("key").values()) == before


def test_the_largest_numbers_can_be_cast(load, api_key):
    largest = (
        "price_cents = 2147483647\ntimeout_seconds = 2147483647\nttl_seconds = 2147483647\nmax_running = 2147483647"
    )
    load(f'[greet]\nrepository = "demo/spells"\n{largest}\nartifact_retention_days = 36500\n')
    Account.objects.update(monthly_cap_cents=None)
    cast = accept_cast(api_key=api_key, spell=Spell.objects.get(), input={})
    assert cast.expires_at.year > 2090


def test_every_problem_of_every_spell_is_listed(load):
    with pytest.raises(CommandError) as refused:
        load('[a]\nprice_cents = -1\nrepository = "x"\n[b]\nruntime = "wasm"\n[c]\nrepository = "demo/spells"\n[D]\n')
    lines = str(refused.value).splitlines()[1:]
    assert [line.split(":")[:2] for line in lines] == [
        ["a", " repository"],
        ["a", " price_cents"],
        ["b", " runtime"],
        ["D", " key"],
    ]
    assert not Spell.objects.exists()


def told(load, text):
    """Return what a refused file is told, without the command's first line."""
    with pytest.raises(CommandError) as refused:
        load(text)
    assert not Spell.objects.exists()
    return str(refused.value).splitlines()[1:]


def test_every_mistake_of_one_table_is_told_at_once(load):
    lines = told(
        load,
        """
[greet]
prise_cents = 5
color = "red"
price_cents = 4.99
active = 1
event_type = 7
runtime = "repository_dispatch"
repository = "acme/spells.git"
workflow_file = "../x"
""",
    )
    assert [line.split(":")[1].split()[0] for line in lines] == [
        *("does", "price_cents", "active", "event_type"),
        *("workflow_file", "repository"),
    ]
    assert lines[0].startswith("greet: does not know prise_cents, color; a spell has name, ")
    assert lines[5] == "greet: repository: Write the repository as owner/name, without .git."


def test_every_mistake_of_a_schema_is_told_once_with_its_place(load):
    [line] = told(
        load,
        """
[greet]
repository = "demo/spells"
[greet.input_schema]
type = "strnig"
properties.a = "string"
properties.b = { type = "integer", minimum = "x", required = true }
""",
    )
    assert line.count("/properties/a:") == line.count("/properties/b/minimum:") == line.count("/type:") == 1
    assert '"strnig" is no type: it is string, number' in line
    assert line.count("Not a JSON Schema") == 4


def test_a_schema_may_be_a_json_file_or_json_text_with_what_toml_lacks(load, tmp_path):
    (tmp_path / "schemas").mkdir()
    text = '{"type": "object", "properties": {"note": {"type": ["string", "null"], "default": null}}}'
    (tmp_path / "schemas" / "in.json").write_text(text, encoding="utf-8-sig")
    load(f"""
[greet]
repository = "demo/spells"
input_schema = "schemas/in.json"
output_schema = '''
{text}
'''
""")
    greet = Spell.objects.get()
    assert greet.input_schema == greet.output_schema == json.loads(text)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"schemas/none.json"', "schemas/none.json can't be read: No such file or directory."),
        ('"."', ". can't be read: Is a directory."),
        ('"broken.json"', "broken.json is not JSON: Expecting property name"),
        ('"latin.json"', "latin.json can't be read: invalid start byte."),
        ("'{\"type\": }'", "This text is not JSON: Expecting value"),
        ('"list.json"', "A schema is a JSON object"),
    ],
)
def test_a_schema_file_that_can_not_be_used_is_told_with_its_reason(load, tmp_path, value, why):
    (tmp_path / "broken.json").write_text("{type: 'object'}")
    (tmp_path / "latin.json").write_bytes('{"title": "Größe"}'.encode("latin-1"))
    (tmp_path / "list.json").write_text("[]")
    [line] = told(load, f'[greet]\nrepository = "demo/spells"\ninput_schema = {value}')
    assert line.startswith("greet: input_schema: ")
    assert why in line


def test_a_byte_order_mark_before_a_spell_file_is_no_part_of_it(load):
    assert load(b"\xef\xbb\xbf" + GOOD.encode()) == "created: greet, report; updated: none"


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_told(load, tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(CommandError, match="can't be read"):
            call_command("loadspells", str(path))
    with pytest.raises(CommandError, match="not TOML"):
        load(b"\xff\xfe[greet]")


def test_a_spell_needs_a_repository_from_somewhere(load, settings):
    settings.GITHUB_REPOSITORY = ""
    with pytest.raises(CommandError, match="GITHUB_REPOSITORY"):
        load("[greet]\n")
    settings.GITHUB_REPOSITORY = "demo/spells"
    load("[greet]\n")
    assert WorkflowTarget.objects.get().repository_used == "demo/spells"


def test_a_spell_that_its_repository_defines_is_refused(load):
    load(GOOD)
    row = SpellRepository.objects.create(number=5, installation=Installation.objects.create(pk=1), name="demo/spells")
    WorkflowTarget.objects.filter(spell__key="greet").update(defined_in=row)
    with pytest.raises(CommandError, match="greet: is kept in the repository demo/spells"):
        load(GOOD.replace("Greeting", "Other"))
    assert Spell.objects.get(key="greet").name == "Greeting"
