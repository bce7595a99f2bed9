"""What actions/cache does, in a folder that the local GitHub keeps as long as it lives; standard library only."""

import glob
import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any


def fail(message: str) -> None:
    print(f"::error::{message}")
    sys.exit(1)


def store() -> Path:
    folder = Path(os.environ["LOCAL_GITHUB_CACHES"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def version(paths: str) -> str:
    """Return what keeps caches of different paths apart, as on GitHub."""
    return hashlib.sha256("\n".join(line.strip() for line in paths.splitlines()).encode()).hexdigest()[:16]


def find(paths: str, key: str, others: str) -> dict[str, Any] | None:
    """Return the cache with this key, else the newest whose key begins with one of the others."""
    known = [json.loads(file.read_text(encoding="utf-8")) for file in store().glob("*.json")]
    known = sorted((one for one in known if one["version"] == version(paths)), key=lambda one: -one["made"])
    exact = [one for one in known if one["key"] == key]
    begins = [one for start in filter(None, map(str.strip, others.splitlines())) for one in known
              if one["key"].startswith(start)]  # fmt: skip
    return next(iter(exact + begins), None)


def save(paths: str, key: str) -> None:
    """Store the paths, unless there is a cache with this key."""
    name = hashlib.sha256(f"{key}\n{version(paths)}".encode()).hexdigest()[:32]
    target = store() / f"{name}.json"
    if target.exists():
        print(f"Cache hit occurred on the primary key {key}, not saving cache.")
        return
    lines = [line.strip() for line in paths.splitlines() if line.strip() and not line.strip().startswith("!")]
    found = [hit for line in lines for hit in glob.glob(os.path.expanduser(line), recursive=True)]
    if not found:
        print("::warning::Path Validation Error: Path(s) specified in the action for caching do(es) not exist.")
        return
    draft = store() / f"{name}.{os.getpid()}"
    with tarfile.open(draft, "w:gz", compresslevel=1) as archive:
        for hit in found:
            archive.add(os.path.abspath(hit))
    # By renaming, and the facts last, so that a job running beside this one never finds half a cache.
    draft.rename(store() / f"{name}.tar")
    facts = {"key": key, "version": version(paths), "made": os.stat(store() / f"{name}.tar").st_mtime, "file": name}
    draft.write_text(json.dumps(facts | {"workspace": os.environ["GITHUB_WORKSPACE"]}), encoding="utf-8")
    draft.rename(target)
    print(f"Cache saved with key: {key}")


def restore(found: dict[str, Any]) -> None:
    """Unpack a cache; paths in the workspace of the run that saved it become paths in this run's."""
    there = found["workspace"].lstrip("/") + "/"
    here = Path(os.environ["GITHUB_WORKSPACE"])
    with tarfile.open(store() / f"{found['file']}.tar") as archive:
        for member in archive.getmembers():
            inside = (member.name + "/").startswith(there)
            target = here / (member.name + "/").removeprefix(there).rstrip("/") if inside else Path("/") / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(member.linkname)
            elif (data := archive.extractfile(member)) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data.read())
                target.chmod(member.mode)


def main() -> None:
    """Do what the action's inputs, in the environment, ask for; `both` leaves a note for the end of the job."""
    env, kind = os.environ, sys.argv[1]
    notes = Path(env["RUNNER_TEMP"]) / "localgithub-caches"
    if kind == "save-all":
        for file in sorted(notes.glob("*.json")):
            save(*json.loads(file.read_text(encoding="utf-8")))
        return
    paths, key = env["CACHE_PATH"], env["CACHE_KEY"]
    if kind == "save":
        save(paths, key)
        return
    found = find(paths, key, env["CACHE_OTHER_KEYS"])
    if kind == "both":
        notes.mkdir(parents=True, exist_ok=True)
        note = notes / f"{len([*notes.iterdir()]):04}.json"
        note.write_text(json.dumps([paths, key]), encoding="utf-8")
    if found is None:
        print(f"Cache not found for input keys: {key}")
        if env["CACHE_MUST_HIT"] == "true":
            fail(f"Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}")
    elif env["CACHE_ASK_ONLY"] != "true":
        restore(found)
        print(f"Cache restored from key: {found['key']}")
    with open(env["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        matched = found["key"] if found else ""
        output.write(f"cache-hit={'' if found is None else str(matched == key).lower()}\n")
        output.write(f"cache-matched-key={matched}\n")


if __name__ == "__main__":
    main()
