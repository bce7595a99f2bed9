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
PATH_CHARS = 4096  # of a name in a zip, which may have 65,535; its end is what tells files apart
FOLDERS = 20  # within each other; what is deeper is beside those


class Names:
    """Names of files in one folder that are safe to unpack anywhere, and different from each other on any system."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.numbers: dict[str, int] = {}  # the last one of each name, not to be counted anew for thousands of the same

    def unique(self, path: str) -> str:
        """Return a path of a file, as a stranger chose it, with what must be changed of it changed."""
        parts = [
            safe_part(part) for part in path[-PATH_CHARS:].replace("\\", "/").split("/") if part not in ("", ".", "..")
        ]
        parts = (parts[:FOLDERS] + parts[-1:] if len(parts) > FOLDERS else parts) or ["file"]
        above: list[str] = []
        for number, part in enumerate(parts[:-1], 1):
            clashing = "/".join([*above[-1:], folded(part)])
            if clashing in self.files:  # so it is no folder here: what would be in it stands beside it
                parts = [*parts[: number - 1], safe_part("_".join(parts[number - 1 :]))]
                break
            above.append(clashing)
        *folder, last = parts
        stem, dot, ending = last.rpartition(".") if "." in last[1:] else (last, "", "")
        wanted = whole = "/".join([*above[-1:], folded(last)])
        number = self.numbers.get(wanted, 1)
        while whole in self.files or whole in self.folders:
            number += 1
            last = f"{stem} ({number}){dot}{ending}"
            whole = "/".join([*above[-1:], folded(last)])
        self.numbers[wanted] = number
        self.files.add(whole)
        self.folders.update(above)
        return "/".join([*folder, last])


def safe_part(part: str) -> str:
    hidden = "." if part.startswith(".") else ""
    safe = (hidden + safe_name(part)).rstrip(" .")
    return f"_{safe}" if safe.partition(".")[0].rstrip().lower() in DEVICES else safe


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
