"""What actions/upload-artifact does, into a directory that the local GitHub reads; standard library only."""

import glob
import hashlib
import json
import os
import re
import sys
import time
import zipfile
from pathlib import Path

FORBIDDEN = re.compile(r'["<>|*?:\r\n\\/]')


def find(patterns: str, *, hidden: bool) -> tuple[list[Path], Path]:
    """Return the files that match the lines of `patterns`, and the directory to which their names are relative."""
    taken: set[Path] = set()
    roots: list[Path] = []
    for line in filter(None, (line.strip() for line in patterns.splitlines())):
        matches = [Path(m).absolute() for m in glob.glob(line.lstrip("!"), recursive=True, include_hidden=hidden)]
        files = {f for m in matches for f in ([m] if m.is_file() else m.rglob("*")) if f.is_file()}
        if line.startswith("!"):
            taken -= files
            continue
        taken |= files
        wild = re.split(r"[*?\[]", line)[0]
        root = Path(wild).absolute() if wild == line else Path(wild + "_").absolute().parent
        roots.append(root.parent if root.is_file() and wild != line else root)
    if len(roots) == 1 and roots[0].is_dir():
        base = roots[0]
    else:
        base = Path(os.path.commonpath([str(f.parent) for f in taken])) if taken else Path.cwd()
    if not hidden:
        taken = {f for f in taken if not any(part.startswith(".") for part in f.relative_to(base).parts)}
    return sorted(taken), base


def pack(files: list[Path], base: Path, target: Path, level: int) -> None:
    """Zip the files with fixed times and in order, so that equal content gives equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(base).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def fail(message: str) -> None:
    print(f"::error::{message}")
    sys.exit(1)


def main() -> None:
    env = os.environ
    store = Path(env["LOCAL_GITHUB_ARTIFACTS"])
    archive = env["ARTIFACT_ARCHIVE"] != "false"
    files, base = find(env["ARTIFACT_PATH"], hidden=env["ARTIFACT_HIDDEN"] == "true")
    if not files:
        path = env["ARTIFACT_PATH"].strip()
        message = f"No files were found with the provided path: {path}. No artifacts will be uploaded."
        if env["ARTIFACT_IF_NONE"] == "error":
            fail(message)
        print(f"::warning::{message}" if env["ARTIFACT_IF_NONE"] == "warn" else message)
        return
    if not archive and len(files) > 1:
        fail("When 'archive' is set to false, only a single file can be uploaded.")
    name = env["ARTIFACT_NAME"] if archive else files[0].name
    if not name or FORBIDDEN.search(name):
        fail(f"The artifact name is not valid: {name}")
    for known in store.glob("*.json"):
        if json.loads(known.read_text())["name"] == name:
            if env["ARTIFACT_OVERWRITE"] != "true":
                fail(
                    "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: "
                    "an artifact with this name already exists on the workflow run"
                )
            known.unlink()
    artifact_id = time.time_ns() // 1000
    target = store / f"{artifact_id}.bin"
    if archive:
        pack(files, base, target, int(env["ARTIFACT_LEVEL"] or 6))
    else:
        target.write_bytes(files[0].read_bytes())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    # GitHub's default, which is also the most here (GITHUB_RETENTION_DAYS).
    days = min(int(env["ARTIFACT_RETENTION"] or 0) or 90, 90)
    facts = {
        "id": artifact_id,
        "name": name,
        "size": target.stat().st_size,
        "sha256": digest,
        "days": days,
        "zip": archive,
    }
    # Renamed into place last: a reader that sees the .json finds everything else complete.
    draft = store / f"{artifact_id}.draft"
    draft.write_text(json.dumps(facts))
    draft.rename(store / f"{artifact_id}.json")
    print(f"With the provided path, there will be {len(files)} file(s) uploaded")
    print(f"SHA256 digest of uploaded artifact is {digest}")
    print(f"Artifact {name} has been successfully uploaded! Final size is {facts['size']} bytes.")
    print(f"Artifact ID is {artifact_id}")
    with open(env["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"artifact-id={artifact_id}\nartifact-digest={digest}\n")


if __name__ == "__main__":
    main()
