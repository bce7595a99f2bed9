"""Who asks: what a principal says of a key, a link, a user and a command."""

import uuid

import pytest
from django.db import IntegrityError

from accounts import principals
from accounts.models import Membership, Role
from accounts.principals import Kind


@pytest.fixture
def user(django_user_model, db):
    return django_user_model.objects.create_user("rincewind")


def test_a_key_asks_for_its_account(api_key, account):
    found = principals.of_key(api_key)
    assert (found.kind, found.key, found.account_id, found.role) == (Kind.KEY, api_key, account.pk, None)
    assert found.label == api_key.prefix


@pytest.mark.parametrize("role", Role)
def test_a_user_asks_with_the_role_in_the_account_that_is_meant(user, account, role):
    Membership.objects.create(account=account, user=user, role=role)
    found = principals.of_user(user, account_id=account.pk)
    assert (found.kind, found.user, found.account_id, found.role) == (Kind.USER, user, account.pk, role)
    assert found.label == "rincewind"


def test_a_user_who_is_no_member_asks_for_no_account(user, account):
    for asks in (principals.of_user(user, account_id=account.pk), principals.of_user(user)):
        assert (asks.account_id, asks.role) == (None, None)


def test_links_and_commands_ask_for_no_account():
    cast_id = uuid.uuid4()
    link, command = principals.of_link(cast_id), principals.of_command("purge")
    assert (link.kind, link.cast_id, link.account_id) == (Kind.LINK, cast_id, None)
    assert (command.kind, command.label, command.account_id) == (Kind.COMMAND, "purge", None)


def test_a_membership_is_a_members_unless_something_else_is_said(user, account):
    account.members.add(user)
    assert Membership.objects.get().role == Role.MEMBER


def test_the_database_keeps_unknown_roles_out(user, account):
    with pytest.raises(IntegrityError):
        Membership.objects.create(account=account, user=user, role="wizard")
