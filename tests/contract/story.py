"""One story through the API: every endpoint, every state, every kind of event, and every kind of callback."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import itertools
import json
import random
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import signing
from django.utils import timezone

from accounts import credit, events, keys
from accounts.models import SCOPES, Account, ApiKey, BudgetPeriod
from casts import links
from casts.execution.artifacts import ArtifactWork
from casts.lifecycle import ending
from casts.models import ABOUT_ACCOUNTS, Artifact, Callback, Cast, CastStatus, Spell
from casts.runtime import (
    AccessLost,
    Annotation,
    ArtifactGone,
    DispatchRefused,
    Failure,
    Job,
    JobStep,
    NotNow,
    Observation,
    OutcomeUnknown,
    RemoteArtifact,
    RunGone,
)
from core import ids, limits
from tests.casts import fake
from tests.casts.conftest import LEASE, Clock, step
from tests.casts.fake import FakeRuntime
from tests.casts.receivers import Receiver, make_due, work_off
from tests.contract.recording import Recorder
from tests.webhooks.conftest import job_event, run_event, sign

BEGIN = dt.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=dt.UTC)  # as the webhooks' samples
SCHEMA = {
    "type": "object",
    "required": ["word"],
    "additionalProperties": False,
    "properties": {
        "word": {"type": "string", "maxLength": 20},
        "times": {"type": "integer", "default": 1, "maximum": 5},
        "more": {"default": {"zeta": 1e22, "b": [2.5, -0.0], "aa": "Zoë ✅", "a": None}},
    },
}


def packed(**members: str) -> bytes:
    """Return a zip that is the same each time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_", "."), (2026, 1, 1, 0, 0, 0)), text)
    return content.getvalue()


RESULT = packed(result_json='{"zeta": 1, "b": 1.10, "aa": "Zoë ✅", "a": 1e22, "n": null}')
# A picture of one pixel, as far as its first bytes say.
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0"


def hold_still(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Take chance and haste out of it: the clock is the story's, and ids follow each other.

    And whatever order a database, by its collation, gives to text must not show: here it is the other way round.
    """
    for model in (Spell, Artifact, BudgetPeriod):
        names = [name for name in model._meta.ordering or () if isinstance(name, str)]
        assert names
        monkeypatch.setattr(model._meta, "ordering", ["-" + name.lstrip("-") for name in names])
    clock.now = BEGIN
    moments = itertools.count(int(BEGIN.timestamp() * 1000))
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: next(moments) * 1_000_000, time=time.time))
    for module in (links, signing):  # until when a link opens is on its page
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock.now.timestamp()))
    monkeypatch.setattr(fake, "RUN_IDS", itertools.count(7_000_000_000))
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)


def guid(*about: str) -> str:
    """Return the same GUID for the same delivery."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(about)))


@dataclass
class Story:
    """Who tells it, with what."""

    recorder: Recorder
    runtime: FakeRuntime
    clock: Clock
    inbox: Receiver
    secret: str
    spell: Spell

    # --- words ----------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", what: str = "", **headers: str) -> Any:
        """Send a request below /api/v1 with a key."""
        self.clock.forward(milliseconds=1)
        sent = {"Authorization": f"Bearer {key or self.secret}"} | headers
        return self.recorder.ask(method, f"/api/v1{path}", body, what=what, **sent)

    @contextlib.contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Ask without keeping the answers."""
        keep, self.recorder.answers = self.recorder.answers, []
        yield
        self.recorder.answers = keep

    def cast(self, what: str = "", spell: str = "speak", **more: Any) -> Cast:
        """Cast, and return the row."""
        answer = self.ask("POST", "/cast", {"spell_key": spell, "input": {"word": "abra"}, **more}, what=what)
        assert answer.status_code == 201, answer.content
        return Cast.objects.get(pk=answer.json()["cast_id"])

    def show(self, cast: Cast, what: str) -> None:
        """Read a cast."""
        answer = self.ask("GET", f"/casts/{cast.pk}", what=what)
        assert answer.status_code == 200, answer.content

    def history(self, cast: Cast, what: str) -> None:
        """Read all events of a cast that has ended."""
        path = f"/api/v1/casts/{cast.pk}/events?after=0"
        self.recorder.ask_server(path, Authorization=f"Bearer {self.secret}", what=what)

    def seen(self, status: str | None, conclusion: str | None = None, **fields: Any) -> None:
        """Have the runtime see this of whichever run is asked for."""
        began = self.clock.now.replace(microsecond=0)
        told: dict[str, Any] = {
            "run_started_at": began,
            "updated_at": began,
            "url": "https://github.example/runs/7",
        } | fields

        def observe(cast: Cast) -> Observation:
            return Observation(
                cast.run_scope, cast.run_key or "7", 1, status, conclusion, f"speak {cast.run_tag}", **told
            )

        self.runtime.answers["observe"] = observe

    def step(self, cast: Cast, times: int = 1, **answers: Any) -> None:
        """Have a worker step a cast, with these answers of the runtime from now on."""
        self.runtime.answers |= answers
        for _ in range(times):
            self.clock.forward(seconds=1)
            step(cast)

    def jobs(self, *statuses: str, conclusion: str | None = None) -> tuple[Job, ...]:
        """Return one job with a step for each status."""
        began = self.clock.now.replace(microsecond=0)
        steps = tuple(
            JobStep(
                *(f"Step {n} ✅", n, status, "success" if status == "completed" else None),
                *(began if status != "queued" else None, began if status == "completed" else None),
            )
            for n, status in enumerate(statuses, 1)
        )
        status = "completed" if conclusion else "in_progress"
        return (Job(5, "Speak", status, conclusion, 1, began, began if conclusion else None, steps=steps),)

    def end(self, cast: Cast, conclusion: str, **answers: Any) -> None:
        """Dispatch a cast, let its run end so, and collect what it left."""
        self.step(cast)
        self.seen("completed", conclusion, jobs=self.jobs("completed", "completed", conclusion=conclusion))
        self.step(cast, 2, **answers)

    # --- chapters -------------------------------------------------------------------------------------------------

    def read_what_there_is(self) -> None:
        """Spells, budget, usage, the description; before anything is cast."""
        self.ask("GET", "/spells", what="the spells")
        self.ask("GET", "/spells/speak", what="one spell")
        self.ask("GET", "/spells/nothing", what="no such spell")
        self.ask("GET", "/spells/speak?version=1", what="one spell in an earlier version")
        self.ask("GET", "/spells/speak?version=9", what="a version that there never was")
        self.ask("GET", "/spells/speak?version=newest", what="no version")
        self.ask("GET", "/budget", what="an untouched budget")
        self.ask("GET", "/usage", what="nothing was used")
        self.ask("GET", "/casts", what="no casts")
        self.ask("GET", "/nowhere", what="no such path")
        self.ask("PUT", "/cast", {}, what="no such method")
        self.ask("GET", "/spells", Accept="text/csv", what="not offered as CSV")
        self.recorder.ask("GET", "/api/v1/spells", what="without a key")
        self.ask("GET", "/spells", key="sk_live_spl_", what="with half a key")

    def be_refused(self) -> None:
        """Requests that can't be done, each for its own reason."""
        good = {"spell_key": "speak", "input": {"word": "abra"}}
        for what, body in {
            "not JSON": '{"spell_key": ',
            "no object": "[]",
            "a number that can't be kept": '{"spell_key": "speak", "input": {"word": 1e400}}',
            "every mistake at once": {"spell_key": "speak", "input": {"wort": "a", "times": 6, "more": 1}},
            "unknown and missing fields": {"spel_key": "speak"},
            "wrong kinds": {**good, "ttl_seconds": "60", "metadata": {"a": 1}, "callback_url": "ftp://x"},
            "an address that is never called": {**good, "callback_url": "https://10.0.0.1/"},
            "an unknown spell": {**good, "spell_key": "nothing"},
            "an inactive spell": {**good, "spell_key": "retired"},
            "too much metadata": {**good, "metadata": {str(n): "" for n in range(51)}},
            "numbers beyond any column": {**good, "ttl_seconds": 2**70},
        }.items():
            self.ask("POST", "/cast", body, what=what)
        self.ask("POST", "/cast", good, Content_Type="text/plain", what="not sent as JSON")
        self.ask("POST", "/cast", good, Prefer="wait=soon", what="a wait that can't be read")
        self.ask("POST", "/cast", good, Idempotency_Key="no spaces", what="a key that can't be read")
        self.ask("POST", "/cast", b'{"a": "' + b"x" * 1024 * 1024 + b'"}', what="too large")
        for query in ("status=done", "created_after=noon", "page_size=0", "cursor=abc", "colour=red", "status=%00"):
            self.ask("GET", f"/casts?{query}", what=f"a list with {query}")
        for query in ("from=yesterday", "from=2026-12-01&to=2026-11-01", "colour=red"):
            self.ask("GET", f"/usage?{query}", what=f"usage with {query}")
        for path in (f"/casts/{uuid.UUID(int=1)}", "/casts/abc"):
            self.ask("GET", path, what="no such cast")
            self.ask("POST", path + "/cancel", what="no such cast to cancel")
            self.ask("POST", path + "/retry", what="no such cast to retry")

    def cast_once(self) -> None:
        """A request that is repeated with its key."""
        body = (
            '{"spell_key": "speak", "metadata": {"zeta": "1", "b": "Zoë ✅", "a": ""}, "ttl_seconds": 600, '
            '"input": {"word": "進入", "more": {"zeta": 1, "b": 1e22, "aa": 123456789012345678901234567890}}}'
        )
        self.ask("POST", "/casts", body, Idempotency_Key="order-17", what="cast")
        self.ask("POST", "/casts", body, Idempotency_Key="order-17", what="the same again")
        self.ask("POST", "/cast", body.replace("600", "601"), Idempotency_Key="order-17", what="another body")
        self.ask("GET", "/casts?metadata.b=Zo%C3%AB+%E2%9C%85", what="found by its metadata")
        cast = Cast.objects.get()
        self.ask("POST", f"/casts/{cast.pk}/retry", what="not to be retried yet")
        self.ask("POST", f"/casts/{cast.pk}/cancel", what="cancelled before it was sent")
        self.ask("POST", f"/casts/{cast.pk}/cancel", what="cancelled again")
        self.history(cast, "events of a cast that was cancelled at once")
        self.ask("POST", f"/casts/{cast.pk}/retry", Idempotency_Key="again", what="retried")
        self.ask("POST", f"/casts/{cast.pk}/retry", Idempotency_Key="again", what="retried, repeated")
        self.ask("GET", f"/casts?spell_key=speak&created_before={BEGIN + dt.timedelta(days=1):%Y-%m-%d}T00:00:00Z")

    def succeed(self) -> None:
        """A cast that goes the whole road, watched and downloaded."""
        cast = self.cast("cast, to be called back", callback_url=self.inbox.url, metadata={"order": "A-17"})
        self.step(cast)
        self.show(cast, "waiting for a runner")
        self.seen("waiting", jobs=())
        self.step(cast)
        self.show(cast, "waiting for approval")
        self.seen("in_progress", jobs=self.jobs("completed", "in_progress", "queued"))
        self.step(cast)
        self.show(cast, "running")
        self.seen("completed", "success", jobs=self.jobs("completed", "completed", "completed", conclusion="success"))
        self.step(cast)
        self.show(cast, "its artifacts are being copied")
        self.ask("POST", f"/casts/{cast.pk}/cancel", what="too late to cancel")
        left = {
            "spell-result": RESULT,
            "picture": PICTURE,
            "ünï ✨ 100%": b"\x00\x01bytes\xff",
            "Z": b"z" * 10,
            "a b.txt": b"text",
        }
        listed = [RemoteArtifact(n, name, len(content)) for n, (name, content) in enumerate(left.items(), 1)]
        listed.append(RemoteArtifact(9, "gone", 1))
        self.step(cast, artifacts=listed, download=left | {"gone": ArtifactGone()})
        assert cast.status == "succeeded", cast.message
        answer = self.ask("GET", f"/casts/{cast.pk}", what="succeeded")
        self.ask("GET", f"/casts/{cast.pk}", If_None_Match=answer["ETag"], what="unchanged")
        self.ask("GET", f"/casts/{cast.pk}", Prefer="wait=1", what="waited for, and ended long ago")
        self.ask("GET", f"/casts/{str(cast.pk).upper()}", what="its id in capitals")
        self.history(cast, "events of a cast that succeeded")
        auth = {"Authorization": f"Bearer {self.secret}"}
        path = f"/api/v1/casts/{cast.pk}"
        self.recorder.ask_server(f"{path}/events", what="the end alone, by default", **auth)
        self.recorder.ask_server(f"{path}/events", Last_Event_ID="99", what="nothing after the end", **auth)
        self.recorder.ask_server(f"{path}/events?after=x", what="a position that can't be read", **auth)
        self.recorder.ask_server(f"{path}/events?token=x.y", what="a token that opens nothing")
        for name in ("spell-result", "a%20b.txt", "%C3%BCn%C3%AF%20%E2%9C%A8%20100%25", "gone", "nothing"):
            self.recorder.ask_server(f"{path}/artifacts/{name}", what=f"the artifact {name}", **auth)
        self.recorder.ask_server(f"{path}/artifacts/spell-result", method="HEAD", what="of one, the headers", **auth)
        for name in ("output.json", "output.csv?at=/rows", "summary.md"):
            self.recorder.ask_server(f"{path}/{name}", what=f"what it came to, as {name}", **auth)
        for name in ("picture/preview", "spell-result/preview", "spell-result/preview?member=chart.png"):
            self.recorder.ask_server(f"{path}/artifacts/{name}", what=f"to be shown, {name}", **auth)
        self.recorder.ask_server(f"{path}/artifacts.zip", what="all of them, the headers", method="HEAD", **auth)
        shown = answer.json()
        self.recorder.ask("GET", shown["progress_url"].removeprefix("http://testserver"), what="the page")
        self.recorder.ask("GET", f"/casts/{cast.pk}/?token=x.y", what="the page, by a bad link")
        self.callbacks(cast)
        Artifact.objects.filter(cast=cast, name="Z").update(state=Artifact.State.PENDING)
        self.recorder.ask_server(f"{path}/artifacts/Z", what="one that is still being copied", **auth)
        self.recorder.ask_server(f"{path}/artifacts.zip", what="all of them, one still being copied", **auth)
        self.clock.forward(days=40)
        for artifact in Artifact.due_rows().claim(limit=10, lease=LEASE):
            artifact.give_back(ArtifactWork().step(artifact))
        self.recorder.ask_server(f"{path}/artifacts/spell-result", what="one whose time is over", **auth)
        self.show(cast, "after its artifacts' time")
        self.clock.now = BEGIN + dt.timedelta(hours=1)

    def callbacks(self, cast: Cast) -> None:
        """What a receiver is told, and the log of it."""
        self.inbox.answers = [(503, {}), (204, {})]
        work_off()
        self.ask("GET", "/callbacks?state=pending", what="refused once")
        make_due()
        work_off()
        for got in self.inbox.got:
            self.recorder.keep("POST", "", 0, got.headers, got.body, "what the receiver got", template="callback")
        self.inbox.got.clear()
        [callback] = Callback.objects.filter(cast=cast)
        self.ask("GET", f"/callbacks?cast={cast.pk}", what="the log of one cast")
        self.ask("GET", f"/callbacks/{callback.pk}", what="one message")
        self.ask("POST", f"/callbacks/{callback.pk}/replay", what="to be sent again")
        work_off()
        self.ask("GET", f"/callbacks/{callback.pk}", what="sent again")
        self.ask("GET", "/callbacks/msg_x", what="no such message")
        self.ask("GET", "/callbacks?state=lost", what="no such state")
        for request in (("GET", ""), ("POST", "/rotate")):
            self.ask(request[0], f"/callbacks/secret{request[1]}", {} if request[1] else None, what="the secret")

    def endpoints(self) -> None:
        """Endpoints of the account, and the three kinds of message."""
        made = self.ask(
            "POST", "/callbacks/endpoints", {"url": self.inbox.url, "description": "für alle ✅"}, what="an endpoint"
        ).json()
        path = f"/callbacks/endpoints/{made['id']}"
        self.ask("POST", "/callbacks/endpoints", {"url": "http://x", "types": ["no"]}, what="no endpoint")
        self.ask("GET", "/callbacks/endpoints", what="the endpoints")
        self.ask("GET", path, what="one of them")
        self.ask("GET", "/callbacks/endpoints/ep_x", what="none of them")
        self.ask("PATCH", path, {"types": ["cast.cancelled", "cast.failed", "cast.succeeded"]}, what="changed")
        self.ask("GET", path + "/secret", what="its secret")
        self.ask("POST", path + "/rotate", {}, what="a new secret")
        self.inbox.answers = [(204, {})]
        one, two, three = self.cast(), self.cast(), self.cast()
        self.end(one, "success", artifacts=[], download={})
        self.end(two, "failure", failure=Failure("Speak", "Step 2 ✅", ("line ✅", "##[error]no")))
        self.ask("POST", f"/casts/{three.pk}/cancel")
        work_off()
        for got in sorted(self.inbox.got, key=lambda got: str(got.body)):
            self.recorder.keep("POST", "", 0, got.headers, got.body, "what the endpoint got", template="callback")
        self.inbox.got.clear()
        self.ask("GET", f"/callbacks?endpoint={made['id']}&page_size=2", what="the endpoint's log, a page of it")
        self.ask("PATCH", path, {"active": False}, what="switched off")
        [callback] = Callback.objects.filter(cast=one)
        self.ask("POST", f"/callbacks/{callback.pk}/replay", what="not sent to one that is switched off")
        Callback.objects.filter(pk=callback.pk).update(lease_until=timezone.now() + LEASE)
        self.ask("PATCH", path, {"active": True}, what="switched on")
        self.ask("POST", f"/callbacks/{callback.pk}/replay", what="it is being sent now")
        self.ask("DELETE", path, what="deleted")
        self.ask("GET", "/callbacks/endpoints", what="the endpoints, without it")
        with self.unrecorded():
            for number in range(20):
                wanted = {"url": f"{self.inbox.url}&n={number}", "types": ["cast.failed"]}
                self.ask("POST", "/callbacks/endpoints", wanted)
        self.ask("POST", "/callbacks/endpoints", {"url": self.inbox.url}, what="one endpoint too many")
        Account.objects.get().callback_endpoints.all().delete()

    def wait(self) -> None:
        """Everything that a queued cast waits for."""
        for reason, message in {
            "waiting_for_github": "GitHub can't be reached.",
            "rate_limited": "GitHub's rate limit is reached until 13:00:00 UTC.",
            "installation_suspended": "The App's installation is suspended.",
            "installation_removed": "GitHub does not know the installation.",
            "github_not_configured": "There are no credentials.",
        }.items():
            cast = self.cast()
            self.step(cast, start=NotNow(message, reason=reason))
            self.show(cast, reason)
        cast = self.cast()
        self.step(cast, start=OutcomeUnknown("timeout"))
        self.show(cast, "confirming_dispatch")
        del self.runtime.answers["start"]
        cast = self.cast()
        self.step(cast, book=self.clock.now + dt.timedelta(minutes=1))
        self.show(cast, "waiting_for_turn")
        del self.runtime.answers["book"]
        first, second = self.cast(spell="alone"), self.cast(spell="alone")
        self.step(first)
        self.step(second)
        self.show(second, "waiting_for_slot")
        Cast.objects.filter(status="queued").update(dispatch_started_at=None, run_key=None)
        for row in Cast.objects.filter(status="queued"):
            lost, self.recorder.answers = self.recorder.answers, []
            self.ask("POST", f"/casts/{row.pk}/cancel")
            self.recorder.answers = lost

    def fail(self) -> None:
        """Every way in which a cast ends that does not succeed."""
        log = Failure("Speak", "Step 2 ✅", ("Raising the wand…", "##[error]a loose cobblestone"))
        for conclusion in ("failure", "timed_out", "startup_failure", "action_required", "stale", "skipped"):
            cast = self.cast()
            self.end(cast, conclusion, failure=log, artifacts=[])
            assert cast.status == "failed", (conclusion, cast.message)
            self.history(cast, f"a run that ended as {conclusion}")
        cast = self.cast()
        self.end(cast, "cancelled")
        self.history(cast, "a run that somebody cancelled on GitHub")
        cast = self.cast()
        self.step(cast)
        self.seen("completed", "failure", jobs=(Job(5, "Speak", "completed", "failure"),))
        limit = Annotation("The job was not started because your spending limit needs to be increased.")
        self.step(cast, 2, failure=Failure(annotations=(limit,)), artifacts=[])
        assert cast.status_reason == "never_ran", cast.message
        self.history(cast, "a run of which nothing ran")
        cast = self.cast()
        ending.cancel(cast.pk, by="an operator")
        self.history(cast, "cancelled by an operator")
        for what, spell, download in (
            ("a result that breaks the schema", "strict", RESULT),
            ("a result that is no JSON", "speak", packed(result_json="{")),
            ("no result", "strict", b"not a zip"),
        ):
            cast = self.cast(spell=spell)
            self.end(cast, "success", artifacts=[RemoteArtifact(1, "spell-result", 1)], download=download)
            assert cast.status_reason == "output_invalid", cast.message
            self.show(cast, what)
        cast = self.cast()
        self.step(cast, start=DispatchRefused('Unexpected inputs provided: ["input_data"]'))
        self.history(cast, "refused by GitHub")
        cast = self.cast()
        self.step(cast, start=AccessLost("The App was uninstalled.", reason="installation_removed"))
        self.show(cast, "the App is gone")
        cast = self.cast()
        self.step(cast, start=OutcomeUnknown("timeout"))
        while not cast.final:  # dispatched anew, three times at most
            self.clock.forward(seconds=400)
            self.step(cast, start=OutcomeUnknown("timeout"))
        self.show(cast, "lost")
        del self.runtime.answers["start"]
        cast = self.cast(ttl_seconds=5)
        self.clock.forward(seconds=10)
        self.step(cast)
        self.show(cast, "expired")
        cast = self.cast()
        self.step(cast)
        self.clock.forward(seconds=400)
        self.step(cast, observe=RunGone())
        self.show(cast, "its run was deleted")
        self.lose_a_result()

    def lose_a_result(self) -> None:
        """A result that was copied, and can't be read any more."""
        cast = self.cast()
        self.step(cast)
        self.seen("completed", "success", jobs=self.jobs("completed", conclusion="success"))
        self.step(cast)
        Artifact.objects.create(
            cast=cast, name="spell-result", remote_id=1, state="stored", file="lost", file_name="spell-result.zip"
        )
        self.clock.forward(hours=1)
        self.step(cast, artifacts=[])
        shown = self.ask("GET", f"/casts/{cast.pk}", what="its result was lost").json()
        assert shown["status_reason"] == "output_lost", shown

    def cancel(self) -> None:
        """Cancelled while it runs, by its caller and by its time."""
        cast = self.cast()
        self.step(cast)
        self.seen("in_progress", jobs=self.jobs("in_progress"))
        self.step(cast)
        self.ask("POST", f"/casts/{cast.pk}/cancel", what="cancelled while it runs")
        self.step(cast)
        self.show(cast, "GitHub was asked")
        self.clock.forward(seconds=70)
        self.step(cast)
        self.seen("completed", "cancelled", jobs=self.jobs("completed", conclusion="cancelled"))
        self.step(cast, 2, artifacts=[])
        assert cast.status_reason == "cancelled_by_caller", cast.message
        self.history(cast, "cancelled by its caller")
        cast = self.cast(spell="hasty")
        self.step(cast)
        self.seen("in_progress", jobs=self.jobs("in_progress"))
        self.step(cast)
        self.clock.forward(seconds=60)
        self.step(cast)
        self.seen("completed", "cancelled", jobs=self.jobs("completed", conclusion="cancelled"))
        self.step(cast, 2)
        assert cast.status_reason == "timed_out", cast.message
        self.history(cast, "its time was up")

    def hear_of_it(self) -> None:
        """What GitHub's webhooks do, and what they are answered."""
        cast = self.cast()
        self.step(cast)
        run_id = int(cast.run_key or 0)
        for event, body in (
            ("workflow_run", run_event(cast, "requested", run_id=run_id)),
            ("workflow_run", run_event(cast, "in_progress", run_id=run_id)),
            ("workflow_job", job_event(cast, "in_progress", run_id=run_id)),
            ("workflow_job", job_event(cast, "completed", run_id=run_id)),
            ("workflow_run", run_event(cast, "completed", run_id=run_id, conclusion="success")),
        ):
            raw = json.dumps(body).encode()
            headers = {
                **{"X_GitHub_Event": event, "X_GitHub_Delivery": guid(event, body["action"])},
                "X_Hub_Signature_256": sign(raw),
            }
            for _ in range(2):
                self.recorder.ask("POST", "/api/webhooks/github", raw, what=f"{event} {body['action']}", **headers)
            self.show(cast, f"after {event} {body['action']}")
        self.recorder.ask("POST", "/api/webhooks/github", b"{}", what="a webhook that nobody signed")
        self.recorder.ask("GET", "/api/webhooks/github", what="no webhook")
        self.seen(None)
        self.step(cast, artifacts=[])
        assert cast.status == "succeeded", cast.message
        rerun = run_event(cast, "requested", run_id=run_id, run_attempt=2)
        raw = json.dumps(rerun).encode()
        self.recorder.ask(
            *("POST", "/api/webhooks/github", raw),
            what="run again on GitHub",
            X_GitHub_Event="workflow_run",
            X_GitHub_Delivery=guid("again"),
            X_Hub_Signature_256=sign(raw),
        )
        self.history(cast, "as webhooks told it")

    def pay(self) -> None:
        """Caps, what was spent, and what does not fit any more."""
        caller = ApiKey.objects.get(name="contract")
        self.ask("GET", "/budget", what="what was spent")
        self.ask("GET", "/usage?from=2026-11-01&to=2026-11-30", what="by day and spell")
        self.ask("GET", "/audit?action=cast.create&page_size=1", what="who cast last")
        self.ask("PATCH", "/budget", {"scope": "spell", "spell_key": "speak", "cap_cents": 1}, what="a spell's cap")
        self.ask("PATCH", "/budget", {"scope": "key", "key_id": caller.pk, "cap_cents": 2**62}, what="a key's cap")
        self.ask("PATCH", "/budget", {"scope": "key", "key_id": 2**62, "cap_cents": 1}, what="no such key")
        self.ask("PATCH", "/budget", {"scope": "key", "key_id": 2**70, "cap_cents": 1}, what="no key has this number")
        self.ask("PATCH", "/budget", {"cap_cents": 2**70}, what="more cents than there are")
        self.ask("PATCH", "/budget", {"scope": "moon", "cap_cents": -1, "x": 1}, what="no cap")
        self.ask("POST", "/cast", {"spell_key": "speak", "input": {"word": "a"}}, what="over the spell's cap")
        self.ask("PATCH", "/budget", {"cap_cents": 0}, what="nothing may be cast")
        self.ask("POST", "/cast", {"spell_key": "alone", "input": {}}, what="over the account's cap")
        self.ask("PATCH", "/budget", {"cap_cents": None}, what="no cap at all")
        Account.objects.filter(pk=caller.account_id).update(max_open=0)
        self.ask("POST", "/cast", {"spell_key": "alone", "input": {}}, what="more than may be open")
        Account.objects.filter(pk=caller.account_id).update(max_open=None)
        self.ask("GET", "/budget", what="the caps")

    def pay_with_credit(self) -> None:
        """An account that is billed: what it may spend, how it is told, and the end of it."""
        account = Account.objects.create(name="Billed")
        _, theirs = keys.create(account, name="billed", scopes=list(SCOPES))
        _, poor = keys.create(account, name="poor", scopes=["callbacks"])
        credit.begin_billing(account)
        credit.book(account.pk, "topup", 8, "pi_1")
        credit.set_low(account.pk, 5)
        wanted = {"url": self.inbox.url, "types": [str(kind) for kind in ABOUT_ACCOUNTS]}
        self.ask("POST", "/callbacks/endpoints", wanted, key=poor, what="no money for a key that can't read it")
        self.ask("POST", "/callbacks/endpoints", wanted, key=theirs, what="an endpoint to be told of money")
        self.ask("GET", "/budget", key=theirs, what="the credit of a billed account")
        body = {"spell_key": "speak", "input": {"word": "abra"}}
        self.ask("POST", "/cast", body, key=theirs, what="paid for from credit")
        for kind in ABOUT_ACCOUNTS:
            if kind != credit.LOW:
                events.tell(account.pk, kind, kind, {"cents": 8})
        work_off()
        for got in sorted(self.inbox.got, key=lambda got: str(got.body)):
            self.recorder.keep("POST", "", 0, got.headers, got.body, "told of the account", template="callback")
        self.inbox.got.clear()
        self.ask("GET", "/callbacks?type=credit.low", key=theirs, what="the log of what is about the account")
        self.ask("POST", "/cast", body, key=theirs, what="more than the credit pays for")

    def test_an_endpoint(self) -> None:
        """A test event: sent, told of in the log, and refused when there are too many or nothing is sent there."""
        wanted = {"url": self.inbox.url, "types": ["cast.failed"]}
        made = self.ask("POST", "/callbacks/endpoints", wanted, what="an endpoint that names one type").json()
        path = f"/callbacks/endpoints/{made['id']}"
        sent = self.ask("POST", path + "/test", what="a test event").json()
        work_off()
        [got] = self.inbox.got
        self.recorder.keep("POST", "", 0, got.headers, got.body, "the test", template="callback")
        self.inbox.got.clear()
        self.ask("GET", f"/callbacks/{sent['id']}", what="what came of it")
        with self.unrecorded():
            for _ in range(limits.ENDPOINT_TESTS - 1):
                self.ask("POST", path + "/test")
        self.ask("POST", path + "/test", what="one test too many within a minute")
        self.ask("PATCH", path, {"active": False}, what="switched off")
        self.ask("POST", path + "/test", what="nothing is sent there")

    def make_keys(self) -> None:
        """Keys, and what they may not."""
        body = {"name": "für später ✅", "scopes": ["spells:read", "casts:read"], "spell_keys": ["speak", "alone"]}
        made = self.ask("POST", "/keys", body | {"expires_at": "2027-01-01T00:00:00+05:30"}, what="a key").json()
        self.ask("GET", "/keys", what="the keys")
        self.ask("POST", "/keys", {"name": "", "scopes": ["moon"], "x": 1}, what="no key")
        self.ask("GET", "/budget", key=made["secret"], what="beyond its scopes")
        self.ask("GET", "/spells", key=made["secret"], what="only its spells")
        self.ask("GET", "/spells/strict", key=made["secret"], what="a spell that is not its own")
        turned = self.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 60}, what="rotated").json()
        self.ask("POST", f"/keys/{made['id']}/rotate", {}, what="rotated a second time")
        self.ask("DELETE", f"/keys/{turned['id']}", what="what it was rotated to is revoked")
        self.ask("DELETE", f"/keys/{made['id']}", what="revoked")
        self.ask("GET", "/spells", key=made["secret"], what="with a revoked key")
        maker = self.ask("POST", "/keys", {"name": "maker", "scopes": ["keys"]}, what="a key that makes keys").json()
        for name in ("one", "two"):
            self.ask("POST", "/keys", {"name": name}, key=maker["secret"], what="made by it")
        self.ask("DELETE", f"/keys/{maker['id']}?descendant=true", what="a parameter that means nothing")
        self.ask("DELETE", f"/keys/{maker['id']}", what="revoked, and those that it made are not")
        self.ask("DELETE", f"/keys/{maker['id']}?descendants=true", what="those that it made, too")
        for number in (2**31, 2**63, 10**30):
            self.ask("DELETE", f"/keys/{number}", what="no such key")
        account = Account.objects.create(name="Other")
        _, theirs = keys.create(account, name="theirs")
        cast = Cast.objects.order_by("pk").first()
        assert cast is not None
        self.ask("GET", f"/casts/{cast.pk}", key=theirs, what="another account's cast")
        self.ask("DELETE", f"/casts/{cast.pk}/links", key=theirs, what="another account's links")
        self.ask("DELETE", f"/casts/{cast.pk}/links", what="its links are revoked")
        Account.objects.filter(pk=account.pk).update(require_idempotency_key=True)
        self.ask("POST", "/cast", {"spell_key": "speak"}, key=theirs, what="without the key that it must have")

    def list_all(self) -> None:
        """Every cast there was, page by page, and by each filter."""
        path: str | None = "/casts?page_size=20"
        while path:
            page = self.ask("GET", path, what="a page of casts").json()
            path = page["next"] and page["next"].removeprefix("http://testserver/api/v1")
        for status in CastStatus.values:
            self.ask("GET", f"/casts?status={status}&page_size=1", what=f"the newest that is {status}")

    def find_no_billing(self) -> None:
        """An installation that takes no money has nothing of it, whatever is asked."""
        topup = f"/billing/topups/{uuid.UUID(int=7)}"
        self.ask("GET", "/billing", what="no billing here")
        self.ask("PATCH", "/billing", {"auto_topup": None}, what="no topping up by itself")
        for path in ("/billing/setup", "/billing/portal"):
            self.ask("POST", path, {}, what="no page of Stripe's")
        self.ask("POST", "/billing/topups", {"cents": 500}, what="no top-up")
        for path in ("/billing/topups", topup, "/billing/invoices"):
            self.ask("GET", path, what="nothing that was paid")
        self.ask("POST", f"{topup}/cancel", {}, what="nothing to cancel")
        self.ask("DELETE", "/billing/portal", what="with a method that it does not have")

    def tell(self) -> None:
        """Tell all of it."""
        self.read_what_there_is()
        self.be_refused()
        self.cast_once()
        self.succeed()
        self.endpoints()
        self.wait()
        self.fail()
        self.cancel()
        self.hear_of_it()
        self.pay()
        self.make_keys()
        self.list_all()
        self.pay_with_credit()
        self.test_an_endpoint()
        self.find_no_billing()


def setting(make_spell: Any) -> tuple[str, Spell]:
    """Make an account, a key that may do everything, and spells; return the key and the usual spell."""
    account = Account.objects.create(name="Contract", monthly_cap_cents=100_000)
    _, secret = keys.create(account, name="contract", scopes=list(SCOPES))
    spell: Spell = make_spell("speak", input_schema=SCHEMA, output_schema=None, price_cents=5)
    make_spell("Z".lower() + "-last", price_cents=0, output_schema={"zeta": {}, "b": {}, "aa": {}, "a": {}})
    make_spell("strict", output_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["m"]})
    make_spell("alone", max_running=1, input_schema={})
    make_spell("a_b", input_schema={}), make_spell("a-b", input_schema={}), make_spell("ab", input_schema={})
    make_spell("hasty", timeout_seconds=30, input_schema={}, charge_failed_runs=False)
    make_spell("retired", active=False)
    Spell.objects.update(input_schema={"$comment": "anything"})
    Spell.objects.filter(key="speak").update(input_schema=SCHEMA)
    return secret, spell
