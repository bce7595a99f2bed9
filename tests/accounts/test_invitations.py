"""Invitations: by mail alone, for seven days, once; and what a link says that opens nothing."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.audit.models import AuditEntry
from accounts.members import changes, invitations
from accounts.members.errors import AlreadyMember, NotInvited, TooManyInvitations
from accounts.members.models import Invitation
from accounts.models import Account, Membership, Role, Session
from core import limits
from core.errors import Forbidden
from core.rationing import penalties
from tests.accounts.people import browser, wrongs
from tests.accounts.test_login import letters
from tests.accounts.test_members import member, of, who
from tests.together import together

GOOD = "a wal in the attic"
EMAIL = "Cy@example.com"


@pytest.fixture
def owner(account: Account) -> Membership:
    return member(account, "ann", "owner", email="ann@example.com")


@pytest.fixture
def invited(account: Account, owner: Membership) -> str:
    """Return the token of an invitation to be an admin."""
    return invitations.invite(who(owner), account, email=EMAIL, role=Role.ADMIN)[1]


def path_of(token: str) -> str:
    return f"/invitation/{token}/"


def join(client: Client, token: str, name: str = "cy", password: str = GOOD, again: str = "") -> Any:
    form = {"act": "join", "username": name, "password1": password, "password2": again or password}
    return client.post(path_of(token), form)


def test_an_owner_invites_and_somebody_new_accepts_by_the_mail(account, owner, settings):
    settings.ALLOWED_HOSTS = ["*"]
    form = {"act": "invite", "email": f" {EMAIL} ", "role": "admin"}
    answer = of(owner).post(f"/account/{account.pk}/members/", form, follow=True, headers={"Host": "evil.example"})
    assert f"on its way to {EMAIL}" in answer.text
    [letter] = letters()
    assert (letter.to, letter.subject) == ([EMAIL], f'ann invites you to "{account.name}" on Spell Platform')
    body = str(letter.body)
    assert "evil" not in body
    [link] = re.findall(r"http://testserver(/invitation/\S+)", body)
    token = link.split("/")[2]
    assert token not in str(list(Invitation.objects.values()) + list(AuditEntry.objects.values()))
    assert token not in answer.text

    client = browser()
    page = client.get(link)
    assert ("admin: API keys" in page.text, page.headers["Cache-Control"]) == (True, "no-store")
    for name, password, again, why in (
        ("cy", "short", "", "at least 12"),
        ("cy", "cy@example.com", "", "too similar"),
        ("cy", GOOD, GOOD + "x", "match"),
        ("ANN", GOOD, "", "taken"),
        ("bob@example.com", GOOD, "", "no @"),
        ("<b>", GOOD, "", "valid username"),
    ):
        answer = join(client, token, name, password, again)
        assert (answer.status_code, why in wrongs(answer)) == (200, True), wrongs(answer)
    assert User.objects.count() == 1
    answer = join(client, token)
    assert answer.headers["Location"] == f"/home/?account={account.pk}"
    cy = User.objects.get(username="cy")
    assert (cy.email, cy.is_staff, Membership.objects.get(user=cy).role) == (EMAIL, False, "admin")
    assert client.get("/account/").context["user"] == cy
    entry = AuditEntry.objects.get(action="member.join")
    assert (entry.actor, entry.account_id, entry.after) == (
        "cy",
        account.pk,
        {"invited_by": "ann", "email": EMAIL, "role": "admin"},
    )
    assert re.search("accepted already.*Ask for a new one", browser().get(link).text)
    assert re.search("accepted already.*You are a member", client.get(link).text)


def test_who_has_a_login_accepts_as_whom_the_page_says(account, owner, invited):
    bob = User.objects.create_user("bob", email="b@example.com", password=GOOD)
    client = browser()
    login = re.search(r'href="(/login/\?next=[^"]+)"', client.get(path_of(invited)).text)
    assert login is not None
    answer = client.post("/login/", {"login": "bob", "password": GOOD, "next": path_of(invited)})
    assert answer.headers["Location"] == path_of(invited)
    page = client.get(path_of(invited)).text
    assert ("Accept as bob" in page, "You are new here" in page) == (True, False)
    assert join(client, invited).status_code == 404
    assert not Membership.objects.filter(user=bob).exists()
    assert client.post(path_of(invited), {"act": "accept"}).status_code == 302
    assert Membership.objects.get(user=bob).role == "admin"
    assert User.objects.get(pk=bob.pk).email == "b@example.com"
    assert "You are a member" in client.get(path_of(invited)).text


def test_no_role_is_changed_by_a_link_and_the_link_is_not_used_up(account, owner, invited):
    client = of(owner)
    assert "is a member of this account already" in client.get(path_of(invited)).text
    assert client.post(path_of(invited), {"act": "accept"}).status_code == 302
    assert Membership.objects.get(pk=owner.pk).role == "owner"
    assert join(browser(), invited).status_code == 302


def revoke(account: Account, owner: Membership) -> None:
    invitations.revoke(who(owner), account, Invitation.objects.get().pk)


def again(account: Account, owner: Membership) -> None:
    invitations.send_again(who(owner), account, Invitation.objects.get().pk)


def expire(account: Account, owner: Membership) -> None:
    Invitation.objects.update(expires_at=timezone.now())


def dethrone(account: Account, owner: Membership) -> None:
    member(account, "next", "owner")
    changes.change_role(who(owner), account.pk, owner.user_id, Role.ADMIN)


def send_away(account: Account, owner: Membership) -> None:
    member(account, "next", "owner")
    changes.remove(who(owner), account.pk, owner.user_id)


def close(account: Account, owner: Membership) -> None:
    User.objects.filter(pk=owner.user_id).update(is_active=False)


def delete_user(account: Account, owner: Membership) -> None:
    owner.user.delete()


def delete_account(account: Account, owner: Membership) -> None:
    Account.objects.filter(pk=account.pk).delete()


CLOSED = [
    (revoke, 410, "taken it back"),
    (again, 404, "not whole"),
    (expire, 410, "seven days"),
    (dethrone, 410, "not an owner"),
    (send_away, 410, "not an owner"),
    (close, 410, "not an owner"),
    (delete_user, 410, "not an owner"),
    (delete_account, 404, "not whole"),
]


@pytest.mark.parametrize(("what", "status", "why"), CLOSED, ids=lambda value: getattr(value, "__name__", None))
def test_a_link_that_opens_nothing_says_why_and_does_nothing(account, owner, invited, what, status, why):
    what(account, owner)
    members, users = Membership.objects.count(), User.objects.count()
    bob = User.objects.create_user("bob")
    insider = browser()
    insider.force_login(bob)
    for answer in (
        browser().get(path_of(invited)),
        join(browser(), invited),
        insider.post(path_of(invited), {"act": "accept"}),
    ):
        assert (answer.status_code, why in answer.text) == (status, True)
    with pytest.raises(NotInvited):
        invitations.accept(bob, invited)
    assert (Membership.objects.count(), User.objects.count()) == (members, users + 1)


@pytest.mark.parametrize("token", ["x", "A" * 43, "a" * 500, "%00", "é" * 43, "-" * 42 + "."])
def test_a_token_that_was_never_made_opens_nothing(db, token):
    assert browser().get(path_of(token)).status_code == 404


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
def test_only_owners_invite(account, owner, invited, role):
    other = member(account, "other", role)
    before = Invitation.objects.values().get()
    for form in (
        {"act": "invite", "email": "x@example.com", "role": "owner"},
        {"act": "again", "invitation": before["id"]},
        {"act": "revoke", "invitation": before["id"]},
    ):
        assert of(other).post(f"/account/{account.pk}/members/", form).status_code == 403
    with pytest.raises(Forbidden):
        invitations.invite(who(other), account, email="x@example.com", role=Role.OWNER)
    assert Invitation.objects.values().get() == before
    elsewhere = member(Account.objects.create(name="Else"), "elsewhere", "owner")
    with pytest.raises(NotInvited):
        invitations.revoke(who(elsewhere), elsewhere.account, before["id"])


BAD = ["", "cy", "cy@", "a@example.com, b@example.com", "a@example.com\nBcc: b@example.com", '"a\rb"@example.com']


@pytest.mark.parametrize("email", [*BAD, "a" * 250 + "@example.com"])
def test_what_is_no_address_is_refused(account, owner, email):
    with pytest.raises(ValidationError):
        invitations.invite(who(owner), account, email=email, role=Role.VIEWER)
    answer = of(owner).post(f"/account/{account.pk}/members/", {"act": "invite", "email": email, "role": "viewer"})
    assert (answer.status_code, bool(wrongs(answer))) == (200, True)
    assert mail.outbox == []


def test_a_name_that_holds_lines_or_html_harms_neither_mail_nor_page(account, owner):
    name = "Ops\r\nBcc: x@example.com <script>alert(1)</script>"
    Account.objects.filter(pk=account.pk).update(name=name)
    form = {"act": "invite", "email": EMAIL, "role": "viewer"}
    page = of(owner).post(f"/account/{account.pk}/members/", form, follow=True).text
    [letter] = letters()
    assert "\n" not in letter.subject
    assert letter.message()["Bcc"] is None
    [link] = re.findall(r"http://testserver(/invitation/\S+)", str(letter.body))
    for text in (page, browser().get(link).text):
        assert "<script>alert" not in text


def test_mail_is_rationed_for_an_account_and_for_an_address(account, owner, monkeypatch, clock):
    for _ in range(limits.INVITATIONS_PER_ADDRESS):
        invitations.invite(who(owner), account, email=EMAIL, role=Role.VIEWER)
    elsewhere = member(Account.objects.create(name="Else"), "elsewhere", "owner")
    for row in (owner, elsewhere):
        with pytest.raises(TooManyInvitations):
            invitations.invite(who(row), row.account, email=EMAIL.upper(), role=Role.VIEWER)
    invitations.revoke(who(owner), account, Invitation.objects.get().pk)
    with pytest.raises(TooManyInvitations):  # it was sent all the same
        invitations.invite(who(owner), account, email=EMAIL, role=Role.VIEWER)
    monkeypatch.setattr(limits, "INVITATIONS_PER_ACCOUNT", limits.INVITATIONS_PER_ADDRESS + 1)
    invitations.invite(who(owner), account, email="x@example.com", role=Role.VIEWER)
    with pytest.raises(TooManyInvitations):
        invitations.invite(who(owner), account, email="y@example.com", role=Role.VIEWER)
    clock.forward(days=1, seconds=1)
    invitations.invite(who(owner), account, email=EMAIL, role=Role.VIEWER)


def test_whom_the_account_has_is_told_and_who_has_a_login_elsewhere_is_not(account, owner, clock):
    User.objects.create_user("cy", email=EMAIL)
    page, form = f"/account/{account.pk}/members/", {"act": "invite", "role": "viewer"}
    answer = of(owner).post(page, form | {"email": "ANN@example.com"})
    assert "a member of this account with this mail address already" in wrongs(answer)
    seen = []
    for email in (EMAIL, "nobody@example.com"):
        told = of(owner).post(page, form | {"email": email}, follow=True).text.replace(email, "X")
        [link] = re.findall(r"(/invitation/\S+)", str(letters()[-1].body))
        seen.append((told.count("X") > 1, re.sub(r"[\w-]{30,}|\w+@\S+", "", browser().get(link).text)))
        answer = join(browser(), link.split("/")[2], f"new{len(seen)}")
        assert answer.status_code == 302
    assert seen[0] == seen[1]
    # Of a mail address there is one login, which it logs in.
    assert [user.email for user in User.objects.filter(username__startswith="new").order_by("username")] == [
        "",
        "nobody@example.com",
    ]


def test_where_no_mail_is_sent_the_owner_is_shown_the_link_this_once(account, owner, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    client, page = of(owner), f"/account/{account.pk}/members/"
    answer = client.post(page, {"act": "invite", "email": EMAIL, "role": "viewer"})
    found = re.search(r"http://testserver(/invitation/[\w-]{43}/)", answer.text)
    assert found is not None
    assert browser().get(found[1]).status_code == 200
    assert "/invitation/" not in client.get(page).text


def test_where_a_second_factor_is_required_it_comes_next(account, owner, invited, settings):
    settings.REQUIRE_SECOND_FACTOR = "all"
    bob, client = User.objects.create_user("bob"), browser()
    client.force_login(bob)
    assert "Accept as bob" in client.get(path_of(invited)).text
    assert invited not in str([session.get_decoded() for session in Session.objects.all()])
    for guest, act in ((client, {"act": "accept"}), (browser(), {})):
        answer = guest.post(path_of(invited), act) if act else join(guest, again_for(account))
        assert guest.get(answer.headers["Location"]).headers["Location"] == "/account/second-factor/"
    assert Membership.objects.count() == 3


def again_for(account: Account) -> str:
    """Return the token of another invitation to the account."""
    ann = Membership.objects.get(user__username="ann")
    return invitations.invite(who(ann), account, email="new@example.com", role=Role.VIEWER)[1]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_accept_at_once_one_does(account, owner, invited):
    users = [User.objects.create_user(f"u{number}") for number in range(4)]

    def accepting(user: User) -> Callable[[], object]:
        return lambda: invitations.accept(user, invited)

    ends = together([accepting(user) for user in users])
    assert sum(isinstance(end, NotInvited) for end in ends) == 3
    assert sum(isinstance(end, Exception) for end in ends) == 3
    assert Membership.objects.count() == 2


def test_trying_names_by_a_link_is_rationed(account, owner, invited, settings):
    settings.RATION_FAILED_LOGINS = 3
    client = browser()
    answers = [join(client, invited, "ann").status_code for _ in range(5)]
    penalties.forget_all()
    assert answers[:3] == [200] * 3
    assert answers[-1] == 429
    assert dt.timedelta(days=7) == invitations.OPENS_FOR
    with pytest.raises(AlreadyMember):
        invitations.accept(owner.user, invited)
