"""The page of limits, as the table in the code has it. `python -m tests.limits` writes it anew."""

from __future__ import annotations

from core.limits import TABLE
from tests.pages import DOCS

PAGE = DOCS / "reference" / "limits.md"
HEAD = ["| what | at most | beyond | setting |", "|---|---|---|---|"]


def rendered(page: str) -> str:
    """Return the page with its first lines kept, and the table as the code has it."""
    lines = [page[: page.index("\n## ")].rstrip()]
    for section in dict.fromkeys(row.section for row in TABLE):
        lines += ["", f"## {section}", "", *HEAD]
        for row in (row for row in TABLE if row.section == section):
            setting = f" `{row.setting}` " if row.setting else " "
            lines.append(f"| {row.what} | {row.most:,} {row.unit} | {row.beyond} |{setting}|")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
