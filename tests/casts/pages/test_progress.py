"""The progress page: who may see it, and that nothing a run produced is ever markup."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone

from casts import links
from casts.lifecycle import ending, observing
from casts.models import Cast, CastStatus, Spell, SpellHistory
from casts.runtime import Job, JobStep, Observation
from core.ids import uuid7
from tests.casts.conftest import claim


@pytest.fixture
def path(cast):
    return links.progress_url(cast.pk).removeprefix("http://testserver")


def bare(cast):
    return f"/casts/{cast.pk}/"


def test_whoever_has_the_link_sees_the_state_as_it_is(client, cast, path, secret):
    observing.observe(
        cast.pk,
        Observation(
            cast.run_scope,
            "1",
            status="in_progress",
            jobs=(Job(1, "cast", "in_progress", steps=(JobStep("Stir", 1, "in_progress"),)),),
        ),
    )
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Greet" in answer.text
    assert "Stir" in answer.text
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "same-origin"
    assert (
        "script-src" in answer["Content-Security-Policy"] or "default-src 'self'" in answer["Content-Security-Policy"]
    )
    assert secret[:20] not in answer.text
    assert "<script>" not in answer.text  # no inline script


def test_without_a_link_a_login_is_asked_for(client, cast):
    answer = client.get(bare(cast))
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={bare(cast)}"


@pytest.mark.parametrize("token", ["", "nonsense", "a.b", "\ud7ff"])
def test_a_broken_link_is_told_and_shows_nothing(client, cast, token):
    answer = client.get(bare(cast), {"token": token})
    assert answer.status_code == 403
    assert "WWW-Authenticate" not in answer
    assert "Greet" not in answer.text


def test_another_casts_link_shows_nothing(client, cast, make_cast):
    assert client.get(bare(cast), {"token": links.token_for(make_cast().pk)}).status_code == 403


def test_a_cast_that_is_not_there_is_as_missing_as_one_that_is_not_ones_own(admin_client):
    assert admin_client.get(f"/casts/{uuid7()}/").status_code == 404


def test_what_a_run_produced_is_text_and_never_markup(client, cast, path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    steps = (JobStep(evil, 1, "in_progress"),)
    jobs = (Job(1, evil, "in_progress", steps=steps),)
    observing.observe(
        cast.pk, Observation(cast.run_scope, "1", status="in_progress", url="javascript:alert(3)", jobs=jobs)
    )
    Cast.objects.filter(pk=cast.pk).update(input={"x": evil}, metadata={evil: evil})
    cast.artifacts.create(name="a", remote_id=1, state="failed", error=evil)
    error: dict[str, Any] = {
        "reason": "run_failed",
        "message": evil,
        "failed_job": evil,
        "failed_step": evil,
        "log_tail": [evil],
    }
    error["annotations"] = [{"level": "error", "title": evil, "message": evil, "file": evil, "line": 1}]
    held = claim(cast)
    remarks = [one | {"job": evil} for one in error["annotations"]]
    left = ending.Left(output={evil: evil}, summary=f"# {evil}\n[click]({evil})", annotations=remarks)
    ending.end(held, CastStatus.FAILED, reason="x", message=evil, error=error, left=left, charge=False)
    shown = client.get(path).text
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown
    assert 'href="javascript:' not in shown


def told(client, path, name):
    """Return what one part of the page says, None while it is hidden."""
    part = re.search(rf'<\w+ ([^>]*data-part="{name}"[^>]*)>([^<]*)', client.get(path).text)
    assert part is not None
    tag, text = part.groups()
    return None if "hidden" in tag.split() else text


@pytest.mark.parametrize(
    ("end", "price", "percent"),
    [
        (None, "0.05 USD, held", "0 %"),
        ({"status": "succeeded", "charge": True}, "0.05 USD, charged", "100 %"),
        ({"status": "failed", "charge": True}, "0.05 USD, charged", None),
        ({"status": "failed", "charge": False}, "0.05 USD, given back", None),
        ({"status": "cancelled", "charge": False}, "0.05 USD, given back", None),
    ],
)
def test_the_page_says_what_was_charged_and_claims_no_progress_that_was_not(client, cast, path, end, price, percent):
    if end is not None:
        ending.end(claim(cast), reason="x", message="x", **end)
    assert (told(client, path, "price"), told(client, path, "percent")) == (price, percent)
    assert (told(client, path, "progress") is None) == (percent is None)


def test_the_page_shows_the_input_unless_the_spell_keeps_it_back(client, api, cast, path, spell):
    assert re.search(r"<dt>name</dt><dd>Ada</dd>", client.get(path).text)
    Spell.objects.filter(pk=spell.pk).update(show_input=False)
    assert "Ada" not in client.get(path).text
    assert '<h2 id="input"' not in client.get(path).text
    assert api.get(f"/casts/{cast.pk}").json()["input"] == {"name": "Ada"}


def test_the_page_says_what_is_usual_and_what_is_left(client, cast, path, spell):
    assert told(client, path, "outlook") is None
    SpellHistory.objects.create(spell=spell, casts=5, succeeded=5, usual_seconds=120, entry=0, ends=[])
    assert told(client, path, "outlook") == "Usually 2 min, once it has begun."
    steps = (JobStep("Stir", 1, "in_progress", started_at=timezone.now()),)
    job = Job(1, "cast", "in_progress", steps=steps)
    observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress", jobs=(job,)))
    assert told(client, path, "outlook") == "usually 2 min, about 2 min left"
    ending.end(claim(cast), CastStatus.SUCCEEDED, reason="x", message="x", charge=True)
    assert told(client, path, "outlook") is None


def test_where_it_ran_is_not_told_in_its_jobs_either(client, cast, path, spell):
    where = f"{cast.run_scope}, step"
    steps = (JobStep(where, 1, "completed", "failure"), JobStep(where, 2, "in_progress"))
    jobs = (Job(1, where, "in_progress", steps=steps), Job(2, where, "completed", "failure", steps=steps))
    observing.observe(cast.pk, Observation(cast.run_scope, "1", status="in_progress", jobs=jobs))
    assert where in client.get(path).text
    Spell.objects.filter(pk=spell.pk).update(show_run=False)
    page = client.get(path).text
    assert cast.run_scope not in page
    assert page.count("***, step") >= 4


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_a_page_is_read_and_nothing_else(client, path, method):
    assert getattr(client, method)(path).status_code == 405


def test_ids_sort_by_time_and_are_hard_to_guess(monkeypatch):
    ids = [uuid7() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {i.version for i in ids} == {7}
    assert {i.variant for i in ids} == {"specified in RFC 4122"}
    moments = iter([1_000_000_000_000_000_000, 1_000_000_000_001_000_000])
    monkeypatch.setattr("core.ids.time.time_ns", lambda: next(moments))
    assert uuid7() < uuid7()
