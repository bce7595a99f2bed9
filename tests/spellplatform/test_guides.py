"""The documentation on the server: each page, and no link in it that leads nowhere."""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import urljoin

import pytest
from django.test import Client

from casts.api import reference, reference_page
from spellplatform.guides import DOCS

PAGES = sorted(file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md"))


@cache
def page(path: str) -> str:
    answer = Client().get(path)
    return answer.getvalue().decode(errors="replace") if answer.status_code == 200 else ""


@pytest.mark.parametrize("name", PAGES)
def test_no_link_of_a_page_leads_nowhere(name: str) -> None:
    path = f"/docs/{name}"
    text = page(path)
    assert "<h1 id=" in text
    for link in re.findall(r'(?:href|src)="([^"]+)"', text.split("<main")[1]):
        target, _, anchor = urljoin(path, link).partition("#")
        if target.startswith("/"):
            assert page(target), link
            assert not anchor or f'id="{anchor}"' in page(target), link


def test_every_group_of_the_reference_leads_to_its_guide() -> None:
    for group in reference.GROUPS:
        target, _, anchor = reference_page.guide_to(group.guide).partition("#")
        assert page(target)
        assert not anchor or f'id="{anchor}"' in page(target), group.guide


@pytest.mark.parametrize(
    "name",
    [
        *("../manage.py", "%2e%2e/manage.py", "nothing.md", "how-to/", "%2fetc%2fpasswd", "index.md/x"),
        *("%00", "%00.png", "a" * 300),  # no file can be called that
    ],
)
def test_nothing_else_is_shown(name: str) -> None:
    assert Client().get(f"/docs/{name}").status_code == 404
