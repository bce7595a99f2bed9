"""Branches, commits, folders and environments of a repository."""

from pathlib import Path

import pytest
import requests

from localgithub import contents
from localgithub.contents import Entry, Folder, find
from localgithub.repositories import Repository

from .conftest import Api
from .trees import git

QUICK = ".github/workflows/quick.yml"


@pytest.fixture
def head(tree: Path) -> str:
    return git(tree, "rev-parse", "main")


def minted(as_app: Api, base: str, **permissions: str) -> Api:
    answer = as_app.post("/app/installations/77/access_tokens", {"permissions": permissions})
    return Api(base, answer.json()["token"])


def test_head_of_a_branch_is_told_by_its_commit_and_by_its_id_alone(api: Api, head):
    shown = api.get(api.repo("commits/main")).json()
    assert (shown["sha"], shown["commit"]["message"]) == (head, "first")
    assert shown["commit"]["author"]["email"] == "test@localhost"
    for ref in ("main", "heads/main", "refs/heads/main", "v1", head, head[:7], "HEAD"):
        alone = api.get(api.repo(f"commits/{ref}"), headers={"Accept": "application/vnd.github.sha"})
        assert alone.text == head, ref
    assert api.get(api.repo("branches/main")).json()["commit"]["sha"] == head
    assert api.get(api.repo("branches/none")).json()["message"] == "Branch not found"


@pytest.mark.parametrize("ref", ["nowhere", "0" * 40, "main~0", "HEAD@{0}", ":/first", "--all", "ABC"])
def test_what_names_no_commit_is_refused(api: Api, ref):
    answer = api.get(api.repo(f"commits/{ref}"))
    assert (answer.status_code, answer.json()["message"]) == (422, f"No commit found for SHA: {ref}")
    assert api.get(api.repo(f"contents/{QUICK}"), params={"ref": ref}).status_code == 404


def test_folder_lists_what_it_holds(api: Api, head, tree):
    for ref in ("main", "v1", head):
        listed = api.get(api.repo("contents/.github/workflows"), params={"ref": ref}).json()
        named = {one["path"]: one for one in listed}
        assert named[QUICK]["sha"] == git(tree, "rev-parse", f"main:{QUICK}"), ref
        assert (named[QUICK]["type"], named[QUICK]["size"]) == ("file", (tree / QUICK).stat().st_size)
        assert "content" not in named[QUICK]
        for root in ("contents", "contents/"):
            top = api.get(api.repo(root), params={"ref": ref}).json()
            kinds = {one["name"]: one["type"] for one in top}
            assert (kinds[".github"], kinds["README.md"]) == ("dir", "file")
            assert not {".env", ".git"} & kinds.keys()
    as_object = {"Accept": "application/vnd.github.object+json"}  # whose form no fragment has
    whole = api.session.get(api.base + api.repo("contents/own"), headers=as_object, timeout=5).json()
    assert (whole["type"], [one["name"] for one in whole["entries"]]) == ("dir", ["action", "nested", "served"])


def test_links_and_large_files_are_what_github_makes_of_them(tmp_path):
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_text("inside")
    for name, target in {
        "good": "a/file",
        "out": "../secret",
        "absolute": "/etc/passwd",
        "folder": "a",
        "circle": "circle",
        "a/up": "../a/file",
    }.items():
        (root / name).symlink_to(target)
    (root / ":odd *?").write_text("odd")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-qm", "links")
    repository = Repository("octo-org/links", root)
    for commit in (None, repository.commit("main")):

        def at(path: str, commit=commit) -> Entry:
            found = find(repository, path, commit)
            assert isinstance(found, Entry), path
            return found

        assert [at(path).data for path in ("good", "a/up", ":odd *?")] == [b"inside", b"inside", b"odd"]
        for path, target in {"out": "../secret", "absolute": "/etc/passwd", "circle": "circle", "folder": "a"}.items():
            assert (at(path).kind, at(path).target, at(path).data) == ("symlink", target, b""), path
        top = find(repository, "", commit)
        assert isinstance(top, Folder)
        assert {one.name: one.kind for one in top.entries}["out"] == "symlink"
        for path in ("out/x", "../secret", "a/../../secret", "/etc/passwd", "a//file", "a\0", ".git/HEAD", "x" * 5000):
            assert find(repository, path, commit) is None, path


def test_long_folder_and_large_file_have_githubs_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MAX_FILE", 10)
    monkeypatch.setattr(contents, "MAX_LISTED", 3)
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_text("x" * 11)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "many")
    repository = Repository("octo-org/many", tmp_path)
    for commit in (None, repository.commit("main")):
        top, last = contents.find(repository, "", commit), contents.find(repository, "d", commit)
        assert isinstance(top, Folder)
        assert isinstance(last, Entry)
        assert [one.name for one in top.entries] == ["a", "b", "c"]
        assert (last.size, last.data) == (11, b"")


def test_tree_without_git_has_a_branch_and_a_commit_all_the_same(tmp_path):
    (tmp_path / "file").write_text("x")
    repository = Repository("octo-org/bare", tmp_path)
    sha = repository.commit("main")
    assert sha
    assert repository.read_commit(sha).message == "Working tree"
    for ref in ("main", sha):
        found = repository.find("file", ref)
        assert isinstance(found, Entry)
        assert found.data == b"x"


def test_new_commit_is_seen_at_once(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    repository = Repository("octo-org/quick", tmp_path)
    first = repository.commit("main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "two")
    repository.look_again()
    assert repository.commit("main") != first
    assert first
    assert repository.commit(first) == first


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("commits/main", "contents=read"),
        ("branches/main", "contents=read"),
        ("contents/README.md", "contents=read"),
        ("environments", "actions=read"),
        ("actions/workflows", "actions=read"),
        ("commits/main/status", "statuses=read"),
        ("commits/main/check-runs", "checks=read"),
    ],
)
def test_what_a_token_lacks_is_named(as_app: Api, path, needed):
    name = needed.partition("=")[0]
    others = {"actions", "contents", "checks", "statuses"} - {name}
    lacking = minted(as_app, as_app.base, **dict.fromkeys(others, "read"))
    answer = lacking.get(lacking.repo(path))
    assert (answer.status_code, answer.headers["X-Accepted-GitHub-Permissions"]) == (403, needed)
    having = minted(as_app, as_app.base, **{name: "read"})
    assert having.get(having.repo(path)).status_code == 200


def test_environments_are_listed_and_taken_by_dispatches(api: Api):
    shown = api.get(api.repo("environments")).json()
    assert [one["name"] for one in shown["environments"]] == ["production", "staging"]
    refused = api.dispatch("typed.yml", {"where": "nowhere"})
    assert refused.status_code == 422
    assert refused.json()["message"] == ("Provided value 'nowhere' for input 'where' not in the list of allowed values")
    assert api.dispatch("typed.yml", {"where": "staging"}).status_code == 204


def test_installation_names_its_repositories_page_by_page(api: Api):
    first = api.get("/installation/repositories?per_page=1")
    [shown] = first.json()["repositories"]
    assert first.json()["total_count"] == 2
    assert shown["default_branch"] == "main"
    assert shown["pushed_at"]
    assert "next" in first.links


def test_public_page_of_the_app_and_its_json_share_a_path(api: Api):
    assert api.get("/apps/local-spells").json()["slug"] == "local-spells"
    page = requests.get(api.base + "/apps/local-spells", headers={"Accept": "text/html"}, timeout=5)
    assert "/apps/local-spells/installations/new" in page.text


def test_git_is_asked_about_the_tree_whatever_git_dir_says(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q", "-b", name)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "two" / ".git"))
    assert Repository("octo-org/one", tmp_path / "one").default_branch == "one"
