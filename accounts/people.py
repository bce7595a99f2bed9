"""The operator's console: users and what they log in with. Whatever holds a secret of theirs is not shown."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from accounts import second_factor, sessions
from accounts.pages import browsers
from core.admin.base import table, utc_time
from core.admin.lists import Listed

# allauth's own: mail addresses, which we don't keep there, and factors with their secrets.
admin.site.unregister([EmailAddress, Authenticator, User, Group])


@admin.register(Group)
class GroupsAdmin(Listed, GroupAdmin):
    """Django's, told to the audit log."""

    purpose = "Sets of permissions that several operators share."


RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")  # only superusers give them


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def is_above(request: HttpRequest, user: User | None) -> bool:
    return user is not None and user.is_superuser and not is_superuser(request)


def below(request: HttpRequest, people: QuerySet[User]) -> QuerySet[User]:
    return people if is_superuser(request) else people.exclude(is_superuser=True)


@admin.register(User)
class PeopleAdmin(Listed, UserAdmin):  # type: ignore[type-arg]
    """Django's, with second factors and sessions, and without a way up.

    Django lets whoever may change users change superusers, and make some.
    """

    purpose = "Everybody who can log in: members of accounts, and operators, who are staff."
    list_display = ("username", "email", "is_staff", "is_active", "second_factor", "last_login")
    readonly_fields = ("second_factor", "open_sessions")
    actions = ("remove_second_factors", "end_sessions")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # One by one: of many at once nobody asks whether they are superusers.
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        factors = Authenticator.objects.filter(user_id=OuterRef("pk"), type__in=second_factor.FACTORS)
        people: QuerySet[User] = super().get_queryset(request).annotate(has_factor=Exists(factors))
        return people

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj is None else (*fieldsets, ("Logging in", {"fields": self.readonly_fields}))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.readonly_fields if is_superuser(request) else (*self.readonly_fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and not is_above(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_above(request, obj)

    @admin.display(description="second factor", boolean=True)
    def second_factor(self, user: User) -> bool:
        return bool(getattr(user, "has_factor", False))

    @admin.display(description="sessions")
    def open_sessions(self, user: User) -> Any:
        rows = [
            (one.address or "-", browsers.called(one.browser), utc_time(one.last_seen_at)) for one in sessions.of(user)
        ]
        return table(("From", "Browser", "Seen"), rows) if rows else "-"

    @admin.action(description="Remove second factors, and end sessions", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = 0
        for user in below(request, queryset):
            count += bool(second_factor.remove(user))
            sessions.end(user, but=request.session.session_key)
            self.log_change(request, user, "Removed second factors, ended sessions.")
        self.message_user(request, f"Removed the second factors of {count} user(s).", messages.SUCCESS)

    @admin.action(description="End sessions", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = 0
        for user in below(request, queryset):
            count += sessions.end(user, but=request.session.session_key)
            self.log_change(request, user, "Ended sessions.")
        self.message_user(request, f"Ended {count} session(s).", messages.SUCCESS)
