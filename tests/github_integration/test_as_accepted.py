"""A cast runs as it was accepted, whatever becomes of its spell before it is sent, and before it ends."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from django.db import connection
from django.test.utils import CaptureQueriesContext

from casts import disclosure
from casts.execution import steps
from casts.lifecycle import binding, ending, observing
from casts.models import Cast, CastStatus, Spell
from casts.runtime import Observation
from casts.spells import inputs
from casts.versions import as_accepted
from github_integration import api, identity
from github_integration.models import WorkflowTarget
from tests.casts.conftest import accept_cast, claim, ledger, step
from tests.casts.test_versions import defining, other

from .doubles import API, REPO, sent_json

pytestmark = pytest.mark.django_db
BASE = f"{API}/repos/{REPO}"
DISPATCH = f"{BASE}/actions/workflows/deploy.yml/dispatches"
AS_IT_WAS = {
    "repository": REPO,
    "workflow_file": "deploy.yml",
    "ref": "v1",
    "input_mapping": "native",
    "output_schema": {"type": "object", "required": ["greeting"]},
    "charge_failed_runs": False,
    "price_cents": 5,
    "show_run": False,
}


@pytest.fixture(autouse=True)
def _by_token(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(identity, "learn", lambda installation: None)
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "", "ghp_x"
    api.github.cache_clear()
    yield
    api.github.cache_clear()


@pytest.fixture
def accepted(make_spell: Any, api_key: Any) -> Cast:
    return accept_cast(api_key=api_key, spell=make_spell(**AS_IT_WAS), input={"name": "Ada"})


def change_everything() -> None:
    """Change every field of every spell and its target, by saving them."""
    for model in (Spell, WorkflowTarget):
        for row in model.objects.all():
            for field in defining(model):
                setattr(row, field.name, other(field, getattr(row, field.name)))
            row.save()


def run_7(http: responses.RequestsMock, conclusion: str) -> None:
    """Answer whatever is asked about the run that the dispatch is told of."""
    job = {
        "id": 8, "run_id": 7, "name": "deploy", "status": "completed", "conclusion": conclusion, "run_attempt": 1,
        "started_at": "2026-11-25T12:00:00Z", "completed_at": "2026-11-25T12:00:09Z", "runner_name": "runner 1",
        "steps": [],
    }  # fmt: skip
    ended = {"id": 7, "status": "completed", "conclusion": conclusion, "run_attempt": 1, "event": "workflow_dispatch"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("result.json", json.dumps({"greeting": "Hello"}))
    kept = {"id": 3, "name": "spell-result", "size_in_bytes": 99, "expired": False}
    http.get(f"{BASE}/actions/runs/7", json=ended)
    http.get(f"{BASE}/actions/runs/7/jobs", json={"total_count": 1, "jobs": [job]})
    http.get(f"{BASE}/actions/runs/7/artifacts", json={"total_count": 1, "artifacts": [kept]})
    http.get(f"{BASE}/actions/artifacts/3/zip", status=302, headers={"Location": "https://blobs.example/3"})
    http.get("https://blobs.example/3", body=packed.getvalue())
    http.get(f"{BASE}/check-runs/8/annotations", json=[])
    http.get(f"{BASE}/actions/jobs/8/logs", status=302, headers={"Location": "https://blobs.example/log"})
    http.get("https://blobs.example/log", body=b"It failed.")


@pytest.mark.parametrize(("conclusion", "charged"), [("success", 5), ("failure", 0)])
def test_a_cast_is_sent_judged_and_charged_as_it_was_accepted(
    accepted: Cast, http: responses.RequestsMock, conclusion: str, charged: int
) -> None:
    http.post(DISPATCH, json={"workflow_run_id": 7, "html_url": "https://github.com/demo/spells/actions/runs/7"})
    change_everything()
    step(accepted)
    assert sent_json(http.calls[0]) | {"return_run_details": True} == {
        "ref": "v1",
        "inputs": {"name": "Ada"},
        "return_run_details": True,
    }
    change_everything()
    run_7(http, conclusion)
    for _ in range(4):
        if not accepted.final:
            step(accepted)
    assert accepted.final
    assert (accepted.status == CastStatus.SUCCEEDED) is (conclusion == "success"), accepted.error
    assert (accepted.charged_cents, accepted.spell_version) == (charged, 1)
    assert ledger(accepted)[-1] == (("capture", 5) if charged else ("release", 5))


def seen(cast: Cast, **changes: Any) -> Observation:
    ours = Observation(
        REPO, "7", status="queued", title=f"Deploy {cast.run_tag}", trigger="workflow_dispatch", workflow="deploy.yml"
    )
    return dataclasses.replace(ours, **changes)


def test_a_run_of_the_old_target_is_the_casts_and_none_of_the_new_one(
    accepted: Cast, http: responses.RequestsMock
) -> None:
    http.post(DISPATCH, status=502)
    step(accepted)
    Spell.objects.update(tags_runs=True)
    target = WorkflowTarget.objects.get()
    target.workflow_file = "new.yml"
    target.save()
    Spell.objects.update(tags_runs=True)  # a cast of the new one has taught it
    new = seen(accepted, workflow="new.yml")
    assert binding.find_cast(new) is None
    assert not binding.may_be_ours(new)
    assert binding.may_be_ours(seen(accepted, title="without a tag")) is False
    Cast.objects.update(answer_lost_at=None)
    assert binding.may_be_ours(seen(accepted, title="without a tag")) is True
    Cast.objects.update(answer_lost_at=accepted.created_at)
    # That no run with its tag is there proves nothing: the old file's titles may carry none.
    assert as_accepted(steps.claimed(claim(accepted))).spell.tags_runs is False
    Spell.objects.update(tags_runs=False)
    assert binding.find_cast(seen(accepted)) == accepted.pk
    observing.observe_run(seen(accepted, status="in_progress"))
    assert Spell.objects.get().tags_runs is False  # the new file's titles may carry none


def test_limits_and_what_is_shown_are_as_they_are_now_and_both_targets_are_hidden(accepted: Cast) -> None:
    change_everything()
    now = Spell.objects.get()
    Spell.objects.update(show_run=False)
    was = steps.claimed(claim(accepted)).spell
    for name in ("timeout_seconds", "ttl_seconds", "max_running", "artifact_retention_days", "show_input", "name"):
        assert getattr(was, name) == getattr(now, name)
    assert WorkflowTarget.of(was).installation_id == WorkflowTarget.of(now).installation_id == 1
    for mask in (
        disclosure.mask_of(Cast.objects.select_related("spell").get()),
        disclosure.masks_of([accepted.pk])[accepted.pk],
    ):
        assert mask("deploy.yml in demo/spells, deploy.ymlx in demo/spellsx") == "*** in ***, *** in ***"


def test_what_a_cast_was_accepted_under_is_never_saved(accepted: Cast) -> None:
    change_everything()
    was = steps.claimed(claim(accepted)).spell
    before = list(Spell.objects.values()), list(WorkflowTarget.objects.values())
    for row in (was, WorkflowTarget.of(was)):
        with pytest.raises(TypeError, match="never saved"):
            row.save()
    assert (list(Spell.objects.values()), list(WorkflowTarget.objects.values())) == before


def test_an_unchanged_spell_costs_no_statement_and_old_casts_go_by_it(accepted: Cast) -> None:
    def asked() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            steps.claimed(claim(accepted))
        return sum("spellversion" in query["sql"] for query in queries)

    assert asked() == 0
    change_everything()
    assert asked() == 1
    Cast.objects.update(spell_version=None)
    assert asked() == 0
    assert steps.claimed(claim(accepted)).spell.original is None


def test_a_spell_that_changes_while_a_cast_is_accepted(
    make_spell: Any, monkeypatch: pytest.MonkeyPatch, client: Any, secret: str
) -> None:
    """What it was checked against and priced by is what its version says."""
    spell, check = make_spell(**AS_IT_WAS), inputs.checked_input

    def change_first(spell: Spell, given: Any) -> Any:
        checked = check(spell, given)
        change_everything()
        return checked

    monkeypatch.setattr("casts.casting.checked_input", change_first)
    with CaptureQueriesContext(connection) as queries:
        answer = client.post(
            "/api/v1/cast",
            {"spell_key": spell.key, "input": {"name": "Ada"}},
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}"},
        )
    assert answer.status_code == 201
    reads = [query["sql"] for query in queries if query["sql"].startswith('SELECT "casts_spell"."id"')]
    assert 'JOIN "github_integration_workflowtarget"' in reads[0]  # number and definition, in one statement
    cast = as_accepted(Cast.objects.select_related("spell").get())
    assert (cast.cost_cents, cast.spell_version, cast.spell.price_cents) == (5, 1, 5)
    assert Spell.objects.get().version > 1


def test_casting_again_is_under_the_version_of_now(accepted: Cast, client: Any, secret: str) -> None:
    ending.cancel(accepted.pk)
    spell = Spell.objects.get()
    spell.price_cents = 9
    spell.save()
    answer = client.post(f"/api/v1/casts/{accepted.pk}/retry", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 202
    again = Cast.objects.get(retry_of=accepted)
    assert (again.cost_cents, again.spell_version) == (9, 2)
