"""What the type of a problem leads to."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from django.test import Client
from django.urls import reverse

from core.api import catalog
from tests.casts.client import CLIENT


def test_the_type_of_a_problem_leads_to_a_page_that_explains_it_to_anybody():
    told = json.loads(CLIENT.get("/api/v1/casts").content)
    page = Client().get(urlsplit(told["type"]).path)
    assert page.status_code == 200
    assert "Not authenticated" in page.text
    assert "Authorization: Bearer" in page.text


def test_all_of_them_are_listed_and_lead_on():
    listed = Client().get(reverse("problems")).text
    for kind in catalog.KINDS:
        path = reverse("problem", args=[kind.slug])
        assert kind.url.endswith(path)
        assert f'href="{path}"' in listed
        page = Client().get(path).text
        assert kind.code in page
        assert "`" not in page
    assert Client().get("/problems/no-such-thing").status_code == 404
