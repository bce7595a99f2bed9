"""What actions/checkout does, as far as there is something to check out; standard library only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def fail(message: str) -> None:
    print(f"::error::{message}")
    sys.exit(1)


def clone(repository: str, ref: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    source = f"{os.environ['LOCAL_GITHUB_SOURCE']}/{repository}"
    for command in (
        ["init", "-q"],
        ["fetch", "-q", "--depth", "1", source, ref or "HEAD"],
        ["checkout", "-q", "-f", "FETCH_HEAD"],
    ):
        # No prompt: git would wait for a password that never comes.
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(
            ["git", "-C", str(target), *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["git failed"])[-1]
            fail(f"actions/checkout can't fetch {repository} from {os.environ['LOCAL_GITHUB_SOURCE']}: {said}")


def main() -> None:
    env = os.environ
    repository, ref = env["CHECKOUT_REPOSITORY"], env["CHECKOUT_REF"]
    target = Path(env["GITHUB_WORKSPACE"]) / (env["CHECKOUT_PATH"] or ".")
    if repository and repository.lower() != env["GITHUB_REPOSITORY"].lower():
        clone(repository, ref, target)
        return
    if ref not in ("", env["GITHUB_REF"], env["GITHUB_REF_NAME"], env["GITHUB_SHA"]):
        fail(
            f"actions/checkout of {ref} can't run here: the local GitHub has the working tree as it is, "
            f"{env['GITHUB_REF_NAME']}, and no other ref."
        )
    shutil.copytree(
        env["LOCAL_GITHUB_TREE"], target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git")
    )
    with open(env["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"ref={env['GITHUB_REF']}\ncommit={env['GITHUB_SHA']}\n")


if __name__ == "__main__":
    main()
