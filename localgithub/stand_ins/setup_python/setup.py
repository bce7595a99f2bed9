"""What actions/setup-python does, with the Pythons of this machine; standard library only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def fail(message: str) -> None:
    print(f"::error::{message}")
    sys.exit(1)


def wanted(versions: str, file: str) -> str:
    """Return the first version asked for, such as `3.12`; empty for any."""
    text = versions
    if not text.strip() and file:
        path = Path(os.environ["GITHUB_WORKSPACE"]) / file
        if not path.is_file():
            fail(f"The specified python version file at: {path} doesn't exist.")
        text = path.read_text(encoding="utf-8-sig")
    found = re.search(r"(\d+)(?:\.(\d+))?", text)
    return found[0] if found else ""


def tells(program: str) -> str:
    """Return the version that a Python reports; empty if it doesn't run, such as a pyenv shim without that version."""
    asked = [program, "-I", "-S", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def is_version(have: str, version: str) -> bool:
    return f"{have}.".startswith(f"{version}.")


def find(version: str) -> str:
    """Return the first Python on the PATH that runs and has this version, empty if there is none."""
    for folder in os.environ["PATH"].split(os.pathsep) if "." in version else []:
        for name in (f"python{version}", "python3", "python"):
            program = shutil.which(name, path=folder) if folder else None
            if program and is_version(tells(program), version):
                return program
    return ""


def make(program: str, folder: Path) -> str:
    """Create a virtual environment; return why that failed, empty if it did not."""
    code = "import ensurepip, pathlib; print(next(pathlib.Path(ensurepip.__file__).parent.glob('_bundled/pip-*.whl')))"
    asked = subprocess.run([program, "-I", "-c", code], capture_output=True, text=True, check=False)
    wheel = asked.stdout.strip()
    # pip runs out of the wheel that Python brings along, because installing it is slow.
    without = ["--without-pip"] if wheel else []
    command = [program, "-I", "-m", "venv", *without, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        return f"actions/setup-python can't make a virtual environment of {program}: {done.stdout}{done.stderr}"
    if wheel:
        next(folder.glob("lib/python*/site-packages")).joinpath("pip-of-python.pth").write_text(wheel + "\n")
        for name in ("pip", "pip3"):
            (folder / "bin" / name).write_text('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
            (folder / "bin" / name).chmod(0o755)
    return ""


def main() -> None:
    env = os.environ
    version = wanted(env["SETUP_VERSION"], env["SETUP_FILE"])
    folder = Path(env["RUNNER_TEMP"]) / f"python-{version or 'any'}"
    if not (folder / "bin" / "python").exists():
        found = find(version)
        # Some systems ship a Python without what a virtual environment needs; our own has it.
        if (not found or make(found, folder)) and (why := make(env["LOCAL_GITHUB_PYTHON"], folder)):
            fail(why)
    python = folder / "bin" / "python"
    have = tells(str(python))
    if version and not is_version(have, version):
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
