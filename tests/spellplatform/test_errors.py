"""What people see where no view answers: a page that says what to do, with our headers, whatever was sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership, Role
from core import limits
from tests.casts.client import asked

PAGES = (
    "/login/",
    "/password/",
    "/spells/greet/",
    "/account/1/budget/",
    "/invitation/abc/",
    "/admin/login/",
    "/nothing",
)
PART = b'--XX\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n1\r\n--XX--\r\n'
FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=XX"
FORMS = {
    **{f"form in {name}": (f"{FORM}; charset={name}", b"a=1") for name in ("utf-16", "utf-7", "rot13", "undefined")},
    **{f"parts in {name}": (f"{PARTS}; charset={name}", PART % b"") for name in ("utf-16", "idna", "base64", "nope")},
    "parts without a boundary": ("multipart/form-data", PART % b""),
    "a boundary too long": (f"multipart/form-data; boundary={'x' * 300}", b"--x"),
    "no base64": (PARTS, PART % b'; filename="a"\r\nContent-Transfer-Encoding: base64'),
    "many fields": (FORM, b"a=1&" * 1100),
    "many files": (PARTS, b"".join((PART % b'; filename="x"')[:-8] + b"\r\n" for _ in range(101)) + b"--XX--\r\n"),
}


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "body"), FORMS.values(), ids=FORMS)
def test_a_form_that_can_not_be_read_is_answered_with_a_page(kind, body):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    for path in PAGES:
        answer = client.generic("POST", path, body, content_type=kind)
        assert answer.status_code in ((404,) if path == "/nothing" else (400, 403)), path
        assert answer["Content-Type"].startswith("text/html"), path
        assert answer["X-Frame-Options"] == "DENY", path
        assert answer["X-Request-Id"], path
        assert b'<main class="notice">' in answer.content, path


@pytest.mark.django_db(transaction=True)
def test_what_is_refused_before_any_view_is_a_page_to_people_and_a_problem_to_programs(monkeypatch):
    monkeypatch.setattr(limits, "BODY_IDLE_SECONDS", 0.05)
    large: dict[str, Any] = {"Content_Length": str(limits.ADMIN_FORM_BYTES + 1)}
    long = f"?{'x' * limits.TARGET_BYTES}"

    async def scene() -> None:
        for path, kind in (("/spells/greet/", "text/html"), ("/api/v1/cast", "application/problem+json")):
            for status, query, headers in ((413, "", large), (414, long, {})):
                async with asked(path + query, method="POST", **headers) as answer:
                    assert answer.status == status
                    assert answer.headers["Content-Type"].startswith(kind)
                    assert answer.headers["X-Request-Id"]
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    assert str(status).encode() in await answer.body()

    asyncio.run(scene())


@pytest.mark.django_db
def test_a_form_without_its_token_is_answered_with_a_page():
    answer = Client(enforce_csrf_checks=True).post("/login/", {"login": "ann"})
    assert answer.status_code == 403
    assert b"load the page again" in answer.content
    assert b"<style" not in answer.content  # the policy of pages would drop it


HUGE = "9" * 20  # more than a row's number
ADDRESSES = {
    f"/account/{{id}}/members/{HUGE}/": 404,
    f"/account/{HUGE}/members/": 404,
    f"/account/{{id}}/keys/{HUGE}/": 404,
    f"/home/{HUGE}/events": 404,
    f"/home/?account={HUGE}": 404,
    "/spells/%00/": 404,
    "/spells/?tag=%00&page=-1": 200,
    "/account/{id}/audit/?until=9999-12-31": 200,
    "/account/{id}/audit/?since=0001-01-01": 200,
    "/account/{id}/callbacks/%00/": 404,
    "/account/{id}/usage/?from=9999-12-31&to=9999-12-31&spell=%00": 200,
    "/home/?from=0001-01-01&to=9999-12-31&q=%00&spell=%00&key=%00&older=%00": 200,
    "/invitation/%00/": 404,
}


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "status"), ADDRESSES.items())
def test_an_address_that_nobody_would_type_is_no_failure_of_ours(account, django_user_model, path, status):
    user = django_user_model.objects.create_user("ann")
    Membership.objects.create(account=account, user=user, role=Role.OWNER)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    assert client.get(path.format(id=account.pk)).status_code == status


@pytest.mark.django_db
def test_who_reloads_what_a_form_was_sent_to_is_shown_a_page(client):
    answer = client.get("/casts/019a8f00-0000-7000-8000-000000000000/cancel/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert answer["Content-Length"] == str(len(answer.content))
    assert b'<main class="notice">' in answer.content
