"""The artifacts of a cast, as its page lists them, with pictures and PDFs shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from casts.models import ArtifactContents, Cast
from casts.pages import presenter
from casts.pages.results.budget import Budget
from casts.pages.texts import time_text
from casts.runtime import Words, words_of
from core.limits import KIB
from core.numbers import counted

PICTURES, DOCUMENTS = 24, 6  # that are shown of all artifacts together
MEMBERS = 16 * KIB  # bytes of HTML for the files of all zips
DIGESTS = 30  # artifacts; a longer list is without their digests, which the API has
PDF = "application/pdf"


@dataclass(frozen=True)
class Preview:
    name: str
    url: str
    width: int | None  # None: it does not say
    height: int | None


@dataclass
class Line:
    """One artifact. `url`: None for those without bytes to send."""

    name: str
    url: str | None
    note: str
    size: str
    digest: str
    until: str | None
    until_text: str
    count: str = ""  # of its files, if it is a zip
    members: list[tuple[str, str]] = field(default_factory=list)  # names and sizes
    more: int = 0  # members that are left out

    @property
    def opens(self) -> bool:
        """Whether there is more to tell of it."""
        return bool(self.members or self.digest)


@dataclass
class Files:
    lines: list[Line]
    pictures: list[Preview]
    documents: list[Preview]
    zip_url: str | None
    zip_note: str
    hidden: int  # previews that are left out


def files_of(cast: Cast, shown: dict[str, Any]) -> Files:
    """Return the artifacts as the page has them; in one query, or none if there are none."""
    listed, words = shown["artifacts"], words_of(cast)
    inside: dict[str, ArtifactContents] = {}
    if any(one["state"] == "stored" for one in listed):
        rows = ArtifactContents.objects.filter(artifact__cast=cast).select_related("artifact")
        inside = {row.artifact.name: row for row in rows.only("files", "members", "artifact__name")}
    budget = Budget(MEMBERS)
    files = Files([], [], [], None, "", 0)
    for one in listed:
        line = line_of(one, words)
        if len(listed) > DIGESTS:
            line.digest = ""
        if line.url and (contents := inside.get(one["name"])):
            add_members(line, contents, budget)
            add_previews(files, line, contents)
        files.lines.append(line)
    files.zip_url, files.zip_note = zip_of(listed)
    return files


def line_of(one: dict[str, Any], words: Words) -> Line:
    notes = {"pending": words.copying, "failed": words.not_copied, "expired": "no longer kept"}
    stored = one["state"] == "stored"
    until = one["expires_at"] if stored else None
    day = time_text(until).partition(",")[0]
    return Line(
        name=one["file_name"],
        url=presenter.path_of(one["url"]) if stored else None,
        note=notes.get(one["state"], ""),
        size=presenter.size(one["size_bytes"]),
        digest=one["digest"] or "",
        until=until,
        until_text=day,
    )


def add_members(line: Line, contents: ArtifactContents, budget: Budget) -> None:
    if contents.files is None:
        return
    line.count = counted(contents.files, "file")
    for member in contents.members:
        if not budget.take(member["name"]):
            break
        line.members.append((member["name"], presenter.size(member["size"])))
    line.more = contents.files - len(line.members)


def add_previews(files: Files, line: Line, contents: ArtifactContents) -> None:
    for member in contents.members:
        if "type" not in member:
            continue
        chosen, most = (files.documents, DOCUMENTS) if member["type"] == PDF else (files.pictures, PICTURES)
        if len(chosen) >= most:
            files.hidden += 1
            continue
        assert line.url is not None
        query = {"member": member["name"]} if member["name"] else {}
        chosen.append(
            Preview(
                name=member["name"] or line.name,
                url=below(line.url, "preview", **query),
                width=member["width"] or None,
                height=member["height"] or None,
            )
        )


def zip_of(listed: list[dict[str, Any]]) -> tuple[str | None, str]:
    """Return where all artifacts are one zip, and what is to be said of it."""
    states = [one["state"] for one in listed]
    if len(listed) < 2 or "stored" not in states:
        return None, ""
    if "pending" in states:
        return None, "All as one zip: when all of them are copied."
    url = presenter.path_of(next(one["url"] for one in listed))
    parts = urlsplit(url)
    path = f"{parts.path.rsplit('/', 1)[0]}.zip"
    return (f"{path}?{parts.query}" if parts.query else path), ""


def below(url: str, name: str, **query: str) -> str:
    """Return the path of something below what a path leads to, with the same token."""
    parts = urlsplit(url)
    asked = "&".join(one for one in (parts.query, urlencode(query)) if one)
    return f"{parts.path}/{name}" + (f"?{asked}" if asked else "")
