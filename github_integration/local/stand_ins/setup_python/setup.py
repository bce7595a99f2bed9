"""What actions/setup-python does, with the Pythons of this machine; standard library only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def fail(message: str) -> None:
    """End the step as the real action would."""
    print(f"::error::{message}")
    sys.exit(1)


def wanted(versions: str, file: str) -> str:
    """Return the first version that is asked for, as `3.12`; empty for any."""
    text = versions
    if not text.strip() and file:
        path = Path(os.environ["GITHUB_WORKSPACE"]) / file
        if not path.is_file():
            fail(f"The specified python version file at: {path} doesn't exist.")
        text = path.read_text(encoding="utf-8-sig")
    found = re.search(r"(\d+)(?:\.(\d+))?", text)
    return found[0] if found else ""


def make(program: str, folder: Path) -> None:
    """Make a virtual environment; pip is run out of its wheel, as to install it would take ten seconds."""
    code = "import ensurepip, pathlib; print(next(pathlib.Path(ensurepip.__file__).parent.glob('_bundled/pip-*.whl')))"
    asked = subprocess.run([program, "-I", "-c", code], capture_output=True, text=True, check=False)
    wheel = asked.stdout.strip()
    without = ["--without-pip"] if wheel else []
    command = [program, "-I", "-m", "venv", *without, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"actions/setup-python can't make a virtual environment of {program}: {done.stdout}{done.stderr}")
    if wheel:
        next(folder.glob("lib/python*/site-packages")).joinpath("pip-of-python.pth").write_text(wheel + "\n")
        for name in ("pip", "pip3"):
            (folder / "bin" / name).write_text('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
            (folder / "bin" / name).chmod(0o755)


def main() -> None:
    """Find a Python, make a virtual environment of it, and put it first on the path."""
    env = os.environ
    version = wanted(env["SETUP_VERSION"], env["SETUP_FILE"])
    program = (shutil.which(f"python{version}") if "." in version else None) or env["LOCAL_GITHUB_PYTHON"]
    folder = Path(env["RUNNER_TEMP"]) / f"python-{version or 'any'}"
    if not (folder / "bin" / "python").exists():
        make(program, folder)
    python = folder / "bin" / "python"
    asked = [str(python), "-c", "import platform; print(platform.python_version())"]
    have = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if version and not f"{have}.".startswith(f"{version}."):
        print(f"::warning::Python {version} is not on this machine: this is {have}.")
    print(f"Python {have} in {folder}")
    with open(env["GITHUB_PATH"], "a", encoding="utf-8") as path:
        path.write(f"{folder / 'bin'}\n")
    with open(env["GITHUB_ENV"], "a", encoding="utf-8") as variables:
        variables.write(f"VIRTUAL_ENV={folder}\npythonLocation={folder}\n")
    with open(env["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"python-version={have}\npython-path={python}\n")


if __name__ == "__main__":
    main()
