"""The mail with an invitation's link: the one place where its token is read, besides the page it leads to."""

from __future__ import annotations

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.members.invitations import OPENS_FOR
from accounts.members.models import Invitation
from accounts.models import Role
from accounts.pages import mailer

CONSOLE = "django.core.mail.backends.console.EmailBackend"


def link_of(token: str) -> str:
    """Return the address of the page; from our own setting, never from a request's Host."""
    return settings.PUBLIC_URL + reverse("invitation", kwargs={"token": token})


def send(invitation: Invitation, token: str) -> str:
    """Send the link to its address. Return it where no mail is sent (EMAIL_URL=console:), for the owner to hand on."""
    context = {
        "invitation": invitation,
        "by": invitation.by.get_username() if invitation.by else "",
        "may": Role(invitation.role).label.partition(": ")[2],
        "link": link_of(token),
        "base": settings.PUBLIC_URL,
        "days": OPENS_FOR.days,
    }
    # One line, whatever an account's name holds: a second one would be a header of the mail.
    subject = " ".join(render_to_string("account/mail/invitation_subject.txt", context).split())
    mailer.send_later(subject, render_to_string("account/mail/invitation.txt", context), invitation.email)
    return str(context["link"]) if settings.EMAIL_BACKEND == CONSOLE else ""
