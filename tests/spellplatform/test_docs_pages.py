"""What the pages show must work: links, commands, paths, and every example."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import yaml
from django.core.management import get_commands
from django.test import Client
from django.urls import Resolver404, resolve

from casts.models import Spell
from casts.spells import toml
from github_integration.connecting.manifest import Asked
from tests.pages import DOCS, PAGES, ROOT, name_of

SETUP = DOCS / "how-to" / "github-actions-setup.md"
WRITE = DOCS / "how-to" / "write-a-spell.md"
API = DOCS / "reference" / "api.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

LEFT_BEHIND = {"var", "staticfiles"}  # what git ignores
# Files that operators and authors of spells make.
MADE = (".venv/", ".github/workflows/shout", ".github/spells", "deploy/settings/", "deploy/tls/", "deploy/.env")
OURS = (
    "core",
    "accounts",
    "casts",
    "payments",
    "github_integration",
    "webhooks",
    "spellplatform",
    "localgithub",
    "localstripe",
    "tests",
)
SUFFIXES = {"py", "js", "json"}
# On the pages below: a file that workflows write, and what stands for the name of any key.
OTHERS = {"result.json", "summary.md", "metadata.KEY"}

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's fenced blocks in one language."""
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def code(page: Path) -> str:
    """Return all that a page sets as code, a piece a line."""
    return "\n".join([body for _, body in FENCE.findall(page.read_text())] + re.findall(r"`([^`\n]+)`", prose(page)))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    return {anchor_of(title) for title in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)}


def anchor_of(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links and images that are not elsewhere on the net."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not urlsplit(target).scheme:
            yield target


@cache
def sources() -> str:
    """Return all of our Python in one text, tests included."""
    folders = [folder for folder in ROOT.iterdir() if folder.is_dir() and folder.name[0] != "."]
    return "\n".join(file.read_text() for folder in folders for file in folder.rglob("*.py"))


@cache
def words_of_the_code() -> frozenset[str]:
    """Return every word of our Python, tests included."""
    return frozenset(re.findall(r"\w+", sources() + (ROOT / "pyproject.toml").read_text()))


@cache
def modules() -> dict[Path, str]:
    """Return the files of our packages with what is in them."""
    return {file: file.read_text() for folder in OURS for file in (ROOT / folder).rglob("*.py")}


@each_page
def test_every_link_leads_somewhere(page: Path):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)} links {target}; there are {sorted(anchors(file))}"


@each_page
def test_every_file_that_a_page_names_exists(page: Path):
    ours = "|".join(re.escape(folder.name) for folder in ROOT.iterdir() if folder.is_dir() and folder.name != "var")
    for path in re.findall(rf"`((?:{ours})/[\w./-]+)`", prose(page)):
        assert (ROOT / path).exists() or path.startswith(MADE), path


def test_every_page_of_the_documentation_is_in_its_index_and_the_index_in_the_readme():
    index = DOCS / "index.md"
    listed = {(DOCS / target.partition("#")[0]).resolve() for target in links(index)} | {index}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} == listed
    assert "docs/index.md" in links(ROOT / "README.md")


def test_the_glossary_has_each_word_once_in_order_and_names_what_there_is():
    table = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]*)\|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    words = [word.lower() for word, _ in table[1:]]  # the first line is the head
    assert len(words) > 30
    assert words == sorted(set(words))
    classes = set(re.findall(r"^class (\w+)", sources(), re.MULTILINE))
    for name in re.findall(r"`(\w+)`", " ".join(names for _, names in table)):
        assert name in classes, name


def holds(text: str, name: str, *, within: str = "") -> bool:
    """Return whether a module has a name at its top level, or in the class `within`."""
    if name not in text or within not in text:  # quicker than the patterns
        return False
    if within:
        found = re.search(rf"^class {within}\b.*\n((?:[ ].*)?\n)*", text, re.MULTILINE)
        text = found[0] if found else ""
    indent = " +" if within else ""
    return re.search(rf"^{indent}(?:def |async def |class )?{name}\b", text, re.MULTILINE) is not None


def is_in_the_code(dotted: str) -> bool:
    """Return whether the code has a name such as `place`, `observing.observe`, `Cast.pace_at` or `presenter.py`."""
    *owners, name = dotted.split(".")
    if not owners:
        return name in words_of_the_code()
    owner = owners[-1]
    if name in SUFFIXES:
        return any(file.name == f"{owner}.{name}" for folder in OURS for file in (ROOT / folder).rglob(f"*.{name}"))
    if owner[0].isupper():
        return any(holds(text, name, within=owner) for text in modules().values())
    module = "/" + "/".join(owners)
    named = (text for file, text in modules().items() if f"/{name_of(file.with_suffix(''))}".endswith(module))
    return any(holds(text, name) for text in named)


@pytest.mark.parametrize("page", [*(DOCS / "explanation").glob("*.md"), DOCS / "glossary.md"], ids=name_of)
def test_every_name_that_the_explanation_and_the_glossary_name_is_in_the_code(page: Path):
    names = re.findall(r"`([A-Za-z_]\w*(?:\.\w+)*)(?:\([^`]*\))?`", prose(page))
    assert [name for name in names if name not in OTHERS and not is_in_the_code(name)] == []


def test_a_name_in_the_wrong_module_or_class_is_found():
    assert is_in_the_code("observing.observe")
    assert is_in_the_code("Cast.pace_at")
    assert not is_in_the_code("lifecycle.observe")
    assert not is_in_the_code("Cast.turn_at")


def test_every_name_that_the_steps_for_contributors_name_is_in_the_code():
    steps = prose(ROOT / "CONTRIBUTING.md").partition("## Add an endpoint")[2]
    names = re.findall(r"`([A-Za-z_]\w+)(?:\([^`]*\))?`", steps)
    assert len(names) > 20
    assert [name for name in names if not is_in_the_code(name)] == []


def test_every_page_that_the_code_names_exists_with_the_section_it_quotes():
    folders = [f for f in ROOT.iterdir() if f.is_dir() and not f.name.startswith(".") and f.name not in LEFT_BEHIND]
    files = [*ROOT.glob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    files += [f for folder in folders for f in folder.rglob("*") if f.suffix in {".py", ".html", ".js", ".yml"}]
    found = 0
    for file in files:
        for page, section in re.findall(r"\b(docs/[\w/-]+\.\w+)(?:, “([^”]+)”)?", file.read_text()):
            assert (ROOT / page).is_file(), f"{name_of(file)} names {page}"
            assert not section or anchor_of(section) in anchors(ROOT / page), f"{name_of(file)} names {section}"
            found += 1
    assert found > 10


@each_page
def test_every_command_exists(page: Path):
    text = code(page)
    commands = set(re.findall(r"manage\.py ([a-z_]+)", text))
    assert commands <= set(get_commands())
    targets = set(re.findall(r"(?:^|\s)make ([a-z]+)", text))
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@each_page
def test_every_path_of_the_api_resolves(page: Path):
    ids = {"keys/{id}": "keys/7", "{id}": "0" * 32, "$ID": "0" * 32, "{name}": "spell-result", "{key}": "greet"}
    # /api/v3 is Enterprise Server's, not ours.
    for found in re.findall(r"/api/(?:v1/|(?!v1|v3))[\w/{}$.-]+", code(page) + prose(page)):
        path = found.rstrip(".")
        if path.endswith(".py"):  # a file in a folder named api
            continue
        for placeholder, value in ids.items():
            path = path.replace(placeholder, value)
        try:
            match = resolve(path)
        except Resolver404:
            match = None
        assert match is not None, found
        assert match.url_name is not None, f"{found} is caught by the 404 for all of /api/"


def test_every_operation_of_the_api_is_described(client: Client):
    described = client.get("/api/v1/schema").json()["paths"]
    operations = {f"{verb.upper()} {path}" for path, verbs in described.items() for verb in verbs}
    named = set(re.findall(r"\b(?:GET|POST|PUT|PATCH|DELETE) /api/v1/[\w/{}-]+(?:\.\w+)?", API.read_text()))
    assert {re.sub(r"\{\w+\}", "{}", o) for o in operations} - {re.sub(r"\{\w+\}", "{}", n) for n in named} == set()


@pytest.mark.django_db
@each_page
def test_every_spell_file_loads(page: Path, tmp_path: Path):
    for number, text in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        created, updated = toml.load(file)
        assert set(created + updated) == set(tomllib.loads(text))
        assert Spell.objects.filter(key__in=created + updated, active=True).exists()


@each_page
def test_every_json_block_is_json(page: Path):
    for text in blocks(page, "json"):
        json.loads(text)


def test_the_workflow_of_the_page_on_writing_spells_is_castable():
    text, hands_back = blocks(WRITE, "yaml")
    action = yaml.safe_load((ROOT / ".github/actions/spell-output/action.yml").read_text())
    assert yaml.safe_load(hands_back)[0]["with"].keys() <= action["inputs"].keys()
    workflow: dict[Any, Any] = yaml.safe_load(text)
    assert "[cast:${{ inputs.cast_id }}]" in workflow["run-name"]
    on = workflow[True]  # YAML 1.1 reads `on` as a boolean
    assert list(on["workflow_dispatch"]["inputs"]) == ["cast_id", "spell_key", "input_data"]
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert not [step for step in steps if "${{" in step.get("run", "")]  # input would be run as code
    assert [step["with"]["name"] for step in steps if "upload-artifact" in step.get("uses", "")] == ["spell-result"]


def manifest() -> dict[str, Any]:
    """Return the App's manifest."""
    found: dict[str, Any] = json.loads((DOCS / "github-app-manifest.json").read_text())
    return found


def test_the_manifest_asks_for_what_the_platform_uses_and_no_more():
    asked = manifest()
    assert asked == Asked(public_url="https://spells.example.com").manifest("http://127.0.0.1:8000/github/connected/")
    assert asked["default_permissions"] == {
        "actions": "write",
        "checks": "write",
        "contents": "read",
        "metadata": "read",
    }
    assert asked["public"] is False
    for address, name in (
        (asked["hook_attributes"]["url"], "github-webhook"),
        (asked["setup_url"], "github-installed"),
    ):
        assert resolve(urlsplit(address).path).url_name == name


def test_the_link_asks_for_the_same_as_the_manifest():
    [link] = re.findall(r"https://github\.com/settings/apps/new\?\S+", SETUP.read_text())
    asked, expected = parse_qsl(urlsplit(link).query), manifest()
    events = [value for name, value in asked if name == "events[]"]
    permissions = {name: level for name, level in expected["default_permissions"].items() if name != "metadata"}
    assert dict(pair for pair in asked if pair[0] != "events[]") == permissions | {
        "name": expected["name"],
        "url": expected["url"],
        "public": "false",
        "setup_url": expected["setup_url"],
        "setup_on_update": "true",
        "webhook_active": "true",
        "webhook_url": expected["hook_attributes"]["url"],
    }
    assert sorted(events) == sorted(expected["default_events"])
