"""Copies of what runs leave: brought in before the cast ends if it can be, afterwards if not, and deleted in time."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from casts.execution import results
from casts.execution.artifacts import ArtifactWork, copy_again
from casts.execution.files import FileWork
from casts.models import Artifact, ArtifactContents, Cast, CastEvent, LooseFile
from casts.runtime import AccessLost, ArtifactGone, NotNow, Observation, RemoteArtifact, RunGone, runtime_of
from tests.casts.conftest import LEASE, history, ledger, step, wait
from tests.casts.fake import FakeRuntime, jobs_of


def packed(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


RESULT = packed(**{"result.json": '{"greeting": "Hello"}'})


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def remote(content, name="spell-result", number=1, **fields):
    return RemoteArtifact(
        **{"id": number, "name": name, "size_bytes": len(content), "digest": sha256(content)} | fields
    )


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    settings.CAST_ARTIFACT_WAIT_SECONDS = 120
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path), "base_url": None},
        }
    }
    return tmp_path


def files(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


def cleaned():
    """Delete the files that no artifact has, as far as they are due; return how many of them are left."""
    for row in LooseFile.due_rows().claim(limit=99, lease=LEASE):
        row.give_back(FileWork().step(row))
    return LooseFile.objects.count()


@pytest.fixture
def ran(make_cast, make_spell, runtime):
    """Make a cast whose run has ended, leaving these artifacts."""

    def make(artifacts, contents, *, conclusion="success", **spell):
        runtime.answers["artifacts"] = artifacts
        runtime.answers["download"] = contents
        runtime.answers["observe"] = lambda cast: Observation(
            cast.run_scope,
            cast.run_key,
            status="completed",
            conclusion=conclusion,
            jobs=jobs_of("completed", conclusion),
        )
        cast = make_cast(spell=make_spell("left", **spell))
        step(cast), step(cast)
        assert cast.run_finished_at is not None
        return cast

    return make


def copier(artifact):
    """Let ArtifactWork look at an artifact once; return in what time it wants to look again."""
    [row] = Artifact.due_rows().filter(pk=artifact.pk).claim(limit=1, lease=LEASE)
    again = ArtifactWork().step(row)
    row.give_back(again)
    artifact.refresh_from_db()
    return None if again is None else again - timezone.now()


def test_artifacts_are_in_when_the_cast_ends_byte_for_byte(ran, storage):
    log = b"line\n" * 100_000
    cast = ran([remote(RESULT), remote(log, "log", 2)], {"spell-result": RESULT, "log": [log[:9], log[9:]]})
    step(cast)
    assert (cast.status, cast.message, cast.output) == ("succeeded", "Done.", {"greeting": "Hello"})
    log_row, result_row = cast.artifacts.all()
    assert (result_row.file_name, log_row.file_name) == ("spell-result.zip", "log")  # by content, not by name
    for row, content in ((log_row, log), (result_row, RESULT)):
        assert (row.state, row.size_bytes, f"sha256:{row.sha256}") == ("stored", len(content), sha256(content))
        assert row.file.read() == content
        assert row.expires_at - row.stored_at == dt.timedelta(days=30)
        assert row.due_at == row.expires_at
        row.file.close()
    told = CastEvent.objects.get(cast=cast, kind="ended").data
    assert [(a["name"], a["digest"]) for a in told["artifacts"]] == [
        ("log", sha256(log)),
        ("spell-result", sha256(RESULT)),
    ]
    assert told["output"] == {"greeting": "Hello"}


def test_all_copies_of_a_cast_are_in_one_folder_whoever_made_them(ran, settings, storage, api):
    """The cast's step and the copier read the artifact in different ways."""
    settings.CAST_ARTIFACT_WAIT_SECONDS = 0
    cast = ran([remote(RESULT), remote(b"log", "log", 2)], {"spell-result": RESULT, "log": NotNow("later")})
    step(cast)
    log = cast.artifacts.get(name="log")
    assert (cast.status, log.state) == ("succeeded", "pending")
    own = runtime_of(cast)
    assert isinstance(own, FakeRuntime)
    own.answers["download"] = b"log"
    copier(log)
    assert log.state == "stored"
    assert {path.parent.name for path in files(storage)} == {str(cast.pk)}
    [shown] = api.get("/casts").json()["results"]
    assert [a["state"] for a in shown["artifacts"]] == ["stored", "stored"]


def test_a_copy_in_a_folder_without_dashes_is_still_read_and_deleted_in_time(ran, storage, clock):
    """Where the copier put copies on SQLite once; the row says where its file is."""
    cast = ran([remote(b"log", "log")], b"log")
    step(cast)
    log = cast.artifacts.get()
    old = f"{cast.pk.hex}/{Path(log.file.name).name}"
    (storage / cast.pk.hex).mkdir()
    (storage / log.file.name).rename(storage / old)
    Artifact.objects.update(file=old)
    log.refresh_from_db()
    with log.file.open("rb") as file:
        assert file.read() == b"log"
    clock.forward(days=31)
    copier(log)
    assert log.state == "expired"
    assert (cleaned(), files(storage)) == (0, [])


def test_a_failed_runs_artifacts_are_kept_too(ran):
    cast = ran([remote(b"core", "dump")], b"core", conclusion="failure")
    step(cast)
    assert (cast.status, cast.artifacts.get().state) == ("failed", "stored")


def test_an_artifact_that_expired_on_github_is_not_asked_for(ran, runtime):
    cast = ran([remote(b"x", "old", expired=True)], b"x")
    step(cast)
    assert cast.final
    assert not cast.artifacts.exists()
    assert runtime.count("download") == 0


def test_an_artifact_whose_name_is_too_long_holds_back_none_of_the_others(ran):
    cast = ran([remote(b"x", "n" * 301), remote(RESULT, number=2)], RESULT)
    step(cast)
    assert (cast.status, cast.output) == ("succeeded", {"greeting": "Hello"})
    assert [(a.name, a.state) for a in cast.artifacts.all()] == [("n" * 300, "failed"), ("spell-result", "stored")]
    assert "longer than 300" in cast.artifacts.get(state="failed").error


def test_an_artifact_that_is_gone_ends_as_failed_and_the_cast_as_it_should(ran):
    cast = ran([remote(b"x", "gone")], ArtifactGone("410"))
    step(cast)
    assert (cast.status, cast.message) == ("succeeded", "Done.")
    assert cast.artifacts.get().state == "failed"
    assert "no longer on GitHub" in cast.artifacts.get().error


def test_an_artifact_that_is_too_large_is_cut_off_while_it_comes(ran, settings, storage):
    settings.ARTIFACT_MAX_BYTES = 1000
    taken = []

    def endless(artifact):
        for _ in range(10_000):
            taken.append(100)
            yield b"x" * 100

    cast = ran([remote(b"", "huge", digest="")], endless)
    step(cast)
    assert cast.artifacts.get().state == "failed"
    assert "1000 bytes" in cast.artifacts.get().error
    assert sum(taken) <= 1100
    assert files(storage) == []
    assert cast.status == "succeeded"


def test_what_failed_for_good_is_copied_again_when_somebody_asks(ran, settings, storage):
    settings.ARTIFACT_MAX_BYTES = 3
    cast = ran([remote(b"large", "huge"), remote(b"ok", "small", 2)], {"huge": b"large", "small": b"ok"})
    step(cast)
    huge, small = cast.artifacts.order_by("name")
    assert (huge.state, small.state) == ("failed", "stored")
    events, before = CastEvent.objects.count(), Artifact.objects.values().get(pk=small.pk)
    settings.ARTIFACT_MAX_BYTES = 1000
    assert copy_again([huge.pk, small.pk]) == [huge.pk]
    copier(huge)
    assert (huge.state, huge.error, huge.file.read()) == ("stored", "", b"large")
    huge.file.close()
    assert copy_again([huge.pk, small.pk]) == []
    assert Artifact.objects.values().get(pk=small.pk) == before
    cast.refresh_from_db()
    assert (cast.status, CastEvent.objects.count()) == ("succeeded", events)


def test_asking_for_a_copy_leaves_one_that_is_under_way_to_its_holder(ran, clock, runtime):
    cast = ran([remote(b"x", "late")], NotNow("no"))
    clock.forward(seconds=130)
    step(cast)
    late = cast.artifacts.get()
    [row] = Artifact.due_rows().filter(pk=late.pk).claim(limit=1, lease=LEASE)
    assert copy_again([late.pk]) == [late.pk]
    late.refresh_from_db()
    assert (late.claim_number, late.lease_until, late.attempts) == (row.claim_number, row.lease_until, row.attempts)
    runtime.answers["download"] = b"x"
    assert row.give_back(ArtifactWork().step(row))
    late.refresh_from_db()
    assert (late.state, late.due_at) == ("stored", late.expires_at)


def test_one_of_just_the_largest_size_is_kept(ran, settings):
    settings.ARTIFACT_MAX_BYTES = 1000
    cast = ran([remote(b"x" * 1000, "large")], b"x" * 1000)
    step(cast)
    assert cast.artifacts.get().state == "stored"


def test_a_damaged_copy_is_not_kept_and_fetched_again(ran, runtime, storage):
    cast = ran([remote(RESULT)], [RESULT[:-5], RESULT])
    assert wait(cast) <= dt.timedelta(seconds=30)
    assert not cast.final
    assert (cast.artifacts.get().state, files(storage)) == ("pending", [])
    step(cast)
    assert (cast.status, cast.output) == ("succeeded", {"greeting": "Hello"})
    assert runtime.count("download") == 2


def test_without_a_digest_what_comes_is_kept(ran):
    cast = ran([remote(RESULT, digest="")], RESULT)
    step(cast)
    assert f"sha256:{cast.artifacts.get().sha256}" == sha256(RESULT)


def test_after_two_minutes_of_trouble_the_cast_ends_and_the_copying_goes_on(ran, runtime, clock, api):
    cast = ran([remote(RESULT)], NotNow("the blob host is away"))
    for _ in range(3):
        assert wait(cast) <= dt.timedelta(seconds=30)
        assert not cast.final
        clock.forward(seconds=39)
    clock.forward(seconds=5)
    assert step(cast) is None
    assert (cast.status, cast.output) == ("succeeded", None)
    assert "still being copied" in cast.message
    assert ledger(cast) == [("hold", 5), ("capture", 5)]
    assert api.get(f"/casts/{cast.pk}").json()["artifacts"][0]["state"] == "pending"
    artifact = cast.artifacts.get()
    assert artifact.due_at <= timezone.now()
    assert dt.timedelta(0) < copier(artifact) <= dt.timedelta(seconds=10)
    runtime.answers["download"] = RESULT
    clock.forward(seconds=10)
    assert copier(artifact) == dt.timedelta(days=30)
    assert artifact.state == "stored"
    assert api.get(f"/casts/{cast.pk}").json()["artifacts"][0]["state"] == "stored"
    assert history(cast)[-1] == "ended"
    assert ledger(cast) == [("hold", 5), ("capture", 5)]


def test_the_copier_waits_longer_each_time_and_as_long_as_it_is_told(ran, runtime, clock):
    cast = ran([remote(RESULT)], NotNow("away"))
    clock.forward(seconds=121)
    step(cast)
    artifact, waits = cast.artifacts.get(), []
    for _ in range(6):
        waits.append(copier(artifact))
        clock.forward(seconds=waits[-1].total_seconds())
    assert waits == sorted(waits)
    assert waits[0] < dt.timedelta(minutes=1) < waits[-1]
    told = clock.now + dt.timedelta(minutes=7)
    runtime.answers["download"] = NotNow("rate limit", retry_at=told)
    assert copier(artifact) == dt.timedelta(minutes=7)
    runtime.answers["download"] = ArtifactGone("410")
    clock.forward(minutes=7)
    assert copier(artifact) is None
    assert (artifact.state, artifact.due_at) == ("failed", None)


def test_one_artifact_in_trouble_does_not_hold_back_the_others(ran, clock):
    contents = {"a-broken": NotNow("always damaged"), "spell-result": RESULT}
    cast = ran([remote(b"x", "a-broken"), remote(RESULT, number=2)], contents)
    step(cast)
    assert not cast.final
    clock.forward(seconds=121)
    step(cast)
    assert (cast.status, cast.output) == ("succeeded", {"greeting": "Hello"})
    assert [a.state for a in cast.artifacts.order_by("name")] == ["pending", "stored"]


def test_a_storage_that_is_full_is_trouble_that_may_pass(ran, monkeypatch, runtime):
    cast = ran([remote(RESULT)], RESULT)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "save", full)
        assert wait(cast) <= dt.timedelta(seconds=30)
    assert (cast.final, cast.artifacts.get().state) == (False, "pending")
    step(cast)
    assert cast.output == {"greeting": "Hello"}


def test_a_disk_that_fills_up_half_way_leaves_nothing_behind(ran, storage, monkeypatch):
    cast = ran([remote(RESULT)], RESULT)

    def full(self, name, content):
        Path(self.path(name)).parent.mkdir(parents=True)
        Path(self.path(name)).write_bytes(content.read(10))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", full)
        step(cast)
    assert (cleaned(), files(storage)) == (0, [])
    step(cast)
    assert cast.output == {"greeting": "Hello"}


def test_no_room_for_temporary_files_is_waited_for_too(ran, monkeypatch):
    cast = ran([remote(RESULT)], RESULT)

    def full(self, chunk):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile.SpooledTemporaryFile, "write", full)
        assert wait(cast) <= dt.timedelta(seconds=30)
    assert not cast.final
    step(cast)
    assert cast.output == {"greeting": "Hello"}


class Killed(BaseException):
    """Its process ends at this very place."""


@pytest.mark.parametrize("after", ["announcing it", "half of it", "storing it"])
def test_what_a_killed_worker_left_is_deleted_and_its_artifact_copied_anew(ran, storage, clock, monkeypatch, after):
    cast = ran([remote(RESULT)], RESULT)
    save = FileSystemStorage._save  # type: ignore[attr-defined]

    def killed(self, name, content):
        if after == "half of it":
            content = ContentFile(RESULT[:9])
        if after != "announcing it":
            save(self, name, content)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", killed)
        patch.setattr(LooseFile, "drop", lambda names: None)  # a process that was killed does no more
        with pytest.raises(Killed):
            step(cast)
    assert (len(files(storage)), cleaned()) == (0 if after == "announcing it" else 1, 1)  # it may still be at work
    Cast.due_rows().filter(pk=cast.pk).update(lease_until=None, due_at=timezone.now())
    step(cast)
    assert cast.output == {"greeting": "Hello"}
    clock.forward(hours=7)
    assert cleaned() == 0
    assert [path.name for path in files(storage)] == [Path(cast.artifacts.get().file.name).name]


def test_a_worker_that_stood_still_gives_no_artifact_a_file_that_is_being_deleted(ran, storage, clock, monkeypatch):
    cast = ran([remote(RESULT)], RESULT)
    save = FileSystemStorage._save  # type: ignore[attr-defined]

    def slow(self, name, content):
        saved = save(self, name, content)
        clock.forward(hours=7)
        assert cleaned() == 0
        return saved

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", slow)
        step(cast)
    assert (cast.artifacts.get().state, files(storage)) == ("pending", [])


def test_a_file_that_can_not_be_deleted_is_tried_again(ran, storage, clock, monkeypatch):
    cast = ran([remote(RESULT)], RESULT)
    step(cast)
    clock.forward(days=31)
    copier(cast.artifacts.get())

    def away(self, name):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", away)
        assert cleaned() == 1
    assert cleaned() == 1  # not at once
    clock.forward(seconds=31)
    assert (cleaned(), files(storage)) == (0, [])


def test_artifacts_of_an_installation_that_was_removed_are_given_up(ran, runtime, settings):
    settings.CAST_ARTIFACT_WAIT_SECONDS = 0
    cast = ran([remote(RESULT)], AccessLost("The App was uninstalled.", reason="installation_removed"))
    step(cast)
    [row] = Artifact.due_rows().claim(limit=5, lease=dt.timedelta(seconds=30))
    assert ArtifactWork().step(row) is None
    row.refresh_from_db()
    assert (row.state, row.error) == ("failed", "The App was uninstalled.")


def test_a_result_that_can_not_be_read_again_is_waited_for_and_then_costs_nothing(ran, runtime, clock, monkeypatch):
    cast = ran([remote(RESULT)], RESULT)

    def gone(*_):
        raise FileNotFoundError("the file is gone")

    monkeypatch.setattr(results, "read_files", gone)
    assert step(cast) is not None
    assert not cast.final
    clock.forward(seconds=121)
    assert step(cast) is None
    assert (cast.status, cast.status_reason) == ("failed", "output_lost")
    assert [kind for kind, _ in ledger(cast)] == ["hold", "release"]
    assert runtime.count("remarks") == 0  # asked once, when nothing is left to wait for


def test_no_list_is_waited_for_of_an_installation_that_was_removed(ran, runtime, settings):
    settings.CAST_ARTIFACT_WAIT_SECONDS = 0
    cast = ran([], {})
    for asked in ("artifacts", "observe"):
        runtime.answers[asked] = AccessLost("The App was uninstalled.", reason="installation_removed")
    assert step(cast) is None
    assert cast.final


def test_a_list_that_can_not_be_had_is_waited_for(ran, runtime):
    cast = ran([], {})
    runtime.answers["artifacts"] = NotNow("away")
    step(cast)
    assert not cast.final
    runtime.answers["artifacts"] = []
    step(cast)
    assert cast.status == "succeeded"


def test_no_cast_ends_without_a_result_that_github_could_not_even_list(ran, runtime, clock):
    promise = {"output_schema": {"type": "object", "required": ["greeting"]}}
    cast = ran([remote(RESULT)], RESULT, **promise)
    listed, seen = runtime.answers["artifacts"], runtime.answers["observe"]
    runtime.answers["artifacts"] = NotNow("rate limit", retry_at=clock.now + dt.timedelta(hours=1))
    runtime.answers["observe"] = runtime.answers["artifacts"]
    for _ in range(3):
        clock.forward(minutes=20)
        assert wait(cast) <= dt.timedelta(seconds=30)
        assert (cast.status, ledger(cast)) == ("running", [("hold", 5)])
    runtime.answers |= {"artifacts": listed, "observe": seen}
    step(cast)
    assert (cast.status, cast.output, cast.artifacts.get().state) == ("succeeded", {"greeting": "Hello"}, "stored")


@pytest.mark.parametrize("why", ["the run is deleted", "a day has passed"])
def test_a_list_that_will_never_come_is_waited_for_no_longer(ran, runtime, clock, why):
    cast = ran([remote(RESULT)], RESULT)
    runtime.answers["artifacts"] = NotNow("404")
    clock.forward(seconds=121)
    assert step(cast) is not None
    if why == "the run is deleted":
        runtime.answers["observe"] = RunGone("404")
    else:
        clock.forward(days=1)
    assert step(cast) is None
    ended = ("failed", "run_deleted", 0) if why == "the run is deleted" else ("succeeded", "succeeded", 5)
    assert (cast.status, cast.status_reason, cast.charged_cents, cast.output) == (*ended, None)


def test_looking_twice_copies_once(ran, runtime, storage):
    cast = ran([remote(RESULT), remote(b"x", "late", 2)], {"spell-result": RESULT, "late": NotNow("later")})
    step(cast)
    runtime.answers["download"] = {"late": b"x"}  # spell-result would now be a KeyError
    step(cast)
    assert cast.final
    assert len(files(storage)) == 2


def test_two_who_copy_at_once_leave_one_copy(ran, runtime, storage):
    cast = ran([remote(RESULT)], RESULT)

    def beaten(artifact):
        runtime.answers["download"] = RESULT
        from casts.execution.artifacts import copy

        copy(Artifact.objects.get(pk=artifact.pk))
        return RESULT

    runtime.answers["download"] = beaten
    step(cast)
    assert cast.final
    assert (cleaned(), len(files(storage))) == (0, 1)
    with cast.artifacts.get().file.open() as kept:
        assert kept.read() == RESULT


# --- what the result says --------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["greeting"], "properties": {"greeting": {"type": "string"}}}


def test_a_result_that_keeps_the_promise_is_the_output(ran):
    cast = ran([remote(RESULT)], RESULT, output_schema=SCHEMA)
    step(cast)
    assert (cast.status, cast.output) == ("succeeded", {"greeting": "Hello"})


@pytest.mark.parametrize(
    ("text", "pointer"),
    [('{"greeting": 5}', "/output/greeting"), ("{}", "/output"), (None, "/output")],
)
def test_a_result_that_breaks_the_promise_fails_the_cast_and_says_where(ran, text, pointer, spell):
    content = packed(other="") if text is None else packed(**{"result.json": text})
    cast = ran([remote(content)], content, output_schema=SCHEMA)
    step(cast)
    assert (cast.status, cast.status_reason) == ("failed", "output_invalid")
    assert [e["pointer"] for e in cast.error["errors"]] == [pointer]
    assert "output schema" in cast.message
    assert ledger(cast) == [("hold", 5), ("capture", 5)]  # the run's own failure


UNREADABLE = {
    "no JSON": (b"Hello", "is not JSON: Expecting value"),
    "half of it": (b"[", "is not JSON"),
    "Latin-1": ('{"greeting": "Zoë"}'.encode("latin-1"), "is not UTF-8: invalid continuation byte at byte 16."),
    "NUL": (b'{"greeting": "\\u0000"}', "NUL"),
    "too deep": (b"[" * 200 + b"]" * 200, "nested"),
    "too large": (b" " * 300_000, "larger than 262144 bytes"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_result_that_can_not_be_read_says_why_and_nothing_of_a_schema(ran, api, schema, name):
    text, why = UNREADABLE[name]
    content = packed(**{"result.json": text})
    cast = ran([remote(content)], content, output_schema=schema)
    step(cast)
    shown = json.loads(api.get(f"/casts/{cast.pk}").content)
    assert (shown["status"], shown["status_reason"], shown["output"]) == ("failed", "output_invalid", None)
    [error] = shown["error"]["errors"]
    for told in (shown["message"], shown["error"]["message"], error["detail"]):
        assert f"result.json {why}" in told or why in told
        assert "schema" not in told
    assert ledger(cast) == [("hold", 5), ("capture", 5)]


def test_a_result_with_a_byte_order_mark_is_the_output(ran):
    content = packed(**{"result.json": '\ufeff{"greeting": "Zoë"}'.encode()})
    cast = ran([remote(content)], content, output_schema=SCHEMA)
    step(cast)
    assert (cast.status, cast.output) == ("succeeded", {"greeting": "Zoë"})


def test_a_result_that_could_not_be_copied_is_not_called_missing(ran, settings):
    settings.ARTIFACT_MAX_BYTES = 10
    cast = ran([remote(RESULT)], RESULT, output_schema=SCHEMA)
    step(cast)
    assert cast.status_reason == "output_invalid"
    [error] = cast.error["errors"]
    assert "could not be copied" in error["detail"]
    assert "left no" not in cast.message + error["detail"]
    assert "schema" not in cast.message


def test_no_result_at_all_breaks_the_promise(ran):
    cast = ran([], {}, output_schema=SCHEMA, charge_failed_runs=False)
    step(cast)
    assert cast.status_reason == "output_invalid"
    assert ledger(cast) == [("hold", 5), ("release", 5)]


def test_a_result_that_is_no_json_fails_also_a_spell_that_promised_nothing(ran):
    content = packed(**{"result.json": "Hello"})
    cast = ran([remote(content)], content)
    step(cast)
    assert (cast.status, cast.status_reason) == ("failed", "output_invalid")


def test_a_broken_promise_shows_the_output_all_the_same(ran, api):
    content = packed(**{"result.json": '{"greeting": 5}'})
    cast = ran([remote(content)], content, output_schema=SCHEMA)
    step(cast)
    assert json.loads(api.get(f"/casts/{cast.pk}").content)["output"] == {"greeting": 5}


# --- retention -------------------------------------------------------------------------------------------------------


def test_a_copy_is_deleted_when_its_time_is_over_and_not_before(ran, clock, storage):
    cast = ran([remote(RESULT)], RESULT, artifact_retention_days=2)
    step(cast)
    artifact = cast.artifacts.get()
    clock.forward(days=1)
    assert Artifact.due_rows().claim(limit=9, lease=LEASE) == []
    Artifact.due_rows().wake(pk=artifact.pk)
    assert copier(artifact) == dt.timedelta(days=1)
    assert len(files(storage)) == 1
    clock.forward(days=1)
    assert copier(artifact) is None
    assert (artifact.state, artifact.file.name, cleaned(), files(storage)) == ("expired", "", 0, [])
    assert artifact.due_at is None
    assert Cast.objects.get(pk=cast.pk).output == {"greeting": "Hello"}  # the output outlives its file


def test_a_copy_whose_file_is_already_gone_expires_without_complaint(ran, clock, storage):
    cast = ran([remote(RESULT)], RESULT)
    step(cast)
    for path in files(storage):
        path.unlink()
    clock.forward(days=30)
    artifact = cast.artifacts.get()
    copier(artifact)
    assert artifact.state == "expired"


@pytest.mark.parametrize("conclusion", ["failure", "success"])
def test_a_run_that_ended_and_is_gone_costs_nothing_and_is_not_waited_for(ran, runtime, clock, conclusion):
    cast = ran(NotNow("GitHub: Not Found"), {}, conclusion=conclusion)
    runtime.answers["observe"] = RunGone("404")
    assert step(cast) is not None
    assert not cast.final  # it may be unknown to some of GitHub's servers for a moment
    clock.forward(seconds=16)
    assert step(cast) is None
    assert (cast.status, cast.status_reason, cast.charged_cents) == ("failed", "run_deleted", 0)
    assert "no longer exists" in cast.error["message"]


def test_what_is_in_a_copy_is_noted_with_it_and_forgotten_with_it(ran, clock):
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\5\0\0\0\7"
    left = {"charts": packed(**{"a.png": picture, "b.txt": "b"}), "broken": b"PK\3\4 no zip"}
    cast = ran([remote(content, name, n) for n, (name, content) in enumerate(left.items(), 1)], left)
    step(cast)
    noted = {row.artifact.name: (row.files, row.members) for row in ArtifactContents.objects.select_related("artifact")}
    shown = {"name": "a.png", "size": len(picture), "type": "image/png", "width": 5, "height": 7}
    assert noted == {"charts": (2, [shown, {"name": "b.txt", "size": 1}]), "broken": (None, [])}
    clock.forward(days=31)
    for artifact in cast.artifacts.all():
        copier(artifact)
    assert not ArtifactContents.objects.exists()
