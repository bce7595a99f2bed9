"""Names of files that strangers chose, for those who save them."""

from __future__ import annotations

import unicodedata

NAME_CHARS = 100  # before the last dot, and after it


def safe_name(name: str) -> str:
    """Return a file's name without what leads elsewhere or deceives the eye.

    That is: folders, drives, a hidden file's dot, line breaks and other controls, and marks that turn the direction of
    writing, by which `exe.txt` may be shown for `txt.exe`.
    """
    kept = "".join("_" if char in '/\\:"<>|?*' or unicodedata.category(char)[0] == "C" else char for char in name)
    stem, dot, ending = kept.strip(" .").rpartition(".")
    short = f"{stem[:NAME_CHARS]}{dot}{ending[:NAME_CHARS]}"
    return short or "artifact"


# Names that are devices on Windows, whatever their ending.
# Source: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = frozenset(("con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))))
FOLDERS = 20  # within each other; what is deeper is beside those


class Names:
    """Names of files in one folder that are safe to unpack anywhere, and different from each other on any system."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def unique(self, path: str) -> str:
        """Return a path of a file, as a stranger chose it, with what must be changed of it changed."""
        parts = [safe_part(part) for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        name = "/".join(parts[:FOLDERS] + parts[-1:] if len(parts) > FOLDERS else parts) or "file"
        folder, slash, last = name.rpartition("/")
        stem, dot, ending = last.rpartition(".") if "." in last[1:] else (last, "", "")
        number = 1
        while self.clashes(name):
            number += 1
            name = f"{folder}{slash}{stem} ({number}){dot}{ending}"
        self.taken |= {folded(name), *(f"{folded(one)}/" for one in above(name))}
        return name

    def clashes(self, name: str) -> bool:
        """Whether it is there, or is a folder; or a file is where it needs a folder."""
        whole = folded(name)
        return whole in self.taken or f"{whole}/" in self.taken or any(folded(one) in self.taken for one in above(name))


def safe_part(part: str) -> str:
    hidden = "." if part.startswith(".") else ""
    safe = (hidden + safe_name(part)).rstrip(" .")
    return f"_{safe}" if safe.partition(".")[0].rstrip().lower() in DEVICES else safe


def above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
