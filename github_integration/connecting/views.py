"""Operators' pages that make the GitHub App, as `manage.py connectgithub` does, where a web process may write."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.pages.adapters import proved_lately
from accounts.pages.middleware import confirm_first
from core.files import alone_in
from github_integration import errors
from github_integration.connecting.exchange import CODE_SECONDS, Exchange, Lost, code_of, installation_page, record
from github_integration.connecting.manifest import WEBHOOK_PATH, Asked, BadAnswer, github_of
from github_integration.connecting.places import APP_ID, CantWrite, Place, place_of, refuse_overridden
from github_integration.details import NewApp
from github_integration.doctor.hook import can_reach

View = Callable[[HttpRequest], HttpResponseBase]
ASKED = "github_connect"  # in the session: the state that was sent to GitHub, and with what
ON = "on"


def for_superusers(view: View) -> View:
    """Let superusers in who have lately shown a password or second factor, and nobody else."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        if not request.user.is_staff:
            return redirect_to_login(request.get_full_path())
        if not request.user.is_superuser:
            raise PermissionDenied
        if not proved_lately(request):
            return confirm_first(request, lay_aside=request.method == "POST")
        return view(request)

    return guarded


@require_http_methods(["GET", "HEAD", "POST"])
@for_superusers
def connect(request: HttpRequest) -> HttpResponseBase:
    """Ask what App it shall be; then show the form that sends the manifest to GitHub."""
    wrong = ""
    if request.method == "POST":
        try:
            place = writable()
            with alone_in(place.folder) as alone:
                exchange = Exchange(place)
                if alone and request.POST.get("instead") == ON:
                    exchange.forget_code()
                if alone and (app := exchange.go_on(secret_key=False)) is not None:
                    return done(request, exchange, app)
            return to_github(request, asked_by(request.POST, place))
        except (BadAnswer, CantWrite, Lost, errors.GitHubError) as exc:
            wrong = str(exc)
        except OSError as exc:
            wrong = f"The place for credentials can't be used: {exc.strerror}."
    return render(request, "github/connect.html", state_of_things(wrong), status=400 if wrong else 200)


def state_of_things(wrong: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"wrong": wrong, "github": github_of(settings.GITHUB_API_URL), "app_id": ""}
    try:
        place = writable()
        shown |= {"where": place.path, "app_id": place.read().get(APP_ID, "")}
    except CantWrite as exc:
        shown["cant_write"] = str(exc)
    shown["app_id"] = shown["app_id"] or settings.GITHUB_APP_ID
    shown["reachable"] = can_reach(settings.PUBLIC_URL + WEBHOOK_PATH, settings.GITHUB_API_URL)
    return shown


def writable() -> Place:
    """Return where credentials are written. Raise CantWrite, also if nothing says where."""
    if not settings.GITHUB_CONNECT_PATH:
        raise CantWrite(
            "This process may not write credentials: GITHUB_CONNECT_PATH does not say where. Run “manage.py "
            "connectgithub” on the server instead."
        )
    place = place_of(settings.GITHUB_CONNECT_PATH)
    place.check()
    refuse_overridden(place)
    return place


def asked_by(form: Any, place: Place) -> Asked:
    """Return what somebody asks for in the form. Raise BadAnswer."""
    if (settings.GITHUB_APP_ID or place.read().get(APP_ID)) and form.get("instead") != ON:
        raise BadAnswer("There is an App already. Tick “Put a new App in its place” if you mean it.")
    return Asked(
        github=github_of(settings.GITHUB_API_URL),
        organization=form.get("organization", "").strip(),
        name=form.get("name", "").strip() or "Spell Platform",
        public_url=settings.PUBLIC_URL,
        webhooks=form.get("webhooks") == ON and can_reach(settings.PUBLIC_URL + WEBHOOK_PATH, settings.GITHUB_API_URL),
        repository_dispatch=form.get("repository_dispatch") == ON,
    )


def to_github(request: HttpRequest, asked: Asked) -> HttpResponse:
    """Show what is sent to GitHub, and the button that sends it."""
    state = secrets.token_urlsafe(24)
    request.session[ASKED] = {"state": state, "asked": asked.as_kept(), "at": time.time()}
    manifest = asked.manifest(settings.PUBLIC_URL + reverse("github-connected"))
    context = {"asked": asked, "manifest": manifest, "sent": json.dumps(manifest), "action": asked.form_action(state)}
    answer = render(request, "github/continue.html", context)
    # This form alone leaves us; GitHub is told from which site.
    vars(answer)["_csp_update"] = {"form-action": [asked.github]}
    answer["Referrer-Policy"] = "strict-origin"
    return answer


@require_http_methods(["GET", "HEAD"])
@for_superusers
def connected(request: HttpRequest) -> HttpResponseBase:
    """Take GitHub's answer: exchange its code, write what comes for it, and lead on to the installation."""
    if request.method == "HEAD":
        return HttpResponse()
    try:
        code, state = code_of(f"?{request.META.get('QUERY_STRING', '')}")
        sent = request.session.get(ASKED) or {}
        if not hmac.compare_digest(str(sent.get("state", "")).encode(), state.encode()) or not state:
            raise BadAnswer("This answer is to no form that was sent from here, or it was taken already. Begin anew.")
        del request.session[ASKED]
        request.session.save()  # before the code counts: the same answer must not be taken twice
        if time.time() - sent["at"] > CODE_SECONDS:
            raise BadAnswer("GitHub's answer took longer than an hour, and does not count any more. Begin anew.")
        place = writable()
        with alone_in(place.folder) as alone:
            if not alone:
                raise CantWrite("Somebody else is connecting at this moment. Have a look what came of it first.")
            asked, exchange = Asked(**sent["asked"]), Exchange(place)
            return done(request, exchange, exchange.run(asked, code, secret_key=False))
    except (BadAnswer, Lost, CantWrite, errors.GitHubError) as exc:
        return render(request, "github/connected.html", {"wrong": str(exc)}, status=400)
    except OSError as exc:
        wrong = f"The place for credentials can't be used: {exc.strerror}."
        return render(request, "github/connected.html", {"wrong": wrong}, status=400)


def done(request: HttpRequest, exchange: Exchange, app: NewApp) -> HttpResponse:
    assert isinstance(request.user, User)  # for_superusers
    asked = exchange.asked
    record(principals.of_user(request.user), asked, app, exchange.place)
    where = installation_page(asked.github, app.url, app.slug)
    context = {"app": app, "told": exchange.told, "install": where, "host": urlsplit(where).netloc}
    return render(request, "github/connected.html", context)
