"""A folder for runs whose path has no character that a shell, act or an action mishandles."""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from localgithub.processes import kill_left

_PLAIN = re.compile(r"[\w./-]+$", re.ASCII)


def workplace(state_dir: Path) -> Path:
    """Return the folder, which lies in the system's temporary folder and depends on `state_dir` only."""
    base = Path(tempfile.gettempdir()).resolve()
    if not _PLAIN.match(str(base)):
        base = Path("/tmp")  # noqa: S108 made for us alone, below
    name = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]
    return base / f"localgithub-{os.getuid()}-{name}"


def make_workplace(state_dir: Path) -> Path:
    """Create the folder anew and remove what earlier processes left. Raise RuntimeError if it is somebody else's."""
    folder = workplace(state_dir)
    if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != os.getuid()):
        raise RuntimeError(f"{folder} is not ours; remove it")
    for left in folder.parent.glob(f"localgithub-{os.getuid()}-*"):
        if left == folder or not _lives(left):
            kill_left(left)
            shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / "pid").write_text(str(os.getpid()))
    return folder


def _lives(folder: Path) -> bool:
    """Whether the process that made a folder still runs; a folder without a process id is just being made."""
    try:
        os.kill(int((folder / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return True
