"""Which account a page is about, for people who are members of several."""

from __future__ import annotations

from functools import cached_property

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import Membership, Role
from accounts.pages.tabs import Tab, tabs
from core.numbers import natural

CHOSEN = "account"  # in the query, and in the session: the account's id
READ = "_memberships"  # on the request: what was read for it


def memberships(request: HttpRequest) -> list[Membership]:
    """Return the user's places in accounts, by the accounts' names; read once for each request."""
    found: list[Membership] | None = getattr(request, READ, None)
    if found is None:
        found = []
        if isinstance(request.user, User):
            rows = Membership.objects.filter(user=request.user).select_related("account", "user")
            found = list(rows.order_by("account__name"))
        setattr(request, READ, found)
    return found


def membership_of(request: HttpRequest, account_id: int, at_least: Role = Role.VIEWER) -> Membership:
    """Return the user's place in an account, which is the chosen one from then on.

    Raise Http404 for who is no member of it, PermissionDenied for a role that is too little.
    """
    found = _of(request, account_id)
    if found is None:
        raise Http404
    if not Role(found.role).includes(at_least):
        raise PermissionDenied(
            f"In the account {found.account.name} you are a {found.role}; this needs the role {at_least.value}. "
            "An owner of the account can give you another one."
        )
    remember(request, account_id)
    return found


def chosen(request: HttpRequest) -> Membership | None:
    """Return the user's place in the account that the page is about; None for who is a member of none.

    `?account=ID` wins and is remembered; then what was remembered; then the first by name. Raise Http404 for an account
    that is named and not the user's.
    """
    named = request.GET.get(CHOSEN)
    if named is not None:
        found = _of(request, natural(named))
        if found is None:
            raise Http404
        remember(request, found.account_id)
        return found
    return _of(request, request.session.get(CHOSEN)) or next(iter(memberships(request)), None)


def remember(request: HttpRequest, account_id: int) -> None:
    # Not written anew by each page: a session's row is the user's own, but a write all the same.
    if len(memberships(request)) > 1 and request.session.get(CHOSEN) != account_id:
        request.session[CHOSEN] = account_id


def _of(request: HttpRequest, account_id: object) -> Membership | None:
    return next((one for one in memberships(request) if one.account_id == account_id), None)


class Ways:
    """What the navigation shows. Nothing is read until a page asks, and a page without a navigation does not."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def chosen(self) -> Membership | None:
        try:
            return chosen(self.request)
        except Http404:  # which the page itself answers, if it asks
            return next(iter(memberships(self.request)), None)

    @cached_property
    def here(self) -> Membership | None:
        """Return the user's place in the account that the page's address names.

        A form that goes on once its sender has confirmed is answered at another address: then it is the chosen one.
        """
        match = self.request.resolver_match
        named = match.kwargs.get("account_id") if match else None
        return _of(self.request, named) if named is not None else self.chosen

    @property
    def tabs(self) -> list[Tab]:
        match = self.request.resolver_match
        return tabs(self.here, match.url_name or "" if match else "") if self.here else []

    @property
    def casts_url(self) -> str:
        return reverse("home")

    @property
    def others(self) -> list[tuple[str, str]]:
        """Return the names of the user's other accounts, and where the same page is about them."""
        own = self.chosen
        if own is None:
            return []
        rest = [one.account for one in memberships(self.request) if one.account_id != own.account_id]
        return [(account.name, self._same_page(account.pk)) for account in rest]

    def _same_page(self, account_id: int) -> str:
        match = self.request.resolver_match
        if match is not None and set(match.kwargs) == {"account_id"}:
            return reverse(match.view_name, kwargs={"account_id": account_id})
        stays = match is not None and match.view_name in SWITCHED_BY_QUERY
        path = self.request.path if stays else self.casts_url
        return f"{path}?{urlencode({CHOSEN: account_id})}"


SWITCHED_BY_QUERY = ("home", "spells-page")
