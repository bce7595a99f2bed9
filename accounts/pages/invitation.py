"""The page behind an invitation's link: who has a login accepts with it, who has none makes one.

Both ways are always shown, whoever the link was sent to: that an address has a login is nobody's to learn.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts import attempts
from accounts.members import invitations
from accounts.members.errors import AlreadyMember, NotInvited
from accounts.members.models import Invitation
from accounts.models import Membership, Role
from accounts.pages.choice import CHOSEN

BACKEND = "accounts.pages.backend.PasswordBackend"
NAME_TAKEN = "This user name is taken. Choose another."


class JoinForm(BaseUserCreationForm):  # type: ignore[type-arg]
    """A new login: a name, and a password as Django's settings want it."""

    class Meta:
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["username"]
        name.label, name.help_text = "User name", "Letters, digits and . + - _"
        name.widget.attrs |= {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        name.widget.attrs.pop("autofocus", None)
        self.fields["password1"].help_text = "At least 12 characters, of any kind."
        self.fields["password2"].label, self.fields["password2"].help_text = "The same password again", ""

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        # It would stand in the way of whoever logs in by this mail address.
        if "@" in name:
            raise forms.ValidationError("A user name has no @. You can log in by your mail address as well.")
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name


@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show an invitation; accept it as who is logged in, or as who is new."""
    found = invitations.found_by(token)
    if found is None:
        return closed(request, 404, "This link is not whole, or there is no such invitation.")
    if why := invitations.closed(found):
        return closed(request, 410, why, account_id=found.account_id)
    user = request.user if isinstance(request.user, User) else None
    if request.method != "POST":
        form = JoinForm(instance=User(email=found.email))
        return shown(request, found, token, form=form)
    try:
        if request.POST.get("act") == "accept" and user is not None:
            return welcome(request, invitations.accept(user, token))
        if request.POST.get("act") == "join" and user is None:
            return join(request, found, token)
    except AlreadyMember as exc:
        messages.info(request, str(exc))
        return redirect(f"{reverse('home')}?{CHOSEN}={found.account_id}")
    except NotInvited as exc:
        return closed(request, 410, str(exc))
    raise Http404


def shown(request: HttpRequest, found: Invitation, token: str, *, form: JoinForm) -> HttpResponseBase:
    context = {
        "invitation": found,
        "may": Role(found.role).label.partition(": ")[2],
        "form": form,
        "already": is_member(request.user, found.account_id),
        "login_url": f"{reverse('account_login')}?next={reverse('invitation', kwargs={'token': token})}",
    }
    return render(request, "account/invitation.html", context)


def is_member(user: Any, account_id: int) -> bool:
    return user.is_authenticated and Membership.objects.filter(account=account_id, user=user).exists()


def closed(request: HttpRequest, status: int, why: str, *, account_id: int | None = None) -> HttpResponseBase:
    """Say that a link opens nothing; who is a member by now is shown the way."""
    member = account_id is not None and is_member(request.user, account_id)
    context = {"why": why, "home": f"{reverse('home')}?{CHOSEN}={account_id}" if member else ""}
    return render(request, "account/invitation_closed.html", context, status=status)


def join(request: HttpRequest, found: Invitation, token: str) -> HttpResponseBase:
    """Make a login and a member of one who has none, and log him in."""
    # Each tells whether a name is taken, which whoever has a link could ask of many.
    attempts.before(request, f"invitation {found.pk}")
    form = JoinForm(request.POST, instance=User(email=found.email))
    if not form.is_valid():
        return shown(request, found, token, form=form)
    try:
        member = invitations.join(form.save(commit=False), token)
    except IntegrityError:  # between the form's look and the row
        form.add_error("username", NAME_TAKEN)
        return shown(request, found, token, form=form)
    attempts.passed(request, f"invitation {found.pk}")
    login(request, member.user, backend=BACKEND)
    return welcome(request, member)


def welcome(request: HttpRequest, member: Membership) -> HttpResponseBase:
    messages.success(request, f"Welcome: you are a member of {member.account.name}, as {member.role}.")
    return redirect(f"{reverse('home')}?{CHOSEN}={member.account_id}")
