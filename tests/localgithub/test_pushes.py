"""Pushes, told when somebody asks and, with --watch-pushes, when a head has changed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localgithub.config import Config
from localgithub.git import NOTHING
from localgithub.server import LocalGitHub

from .conftest import SECRET, Api, Receiver
from .trees import git

REPO = "octo-org/pushed"


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, "first", {"kept": "1", "gone": "1"})
    return root


def commit(root: Path, message: str, files: dict[str, str | None]) -> str:
    for name, text in files.items():
        (root / name).unlink() if text is None else (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def hub(pushed: Path, tmp_path: Path, receiver: Receiver) -> Iterator[LocalGitHub]:
    config = Config(
        repositories={REPO: pushed},
        state_dir=tmp_path / "state",
        port=0,
        app_id=2,  # so that what this one says is told apart at the receiver that all tests share
        installation_id=99,
        webhook_url=receiver.url,
        webhook_secret=SECRET,
    )
    server = LocalGitHub(config)
    server.start()
    yield server
    server.stop()


def told(receiver: Receiver, after: str, branch: str = "main") -> dict[str, Any]:
    """Wait for the push of a commit."""
    end, wanted = time.monotonic() + 20, (after, f"refs/heads/{branch}", REPO)
    while time.monotonic() < end:
        for headers, body in list(receiver.got):
            if headers["x-github-event"] == "push" and wanted == (
                body["after"],
                body["ref"],
                body["repository"]["full_name"],
            ):
                return body
        time.sleep(0.02)
    raise AssertionError(f"no push of {after}")


def push(hub: LocalGitHub, **body):
    known = Api(hub.config.base_url, hub.world.control_token)
    answer = known.session.post(f"{hub.config.base_url}/_local/push", json=body, timeout=10)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.processes
def test_push_names_what_has_changed_since_the_last(hub, pushed, receiver):
    before = git(pushed, "rev-parse", "HEAD")
    middle = commit(pushed, "second", {"kept": "2", "new": "1"})
    after = commit(pushed, "third\n\nwith more", {"gone": None})
    assert push(hub, repository=REPO) == {"ref": "refs/heads/main", "before": before, "after": after}
    body = told(receiver, after)
    assert [one["id"] for one in body["commits"]] == [middle, after]
    assert [(one["added"], one["modified"], one["removed"]) for one in body["commits"]] == [
        (["new"], ["kept"], []),
        ([], [], ["gone"]),
    ]
    assert (body["head_commit"]["message"], body["forced"], body["deleted"]) == ("third\n\nwith more", False, False)
    assert body["repository"]["default_branch"] == "main"
    assert isinstance(body["repository"]["pushed_at"], int)
    assert (body["installation"]["id"], body["sender"]["login"]) == (99, "local-person")
    assert push(hub)["before"] == middle  # told again, as if its newest commit had just come
    git(pushed, "reset", "-q", "--hard", before)
    amended = commit(pushed, "other", {"kept": "3"})
    push(hub, repository=REPO)
    assert told(receiver, amended)["forced"] is True


@pytest.mark.processes
def test_lost_push_is_in_the_log_alone_and_an_older_one_can_be_told_late(hub, pushed, receiver):
    first = git(pushed, "rev-parse", "HEAD")
    lost = commit(pushed, "lost", {"kept": "2"})
    push(hub, deliver=False)
    nowhere = commit(pushed, "nowhere", {"kept": "3"})
    push(hub, deliver="lose")
    last = commit(pushed, "last", {"kept": "4"})
    push(hub)
    assert told(receiver, last)["before"] == nowhere
    got = [body["after"] for headers, body in receiver.got if headers["x-github-event"] == "push"]
    assert lost not in got
    assert nowhere not in got
    assert [one.status_code for one in hub.world.hooks.log() if one.event == "push" and one.status != "OK"] == [502]
    assert len([one for one in hub.world.hooks._log if one.event == "push"]) == 2
    push(hub, after=lost, before=first)
    assert told(receiver, lost)["before"] == first


@pytest.mark.processes
def test_other_branches_are_told_made_and_deleted(hub, pushed, receiver):
    git(pushed, "branch", "side")
    head = git(pushed, "rev-parse", "side")
    assert push(hub, branch="side")["before"] == NOTHING
    assert told(receiver, head, "side")["created"] is True
    git(pushed, "branch", "-D", "side")
    push(hub, branch="side", after=None)
    body = told(receiver, NOTHING, "side")
    assert (body["deleted"], body["head_commit"], body["commits"]) == (True, None, [])


@pytest.mark.processes
def test_changed_heads_are_found_and_told_once(hub, pushed, receiver):
    after = commit(pushed, "watched", {"kept": "9"})
    git(pushed, "branch", "feature/x")
    hub.world.pushes.look()
    hub.world.pushes.look()
    told(receiver, after)
    told(receiver, after, "feature/x")
    git(pushed, "branch", "-D", "feature/x")
    hub.world.pushes.look()
    told(receiver, NOTHING, "feature/x")
    hub.world.pushes.look()
    assert len([one for one in hub.world.hooks._log if one.event == "push"]) == 3


@pytest.mark.processes
def test_app_that_may_not_read_contents_hears_of_no_push(hub, receiver):
    del hub.config.permissions["contents"]
    push(hub)
    assert [one for one in hub.world.hooks._log if one.event == "push"] == []
