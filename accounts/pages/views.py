"""Our own pages beside allauth's: what one's login is, its sessions, and passwords."""

from __future__ import annotations

from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import IndexView
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import RemoveWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.http import require_http_methods, require_safe

from accounts import principals, second_factor, sessions
from accounts.audit import log
from accounts.models import Membership
from accounts.pages import browsers, notices
from accounts.pages.adapters import ONLY_FACTOR, proved_lately
from accounts.pages.forms import ChangeForm, ResetForm
from accounts.pages.middleware import AFTER_SETUP, confirm_first


def whose(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # login_required
    return request.user


@require_safe
@login_required
def start(request: HttpRequest) -> HttpResponse:
    """Lead somebody to where the work is: to what was asked for first, to the admin, or to one's casts."""
    wanted = request.session.pop(AFTER_SETUP, None)
    return redirect(wanted or ("admin:index" if request.user.is_staff else "home"))


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Show what somebody's login is: name, password, second factor, sessions, memberships."""
    user = whose(request)
    factors = Authenticator.objects.filter(user_id=user.pk)
    context = {
        "memberships": Membership.objects.filter(user=user).select_related("account"),
        "kinds": {factor.type for factor in factors},
        "passkeys": sum(factor.type == Authenticator.Type.WEBAUTHN for factor in factors),
        "required": second_factor.required(user),
        "sessions": len(sessions.of(user)),
    }
    return render(request, "account/overview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def sessions_page(request: HttpRequest) -> HttpResponseBase:
    """List one's sessions; end one, or all but this one."""
    user, current = whose(request), request.session.session_key
    if request.method == "POST" and not proved_lately(request):  # or who has stolen one could end its owner's
        return confirm_first(request, lay_aside=True)
    if request.method == "POST":
        numbers = request.POST.getlist("number")
        with transaction.atomic():
            ended = sessions.end(user, numbers=numbers or None, but=current)
            log.record(principals.of_user(user), "session.end", user, after={"ended": ended})
        messages.success(request, f"Ended {ended} session{'' if ended == 1 else 's'}.")
        return redirect("sessions")
    rows = [
        {
            "row": row,
            "browser": browsers.called(row.browser),
            "number": sessions.number(row),
            "current": row.pk == current,
        }
        for row in sessions.of(user)
    ]
    context = {
        "rows": rows,
        "idle_hours": settings.SESSION_IDLE_SECONDS / 3600,
        "days": settings.SESSION_MAX_SECONDS / 86400,
    }
    return render(request, "account/sessions.html", context)


class SecondFactor(IndexView):
    """Which second factors one has."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"must_set_up": second_factor.missing(self.request.user)}


factors = SecondFactor.as_view()


@require_safe
def passkeys(request: HttpRequest) -> HttpResponse:
    return redirect("mfa_index")  # which lists them


class RemovePasskey(RemoveWebAuthnView):
    """Asks first, and keeps the last factor where one is required."""

    success_url = reverse_lazy("mfa_index")

    def form_valid(self, form: Any) -> HttpResponse:
        if not get_adapter().can_delete_authenticator(self.get_object()):
            messages.error(self.request, ONLY_FACTOR)
            return redirect("mfa_index")
        answer: HttpResponse = super().form_valid(form)
        return answer


remove_passkey = RemovePasskey.as_view()


class ChangePassword(auth_views.PasswordChangeView):
    """Ends one's other sessions, too (accounts.sessions)."""

    form_class = ChangeForm
    template_name = "account/password_change.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Your password is changed, and your other sessions are ended.")
        notices.tell(self.request, whose(self.request), "Your password was changed.")
        with transaction.atomic():
            log.record(principals.of_user(whose(self.request)), "user.change_password", whose(self.request))
            return super().form_valid(form)


change_password = ChangePassword.as_view()

reset = auth_views.PasswordResetView.as_view(
    form_class=ResetForm,
    template_name="account/password_reset.html",
    subject_template_name="account/mail/reset_subject.txt",
    email_template_name="account/mail/reset.txt",
    extra_email_context={"base": settings.PUBLIC_URL, "minutes": settings.PASSWORD_RESET_TIMEOUT // 60},
    success_url=reverse_lazy("reset_sent"),
)
reset_sent = auth_views.PasswordResetDoneView.as_view(template_name="account/password_reset_done.html")


class ConfirmReset(auth_views.PasswordResetConfirmView):
    """The form behind the mail's link."""

    template_name = "account/password_reset_from_key.html"
    success_url = reverse_lazy("account_login")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Your password is set. Log in with it.")
        notices.tell(self.request, form.user, "Your password was changed.")
        with transaction.atomic():
            log.record(principals.of_user(form.user), "user.reset_password", form.user)
            return super().form_valid(form)


reset_confirm = ConfirmReset.as_view()
