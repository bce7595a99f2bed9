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
