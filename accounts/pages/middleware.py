"""What stands between a login and the pages: its session is alive, a required second factor is set up, and what is
dangerous was confirmed lately. API paths and streams pass none of this; what they read by a session asks the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import suspend_request
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from accounts import second_factor, sessions
from accounts.pages.adapters import proved_lately
from core.errors import SpellError

Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

AFTER_SETUP = "after_second_factor"  # in the session: the page that was asked for
# What is open to whoever must set up a second factor first. An invitation too: its link is not to be kept until then,
# and who accepts sees nothing of the account before.
SETTING_UP = {
    "invitation",
    *("mfa_index", "mfa_activate_totp", "mfa_add_webauthn", "mfa_view_recovery_codes"),
    *("account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "account_logout"),
}
# In the admin, what needs a password or second factor that was shown lately: accounts with their keys and caps, money,
# users.
TO_CONFIRM = ("accounts_", "auth_", "payments_")
# Of these the forms hold a password, which is not laid aside meanwhile.
WITH_PASSWORD = ("auth_user_add", "auth_user_password_change")
LAID_ASIDE_MAX_CHARS = 100_000  # of a form that is sent on once its sender has confirmed


class GuardMiddleware:
    """Below allauth's own middleware, which its pages need."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        # The API asks for itself: on a server it comes past no middleware of sessions.
        if request.path.startswith("/api/"):
            return None
        # A visitor needs no look at the database.
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated:
            return None
        sessions.seen(request)
        match = request.resolver_match
        name = match.url_name or "" if match else ""
        by_link = name == "cast-page" and "token" in request.GET  # which opens without a login
        if name not in SETTING_UP and not by_link and second_factor.missing(request.user):
            if request.method == "GET":
                request.session[AFTER_SETUP] = request.get_full_path()
            return HttpResponseRedirect(reverse("mfa_index"))
        if match and match.namespace == "admin" and to_confirm(request, name) and not proved_lately(request):
            return confirm_first(request, lay_aside=name not in WITH_PASSWORD)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, SpellError) or exception.status != 429:
            return None
        answer = render(request, "account/too_many.html", {"problem": exception}, status=429)
        for header, value in exception.headers.items():
            answer[header] = value
        return answer


def to_confirm(request: HttpRequest, name: str) -> bool:
    """Whether a page of the admin must be confirmed: forms for what is new at once, others when they are sent."""
    if not name.startswith(TO_CONFIRM):
        return False
    return request.method == "POST" or name in WITH_PASSWORD or name.endswith("_add")


def confirm_first(request: HttpRequest, *, lay_aside: bool) -> HttpResponseBase:
    """Send somebody to the page that asks for the password, and what was sent on afterwards."""
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    where = methods[0]["url"] if methods else reverse("account_logout")
    if lay_aside and len(request.POST.urlencode()) <= LAID_ASIDE_MAX_CHARS:
        answer: HttpResponseBase = suspend_request(request, where)
        return answer
    return HttpResponseRedirect(f"{where}?{urlencode({'next': request.get_full_path()})}")
