import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_demo_runs_in_a_folder_with_any_name(tmp_path: Path):
    """A space, both quotes, an umlaut, and what a shell, a URL or make would read as theirs."""
    folder = tmp_path / 'it\'s my "spells" (é) #1 +50%? $x'
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    command = [sys.executable, "manage.py", "demo", "--once"]
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}  # not the tests' settings
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done." in done.stdout
    assert done.stdout.endswith(f"Logs           {folder}/var/demo/logs\n\nStopped.\n")
    assert "http" not in done.stdout, "nothing answers there any more"
    assert (folder / "var" / "demo" / "spell.sqlite3").is_file()
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
