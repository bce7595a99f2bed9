"""An account's members and invitations, for its members: all see who is one, owners say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.members import changes, invitations, mail
from accounts.members.errors import MembersError
from accounts.members.models import Invitation
from accounts.models import Membership, Role
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.members_shown import MembersPage, person
from accounts.pages.middleware import confirm_first
from accounts.principals import Principal
from core.errors import Forbidden
from core.numbers import counted, natural


class InviteForm(forms.Form):
    """Whom to invite, as what."""

    email = forms.CharField(
        label="Mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.MEMBER)

    def clean_email(self) -> str:
        return invitations.checked(self.cleaned_data["email"])


class RoleForm(forms.Form):
    """What a member may do."""

    role = forms.ChoiceField(label="Role", choices=Role.choices)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def members(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """List members and invitations; invite, and send again or revoke an invitation."""
    own = membership_of(request, account_id)
    if request.method != "POST":
        return shown(request, own)
    own = membership_of(request, account_id, at_least=Role.OWNER)
    act = INVITING.get(request.POST.get("act", ""))
    if act is None:
        return redirect("account-members", account_id=account_id)
    if not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    try:
        return act(request, principals.of_member(own), own)
    except (MembersError, Forbidden) as exc:
        messages.error(request, str(exc))
        return redirect("account-members", account_id=account_id)


def shown(request: HttpRequest, own: Membership, **more: Any) -> HttpResponseBase:
    context = {"page": MembersPage(own), "own": own, "form": more.pop("form", None) or InviteForm(), **more}
    return render(request, "account/members.html", context)


def invite(request: HttpRequest, who: Principal, own: Membership) -> HttpResponseBase:
    form = InviteForm(request.POST)
    if not form.is_valid():
        return shown(request, own, form=form)
    role = Role(form.cleaned_data["role"])
    try:
        invitation, token = invitations.invite(who, own.account, email=form.cleaned_data["email"], role=role)
    except (MembersError, ValidationError) as exc:
        form.add_error("email", exc.messages if isinstance(exc, ValidationError) else str(exc))
        return shown(request, own, form=form)
    return told(request, own, invitation, token)


def invite_again(request: HttpRequest, who: Principal, own: Membership) -> HttpResponseBase:
    invitation, token = invitations.send_again(who, own.account, number_of(request))
    return told(request, own, invitation, token)


def told(request: HttpRequest, own: Membership, invitation: Invitation, token: str) -> HttpResponseBase:
    """Send the mail and say so. The link is shown at once, and kept nowhere, where no mail is sent."""
    if link := mail.send(invitation, token):
        return shown(request, own, link=link, invited=invitation)
    messages.success(request, f"A mail with a link is on its way to {invitation.email}. It opens for seven days.")
    return redirect("account-members", account_id=own.account_id)


def revoke_invitation(request: HttpRequest, who: Principal, own: Membership) -> HttpResponseBase:
    invitation = invitations.revoke(who, own.account, number_of(request))
    messages.success(request, f"The link that {invitation.email} was sent opens no more.")
    return redirect("account-members", account_id=own.account_id)


def number_of(request: HttpRequest) -> int:
    """Return which invitation a form is about; raise Http404."""
    number = natural(request.POST.get("invitation", ""))
    if number is None:
        raise Http404
    return number


Inviting = Callable[[HttpRequest, Principal, Membership], HttpResponseBase]
INVITING: dict[str, Inviting] = {"invite": invite, "again": invite_again, "revoke": revoke_invitation}


# --- One member ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def one(request: HttpRequest, account_id: int, user_id: int) -> HttpResponseBase:
    """Show a member to an owner, or somebody himself; give another role, or end the membership."""
    own = membership_of(request, account_id)
    if own.user_id != user_id and own.role != Role.OWNER:
        raise PermissionDenied("Only owners of the account look at its other members.")
    member = person(own, user_id)
    if member is None:
        raise Http404
    if request.method != "POST":
        form = RoleForm(initial={"role": member["row"].role})
        return render(request, "account/member.html", {"own": own, "member": member, "form": form})
    act = OF_ONE.get(request.POST.get("act", ""))
    if act is None:
        return redirect("account-members-one", account_id=account_id, user_id=user_id)
    if not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    try:
        return act(request, principals.of_member(own), member["row"])
    except (MembersError, Forbidden) as exc:
        messages.error(request, str(exc))
        return redirect("account-members-one", account_id=account_id, user_id=user_id)


def change_role(request: HttpRequest, who: Principal, member: Membership) -> HttpResponseBase:
    form = RoleForm(request.POST)
    if not form.is_valid():
        raise Http404
    changed = changes.change_role(who, member.account_id, member.user_id, Role(form.cleaned_data["role"]))
    messages.success(request, f"{member.user.get_username()} is {with_article(changed.role)} now.")
    return redirect("account-members", account_id=member.account_id)


def remove(request: HttpRequest, who: Principal, member: Membership) -> HttpResponseBase:
    revoke_keys = request.POST.get("revoke_keys") == "on"
    _, revoked = changes.remove(who, member.account_id, member.user_id, revoke_keys=revoke_keys)
    keys = f" {counted(revoked, 'key')} revoked." if revoke_keys else ""
    if who.user is not None and who.user.pk == member.user_id:
        messages.success(request, f"You have left {member.account.name}.{keys}")
        return redirect("home")
    messages.success(request, f"{member.user.get_username()} is not a member any more.{keys}")
    return redirect("account-members", account_id=member.account_id)


def with_article(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"


OF_ONE: dict[str, Callable[[HttpRequest, Principal, Membership], HttpResponseBase]] = {
    "role": change_role,
    "remove": remove,
}
