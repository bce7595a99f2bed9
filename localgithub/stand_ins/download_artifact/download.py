"""What actions/download-artifact does, from the directory that the upload wrote; standard library only."""

import fnmatch
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any


def fail(message: str) -> None:
    print(f"::error::{message}")
    sys.exit(1)


def known(stores: str) -> list[dict[str, Any]]:
    """Return the artifacts of the run, the newest of each name: a later folder is a later attempt's."""
    found: dict[str, dict[str, Any]] = {}
    for store in filter(None, stores.split(os.pathsep)):
        for file in sorted(Path(store).glob("*.json"), reverse=True):
            facts = json.loads(file.read_text(encoding="utf-8"))
            found.setdefault(facts["name"], {**facts, "file": file.with_suffix(".bin")})
    return sorted(found.values(), key=lambda facts: str(facts["name"]))


def main() -> None:
    env = os.environ
    if env["ARTIFACT_RUN"] not in ("", env["GITHUB_RUN_ID"]) or env["ARTIFACT_REPOSITORY"] not in (
        "", env["GITHUB_REPOSITORY"],
    ):  # fmt: skip
        fail("actions/download-artifact can't take artifacts of another run or repository on the local GitHub.")
    name, pattern = env["ARTIFACT_NAME"], env["ARTIFACT_PATTERN"]
    ids = {one.strip() for one in env["ARTIFACT_IDS"].split(",") if one.strip()}
    wanted = known(env["LOCAL_GITHUB_ARTIFACTS"])
    if name:
        wanted = [one for one in wanted if one["name"] == name]
    elif ids:
        wanted = [one for one in wanted if str(one["id"]) in ids]
    elif pattern:
        wanted = [one for one in wanted if fnmatch.fnmatchcase(str(one["name"]), pattern)]
    if (name or ids) and not wanted:
        fail(f"Unable to download artifact(s): Artifact not found for name: {name or ', '.join(sorted(ids))}")
    target = Path(env["GITHUB_WORKSPACE"]) / (Path(env["ARTIFACT_PATH"]).expanduser() if env["ARTIFACT_PATH"] else ".")
    flat = bool(name) or env["ARTIFACT_MERGE"] == "true" or (bool(ids) and len(wanted) == 1)
    for one in wanted:
        folder = target if flat else target / one["name"]
        folder.mkdir(parents=True, exist_ok=True)
        if one["zip"]:
            with zipfile.ZipFile(one["file"]) as archive:
                archive.extractall(folder)
        else:
            shutil.copyfile(one["file"], folder / one["name"])
        print(f"Artifact {one['name']} ({one['size']} bytes) was downloaded to {folder}")
    print(f"Total of {len(wanted)} artifact(s) downloaded")
    with open(env["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"download-path={target}\n")


if __name__ == "__main__":
    main()
