"""Where GitHub sends a browser after the App's installation: operators make spells of the workflows found there.

Anybody can come here with any number, so nothing in the address is believed: GitHub is asked, as the App, whether the
installation is one of ours, and only for operators. Everybody else gets the same plain page, and GitHub no question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.models import Account
from casts.models import Spell
from github_integration import errors
from github_integration.api import github
from github_integration.details import InstallationDetails
from github_integration.importing import Found, ImportFailed, Preview, State, apply, preview
from github_integration.importing.telling import example_of, shared_notes, takes

MAY, MAY_CHANGE = "casts.add_spell", "casts.change_spell"
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
MOST_FILES = 60  # of one repository that are read for a page, one call each
ACCOUNTS_SHOWN = 200


class Problem(Exception):
    """Why the page can't show what it is for."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text, self.status = text, status


@require_http_methods(["GET", "HEAD", "POST"])
def installed(request: HttpRequest) -> HttpResponseBase:
    may = request.user.is_staff and request.user.has_perm(MAY)
    if not may and request.method == "POST":
        if request.user.is_staff:
            raise PermissionDenied
        return redirect_to_login(request.get_full_path())
    if not may:
        return render(request, "github/installed_plain.html")
    try:
        return for_operators(request)
    except Problem as problem:
        return render(request, "github/installed.html", {"wrong": problem.text}, status=problem.status)
    except ImportFailed as exc:
        return render(request, "github/installed.html", {"wrong": str(exc)}, status=400)
    except errors.GitHubError as exc:
        return render(request, "github/installed.html", {"wrong": f"GitHub: {exc}"}, status=503)


def for_operators(request: HttpRequest) -> HttpResponse:
    asked = request.GET if request.method != "POST" else request.POST
    number = str(asked.get("installation_id", ""))
    if not NUMBER.fullmatch(number):
        known = settings.GITHUB_APP_INSTALLATION_ID
        shown = {"known": known, "requested": asked.get("setup_action") == "request"}
        return render(request, "github/installed_which.html", shown)
    found = ours(int(number))
    names = repositories_of(found)
    name = str(asked.get("repository", "")) or (names[0] if len(names) == 1 else "")
    if name and name.lower() not in {one.lower() for one in names}:
        raise Problem(f"Installation {found.id} does not open {name[:80]}. Choose one of its repositories.", 404)
    context: dict[str, Any] = {"installation": found, "repositories": names, "repository": name}
    if not name:
        return render(request, "github/installed.html", context)
    seen = preview(name, most=MOST_FILES)
    if seen.source.installation != found.id:
        raise Problem(f"{name} belongs to another installation.", 404)
    if request.method == "POST":
        return make(request, seen, context)
    return render(request, "github/installed.html", context | rows_of(request, seen))


def ours(number: int) -> InstallationDetails:
    """Return an installation of our App. Raise Problem."""
    if not settings.GITHUB_APP_ID:
        raise Problem("This process knows no App: restart web and workers if it was just made, then reload this page.")
    try:
        found = github().app.installation(number)
    except errors.NotFound:
        raise Problem(
            f"Our App has no installation {number}. If the App is new, restart web and workers, then reload this page.",
            404,
        ) from None
    if found.suspended_at:
        raise Problem(f"The installation on {found.account} is suspended. Its owner can end that on GitHub.")
    return found


def repositories_of(found: InstallationDetails) -> list[str]:
    """Return the names of the first hundred repositories that an installation opens."""
    listed = next(iter(github().repositories(found.id)), [])
    return sorted((one.full_name for one in listed), key=str.lower)


def rows_of(request: HttpRequest, seen: Preview) -> dict[str, Any]:
    shared = shared_notes([one for one in seen.found if one.usable])
    rows = [
        {"found": one, "takes": takes(one), "value": f"{one.file}:{one.fingerprint}", "barred": barred(request, one)}
        | {"notes": [note for note in one.notes if note not in shared]}
        for one in seen.found
    ]
    return {
        "seen": seen,
        "rows": rows,
        "shared": shared,
        "usable": any(one.usable for one in seen.found),
        "unclear": any(one.state == State.UNCLEAR for one in seen.found),
        "accounts": Account.objects.order_by("name")[:ACCOUNTS_SHOWN],
    }


def barred(request: HttpRequest, found: Found) -> bool:
    """Whether a workflow has a spell already, which somebody may not change who may make new ones."""
    return found.spell is not None and not request.user.has_perm(MAY_CHANGE)


def make(request: HttpRequest, seen: Preview, context: Mapping[str, Any]) -> HttpResponse:
    """Make spells of the ticked workflows, as they were when they were shown."""
    assert isinstance(request.user, User)
    ticked = dict(one.rpartition(":")[::2] for one in request.POST.getlist("workflow"))
    today = {one.file: one.fingerprint for one in seen.found}
    if not ticked:
        raise Problem("No workflow was ticked.")
    if other := [file for file, mark in ticked.items() if today.get(file) != mark]:
        raise Problem(f"Changed meanwhile: {', '.join(other)[:300]}. Load the page again and have another look.", 409)
    if any(barred(request, one) for one in seen.found if one.file in ticked):
        raise PermissionDenied
    number = request.POST.get("account", "")
    account = Account.objects.filter(pk=number).first() if number.isdecimal() and len(number) < 19 else None
    if number and account is None:
        raise Problem("There is no such account. Load the page again.")
    result = apply(seen, ticked, by=principals.of_user(request.user), account=account)
    keys = [*result.created, *result.changed, *result.unchanged]
    spells = {spell.key: spell for spell in Spell.objects.filter(key__in=keys)}
    made = [
        {"spell": spells[key], "new": key in result.created, "curl": curl_of(spells[key])}
        for key in keys
        if key in spells
    ]
    return render(request, "github/made.html", {**context, "made": made, "account": account})


def curl_of(spell: Spell) -> str:
    """Return a first cast, to be copied into a shell."""
    body = json.dumps({"spell_key": spell.key, "input": example_of(spell.input_schema)}, ensure_ascii=True)
    quoted = body.replace("'", "'\\''")
    return (
        f'curl -sS {settings.PUBLIC_URL}/api/v1/cast -H "Authorization: Bearer $KEY" \\\n'
        f"  -H 'Content-Type: application/json' -d '{quoted}'"
    )
