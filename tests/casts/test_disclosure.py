"""A spell that does not show its run: callers learn nothing of where it runs, wherever they look; operators see all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from casts import disclosure, links
from casts.lifecycle import observing
from casts.models import Artifact, Cast, CastEvent, Spell
from casts.runtime import AccessLost, Annotation, DispatchRefused, Failure, Job, JobStep, NotNow, Observation, Run
from github_integration.words import WORDS
from tests import console
from tests.casts.client import asked, run
from tests.casts.conftest import step
from tests.casts.receivers import receiver, work_off
from tests.spells import retarget

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://github.com/demo/spells/actions/runs/9000000042"
NAMES = ("demo/spells", "DEMO/Spells", "cast.yml", "9000000042", "installation 77", "github.com")
REFUSED = (
    "Not Found. GitHub says so of what is not there and of what we may not see: is demo/spells the right name, is the "
    "App (installation 77) installed on it, and does it hold cast.yml?"
)


@pytest.fixture
def hidden(make_spell) -> Spell:
    return make_spell("secret", show_run=False)


def told(*texts: str) -> set[str]:
    """Return which of the names are in what somebody was told."""
    return {name for name in NAMES for text in texts if name in text}


def refused(cast: Cast, runtime) -> None:
    runtime.answers["start"] = DispatchRefused(REFUSED)
    step(cast)


def failed(cast: Cast, runtime) -> None:
    """Follow a cast to a failed run whose steps and log name where it runs."""
    runtime.answers["start"] = Run("9000000042", URL)
    steps = (JobStep("Run demo/spells/.github/actions/brew@v1", 1, "completed", "failure"),)
    job = Job(5, "call / DEMO/Spells", "completed", "failure", steps=steps)
    at_work = Job(5, "call / DEMO/Spells", "in_progress", steps=(JobStep(steps[0].name, 1, "in_progress"),))
    seen: dict[str, Any] = {"url": URL, "updated_at": timezone.now()}
    runtime.answers["observe"] = Observation(
        cast.run_scope, "9000000042", status="in_progress", jobs=(at_work,), **seen
    )
    step(cast)
    step(cast)
    runtime.answers["observe"] = Observation(
        cast.run_scope, "9000000042", status="completed", conclusion="failure", jobs=(job,), **seen
    )
    log = ("Syncing repository: demo/spells", f"see {URL}", "##[error]cast.yml is out of mercury")
    own = Annotation("cast.yml of demo/spells is out of mercury", file=".github/workflows/cast.yml", line=7)
    runtime.answers["failure"] = Failure(job=job.name, step=steps[0].name, log_tail=log, annotations=(own,))
    runtime.answers["remarks"] = (dataclasses.replace(own, level="warning", job=job.name),)
    step(cast)
    step(cast)


async def streamed(cast: Cast) -> list[dict[str, Any]]:
    path = links.events_url(cast.pk).removeprefix("http://testserver")
    async with asked(f"{path}&after=0") as stream:
        return [data for _, data in await stream.events()]


@pytest.fixture
def everywhere(api, secret, settings) -> Callable[[Cast], list[str]]:
    """Return everything that a caller can get of a cast, as text."""
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.STREAM_FALLBACK_SECONDS = 0.1

    def look(cast: Cast) -> list[str]:
        answers = [
            api.get(f"/casts/{cast.pk}"),
            api.get("/casts"),
            api.post(f"/casts/{cast.pk}/cancel"),
            Client().get(links.progress_url(cast.pk).removeprefix("http://testserver")),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 202, 200]
        events = run(streamed(cast))
        assert events[-1]["final"]
        return [*(answer.content.decode() for answer in answers), *(json.dumps(one) for one in events)]

    return look


@pytest.mark.parametrize("end", [refused, failed])
def test_callers_learn_nothing_of_where_it_runs(end, hidden, make_cast, runtime, everywhere, admin_client):
    with receiver() as inbox:
        cast = make_cast(spell=hidden, callback_url=inbox.url)
        end(cast, runtime)
        assert cast.final
        shown = everywhere(cast)
        work_off()
        [got] = inbox.got
        shown.append(got.body.decode())
    assert told(*shown) == set()
    # It is one and the same text for callers, however they ask.
    messages = {json.loads(text)["message"] for text in (shown[0], shown[2], shown[-2])}
    assert messages == {disclosure.public(cast, json.loads(shown[0]) | {"message": cast.message})["message"]}
    # The operator reads the whole of it: now, and in each line of the history.
    assert console.shown(console.page(admin_client, f"/admin/casts/cast/{cast.pk}/change/")).count(cast.message) >= 2


def test_a_refusal_says_who_can_tell_more(hidden, make_cast, runtime, api):
    cast = make_cast(spell=hidden)
    refused(cast, runtime)
    shown = api.get(f"/casts/{cast.pk}").json()
    assert shown["message"] == "GitHub refused to start the run; the operator can see why."
    assert shown["error"] == {"reason": "dispatch_refused", "message": shown["message"]}
    assert REFUSED in cast.message


def test_a_failed_run_keeps_its_log_with_the_names_taken_out(hidden, make_cast, runtime, api):
    cast = make_cast(spell=hidden)
    failed(cast, runtime)
    shown = api.get(f"/casts/{cast.pk}").json()
    assert shown["run_url"] is None
    assert (shown["steps"][0]["job"], shown["steps"][0]["name"]) == ("call / ***", "Run ***/.github/actions/brew@v1")
    assert shown["error"] == {
        "reason": "run_failed",
        "message": "*** of *** is out of mercury",
        "annotations": [
            {
                "level": "error",
                "title": None,
                "message": "*** of *** is out of mercury",
                "file": ".github/workflows/***",
                "line": 7,
            }
        ],
        "failed_job": "call / ***",
        "failed_step": "Run ***/.github/actions/brew@v1",
        "log_tail": ["Syncing repository: ***", "see ***", "##[error]*** is out of mercury"],
        "run_url": None,
    }
    assert shown["annotations"] == [shown["error"]["annotations"][0] | {"level": "warning", "job": "call / ***"}]


def test_what_github_says_of_a_run_that_never_ran_is_for_operators(hidden, make_cast, runtime, api, everywhere):
    cast = make_cast(spell=hidden)
    runtime.answers["start"] = Run("9000000042", URL)
    nothing = (Job(5, "call / DEMO/Spells", "completed", "failure"),)
    runtime.answers["observe"] = Observation(
        cast.run_scope, "9000000042", status="completed", conclusion="failure", url=URL, jobs=nothing
    )
    runtime.answers["failure"] = Failure(annotations=(Annotation("The owner of demo/spells, octocat, has no money."),))
    runtime.answers["remarks"] = runtime.answers["failure"].annotations
    for _ in range(4):
        step(cast)
    assert (cast.status_reason, "octocat" in cast.message, cast.charged_cents) == ("never_ran", True, 0)
    assert not any("octocat" in text for text in everywhere(cast))
    assert told(*everywhere(cast)) == set()
    public = api.get(f"/casts/{cast.pk}").json()
    assert (public["error"]["annotations"], public["annotations"]) == ([], [])


def test_by_default_all_is_shown(make_cast, runtime, everywhere):
    cast = make_cast()
    failed(cast, runtime)
    assert all(URL in text for text in everywhere(cast)[:4])


@pytest.mark.parametrize(
    "trouble",
    [
        NotNow(f"{REFUSED} ", reason="waiting_for_github"),
        NotNow("The suspension of installation 77", reason="installation_suspended"),
        NotNow("API rate limit exceeded for installation 77", reason="rate_limited"),
        NotNow("GitHub doesn't take our credentials for demo/spells", reason="github_not_configured"),
        NotNow("something new about installation 77", reason="a_reason_of_tomorrow"),
        AccessLost("demo/spells is gone: installation 77", reason="installation_removed"),
    ],
    ids=lambda exc: exc.reason,
)
def test_what_a_cast_waits_for_is_said_without_githubs_words(trouble, hidden, make_cast, runtime, everywhere):
    cast = make_cast(spell=hidden)
    runtime.answers["start"] = trouble
    step(cast)
    assert told(cast.message)
    assert told(*everywhere(cast)) == set()


def test_the_switch_counts_for_what_exists(make_cast, runtime, everywhere, spell):
    cast = make_cast()
    failed(cast, runtime)
    Spell.objects.filter(pk=spell.pk).update(show_run=False)
    assert told(*everywhere(cast)) == set()
    assert any(URL in json.dumps(data) for data in CastEvent.objects.values_list("data", flat=True))
    Spell.objects.filter(pk=spell.pk).update(show_run=True)
    assert URL in everywhere(cast)[0]


def test_it_goes_by_where_the_cast_ran_and_where_the_spell_runs_now(hidden, make_cast, runtime, everywhere):
    cast = make_cast(spell=hidden)
    failed(cast, runtime)
    retarget(hidden, repository="demo/elsewhere")
    assert told(*everywhere(cast)) == set()


async def first_and_live(cast: Cast, runtime) -> list[dict[str, Any]]:
    def work() -> None:
        try:
            failed(cast, runtime)
        finally:
            connections.close_all()

    path = links.events_url(cast.pk).removeprefix("http://testserver")
    async with asked(path) as stream:
        first = await stream.event()
        await asyncio.get_running_loop().run_in_executor(None, work)
        return [first[1], *(data for _, data in await stream.events())]


def test_a_stream_that_is_open_is_told_live_without_it(hidden, make_cast, runtime, settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1
    cast = make_cast(spell=hidden)
    events = run(first_and_live(cast, runtime))
    assert len(events) > 3
    assert events[-1]["status"] == "failed"
    assert told(*(json.dumps(one) for one in events)) == set()


def test_an_artifact_that_could_not_be_copied_quotes_nobody(hidden, spell, make_cast, api):
    for which, quoted in ((hidden, False), (spell, True)):
        cast = make_cast(spell=which)
        Artifact.objects.create(cast=cast, name="report", remote_id=1, state="failed", error="demo/spells is gone")
        answer = api.get(f"/casts/{cast.pk}/artifacts/report")
        assert answer.status_code == 410
        assert ("demo/spells" in answer.json()["detail"]) == quoted


def test_what_the_spell_says_is_left_as_it_is(hidden, make_cast, api):
    """Input and output are the caller's and the author's: nothing is taken out of them."""
    cast = make_cast(spell=hidden, input={"name": "demo/spells"})
    observing.observe(cast.pk, Observation(cast.run_scope, "9", status="in_progress"))
    Cast.objects.filter(pk=cast.pk).update(output={"cast.yml": "demo/spells"})
    shown = api.get(f"/casts/{cast.pk}").json()
    assert (shown["input"], shown["output"]) == ({"name": "demo/spells"}, {"cast.yml": "demo/spells"})


def test_every_documented_reason_is_known_as_ours_or_as_quoting():
    """A new reason must say which of the two it is; until then callers of hidden spells get a general sentence."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
    table = text.partition("### Statuses and reasons")[2].partition("###")[0]
    documented = {word for line in re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE) for word in line.split("`")}
    documented = {word for word in documented if re.fullmatch(r"[a-z_]+", word)} - {"reason"}
    assert documented == disclosure.OWN_WORDS | set(WORDS.without_run)
