import subprocess
import sys
from pathlib import Path

import pytest

from localgithub.namefile import read_names

from .test_command import ROOT


def test_names_are_read_as_people_write_them(tmp_path: Path):
    file = tmp_path / "secrets"
    file.write_bytes(
        "\ufeff# mine\n\nPLAIN=a=b # not this\nexport low = spaced \nSINGLE='$x \\n # stays'\n"
        'DOUBLE="one\\ntwo \\"three\\"" # comment\nEMPTY=\nKEY="-----BEGIN\nab\n-----END"\nUMLAUT=Zoë'.encode()
    )
    assert read_names(file) == {
        "PLAIN": "a=b", "LOW": "spaced", "SINGLE": "$x \\n # stays", "DOUBLE": 'one\ntwo "three"', "EMPTY": "",
        "KEY": "-----BEGIN\nab\n-----END", "UMLAUT": "Zoë",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\nhunter2\n", "line 2 of .* is no NAME=value"),
        ("1A=hunter2", "line 1 of .* is no NAME=value"),
        ("B='hunter2\nmore", "line 1 of .*: the quote of B does not end"),
        ("GITHUB_TOKEN=hunter2", "line 1 of .*: GITHUB_TOKEN begins with GITHUB_"),
    ],
)
def test_wrong_line_is_named_and_not_shown(tmp_path: Path, text, words):
    file = tmp_path / "secrets"
    file.write_text(text)
    with pytest.raises(SystemExit, match=words) as error:
        read_names(file)
    assert "hunter2" not in str(error.value)


@pytest.mark.processes
def test_program_ends_with_one_sentence_if_a_file_is_wrong(tmp_path: Path):
    (tmp_path / "secrets").write_text("hunter2\n")
    arguments = ["--repository", f"o/r={tmp_path}", "--secrets", str(tmp_path / "secrets")]
    command = [sys.executable, "-m", "localgithub", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is no NAME=value" in done.stderr
    assert "hunter2" not in done.stderr
