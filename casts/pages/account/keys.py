"""An account's API keys, for its owners and admins: made, rotated and revoked, each once a password was shown lately.

A secret is in the answer to the form that made it, and nowhere else: not in the session, an address or a log. The
answer is kept by no browser, and the form, sent again, makes nothing.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import key_acts, keys, principals
from accounts.models import ApiKey, Membership, Role
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.middleware import confirm_first
from casts.pages.account.key_forms import OVERLAPS, KeyForm
from casts.pages.account.key_words import KeyPage, KeysPage
from core.errors import SpellError
from core.numbers import counted


@never_cache
@require_safe
@login_required
def page(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """List the keys, each below the one that made it."""
    account = membership_of(request, account_id, Role.ADMIN).account
    return render(request, "account/keys.html", {"page": KeysPage(account), "account": account})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def new(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Make a key, and show its secret this once."""
    membership = membership_of(request, account_id, Role.ADMIN)
    form = KeyForm(membership, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if not proved_lately(request):
            return confirm_first(request, lay_aside=True)
        try:
            key, secret = key_acts.make(membership, **form.wanted())
        except SpellError as exc:
            form.add_error(None, str(exc))
        else:
            return made(request, key, secret)
    return render(request, "account/key_new.html", {"form": form, "account": membership.account})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def one(request: HttpRequest, account_id: int, key_id: int) -> HttpResponseBase:
    """Show one key, and do with it what a form asks for."""
    membership = membership_of(request, account_id, Role.ADMIN)
    key = ApiKey.objects.filter(account=account_id, pk=key_id).select_related("created_by_key", "created_by_user")
    found = key.first()
    if found is None:
        raise Http404
    if request.method == "POST":
        if not proved_lately(request):
            return confirm_first(request, lay_aside=True)
        return act(request, membership, found)
    return render(request, "account/key.html", {"page": KeyPage(found), "account": membership.account})


def act(request: HttpRequest, membership: Membership, key: ApiKey) -> HttpResponseBase:
    who = principals.of_member(membership)
    what, overlap = request.POST.get("act"), OVERLAPS.get(request.POST.get("overlap", ""))
    try:
        if what == "rotate" and overlap is not None:
            new_key, secret = key_acts.rotate(who, key, overlap=overlap.time)
            return made(request, new_key, secret, old=key)
        if what == "revoke":
            done = key_acts.revoke(who, key, descendants=False)
            messages.success(request, "The key is revoked." if done else "The key had been revoked before.")
        elif what == "revoke_all":
            below = len(keys.usable_below([key]))
            if request.POST.get("below") != str(below):
                messages.error(request, f"Nothing was revoked: by now there are {below} keys below it. Look again.")
            else:
                done = key_acts.revoke(who, key, descendants=True)
                messages.success(request, f"{counted(len(done), 'key')} revoked.")
        else:
            messages.error(request, "Nothing was done: the form was not whole.")
    except SpellError as exc:
        messages.error(request, str(exc))
    return redirect("account-keys-one", account_id=membership.account_id, key_id=key.pk)


def made(request: HttpRequest, key: ApiKey, secret: str, *, old: ApiKey | None = None) -> HttpResponseBase:
    """Show a secret. No redirect, over which it would have to be kept somewhere."""
    context = {"page": KeyPage(key), "secret": secret, "old": old, "account": key.account}
    return render(request, "account/key_made.html", context)
