"""The pages of the project: every Markdown file that is written for people, and none that was copied from elsewhere."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *DOCS.rglob("*.md")])


def name_of(page: Path) -> str:
    """Return a page's path within the project, such as "docs/reference/api.md"."""
    return page.relative_to(ROOT).as_posix()
