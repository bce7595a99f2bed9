"""Where credentials are written: nothing is lost, nobody else reads them, and what can't be is said before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from github_integration.connecting.places import APP_ID, INSTALLATION, KEY, CantWrite, EnvFile, SecretsFolder, place_of

VALUES = {APP_ID: "7", KEY: "-----BEGIN X-----\nkey\n", "GITHUB_WEBHOOK_SECRET": "hush", INSTALLATION: ""}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_of_settings_keeps_every_line(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text(f"# ours\nOTHER=1\n{APP_ID}=6\n{INSTALLATION}=3\n{KEY}_FILE=/run/key\n")
    file.chmod(0o644)
    place = place_of(str(file))
    place.check()
    told = place.write(VALUES)
    text = file.read_text()
    for line in ("# ours", "OTHER=1", f"# {APP_ID}=6", f"# {INSTALLATION}=3", f"# {KEY}_FILE=/run/key", f"{APP_ID}=7"):
        assert line in text.splitlines()
    assert INSTALLATION not in place.read()
    assert place.read()[KEY] == VALUES[KEY]
    assert (mode(file), mode(tmp_path / "github-app-7.pem")) == (0o600, 0o600)
    assert "hush" not in "".join(told)
    assert "BEGIN" not in text + "".join(told)
    assert any("0644" in line for line in told)
    assert place.write(VALUES) == []
    place.write({KEY: "-----BEGIN X-----\nanother\n", APP_ID: "7"})
    assert (tmp_path / "github-app-7.pem").read_text() == VALUES[KEY]  # the earlier key stays
    assert place.read()[KEY] == "-----BEGIN X-----\nanother\n"


def test_a_folder_of_secrets_keeps_what_it_replaces(tmp_path: Path):
    folder = tmp_path / "secrets"
    place = place_of(f"{folder}/")
    place.check()
    told = place.write(VALUES)
    assert place.read() == {name: value.strip() for name, value in VALUES.items() if value}
    assert (mode(folder), mode(folder / "github_app_private_key")) == (0o700, 0o600)
    assert f"{KEY}_FILE={folder}/github_app_private_key" in told
    place.write({APP_ID: "8"})
    assert place.read()[APP_ID] == "8"
    assert [file.read_text() for file in folder.glob(".github_app_id.replaced-*")] == ["7"]


def broken(tmp_path: Path, how: str) -> EnvFile | SecretsFolder:
    file = tmp_path / ".env"
    if how == "link":
        (tmp_path / "real").write_text("A=1\n")
        file.symlink_to(tmp_path / "real")
    elif how == "folder":
        (file / "inner").mkdir(parents=True)
        return EnvFile(file)
    elif how == "not text":
        file.write_bytes(b"\xff\xfeA")
    elif how == "not settings":
        file.write_text("A=1\nsome words\n")
    elif how == "open folder":
        tmp_path.chmod(0o777)
    elif how == "no folder":
        return EnvFile(tmp_path / "nowhere" / ".env")
    elif how == "a file for a folder":
        file.write_text("A=1\n")
        return SecretsFolder(file / "secrets")
    return EnvFile(file)


HOW = ("link", "folder", "not text", "not settings", "open folder", "no folder", "a file for a folder")


@pytest.mark.parametrize("how", HOW)
def test_what_can_not_be_written_is_said_before_there_is_an_app(tmp_path: Path, how: str):
    place = broken(tmp_path, how)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CantWrite):
        place.check()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_closed_to_us_is_said_before(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(CantWrite, match="Permission denied"):
        EnvFile(tmp_path / ".env").check()
