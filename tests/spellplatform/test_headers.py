"""What every answer carries, whichever stack made it: pages, files, the API, refusals and streams."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from core.api.headers import PAGE_HEADERS, common_headers
from tests.casts.client import asked, run
from tests.casts.conftest import accept_cast

NOBODY = uuid.UUID(int=0)
ANSWERS = [  # path, status, whether it may be kept
    ("/", 302, False),
    ("/login/", 200, False),
    ("/nothing", 404, False),
    ("/static/admin/css/base.css", 200, True),
    ("/static/none.css", 404, False),
    (f"/casts/{NOBODY}/", 302, False),
    ("/api/v1/nothing", 404, False),
    ("/api/v1/docs", 200, False),
    ("/api/v1/schema", 200, True),
    ("/api/v1/cast", 401, False),
    ("/api/v1/casts", 401, False),
    (f"/api/v1/casts/{NOBODY}/events", 401, False),
    (f"/api/v1/nothing?{'x' * 40_000}", 414, False),
    (f"/nothing?{'x' * 40_000}", 414, False),
]
# None of these falls back to default-src.
NEEDED = ["default-src", "base-uri 'none'", "form-action", "frame-ancestors 'none'"]


@pytest.fixture
def cast(api_key, spell):
    return accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})


@pytest.mark.django_db(transaction=True)
def test_every_answer_of_both_stacks_carries_them(cast, secret):
    async def scene():
        stream = f"/api/v1/casts/{cast.pk}/events"
        for path, status, kept in [*ANSWERS, (stream, 200, False)]:
            key: Any = {"Authorization": f"Bearer {secret}"} if path == stream else {}
            async with asked(path, **key) as answer:
                where = path[:60]
                assert answer.status == status, where
                for name, value in PAGE_HEADERS.items():
                    given = answer.headers.get(name.title())
                    assert given == value or name == "Cache-Control", (where, name, given)
                assert ("no-store" in answer.headers["Cache-Control"]) is not kept, where
                policy = answer.headers.get("Content-Security-Policy", "")
                assert kept or all(word in policy for word in NEEDED), (where, policy)
                assert kept or "object-src 'none'" in policy or "default-src 'none'" in policy, (where, policy)
                assert answer.headers["X-Request-Id"], where
                assert "Server" not in answer.headers, where

    run(scene())


def test_browsers_are_told_to_come_by_tls_if_that_is_how_they_come():
    assert "Strict-Transport-Security" not in common_headers(hsts_seconds=0)
    assert common_headers(hsts_seconds=60)["Strict-Transport-Security"] == "max-age=60"
