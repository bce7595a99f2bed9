"""An account's settings: owners change its name and rules, admins the secret that signs calls to callback_urls."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import open_casts, principals
from accounts.audit import log
from accounts.models import Account, Membership, Role
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.middleware import confirm_first
from casts.callbacks import acting, endpoints
from casts.retention.shown import shown_to_members
from core import limits, money


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """What an owner says of an account."""

    class Meta:
        model = Account
        fields = ("name", "require_idempotency_key")
        labels = {"require_idempotency_key": "Refuse casts over the API that come without an Idempotency-Key"}
        help_texts = {"require_idempotency_key": "So that a request that is repeated never casts twice."}
        error_messages = {"name": {"unique": "Another account has this name."}}

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"]).strip()
        if not name.isprintable():
            raise ValidationError("A name is one line of text.")
        return name


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Show an account's settings and limits; change them, and what signs calls to callback_urls."""
    own = membership_of(request, account_id, at_least=Role.ADMIN)
    if request.method != "POST":
        return shown(request, own, AccountForm(instance=own.account))
    act = request.POST.get("act", "")
    if act == "change":
        own = membership_of(request, account_id, at_least=Role.OWNER)
    if not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    if act == "change":
        return change(request, own)
    if act in ("show", "rotate", "drop_old"):
        return secret(request, own, act)
    return redirect(request.path)


def shown(request: HttpRequest, own: Membership, form: AccountForm) -> HttpResponseBase:
    name = Account.objects.values_list("name", flat=True).get(pk=own.account_id)  # not what was typed
    context = {"own": own, "form": form, "owner": own.role == Role.OWNER, "limits": limits_of(own.account), "is": name}
    context |= {"kept": shown_to_members(own.account)}
    return render(request, "account/settings.html", context)


def change(request: HttpRequest, own: Membership) -> HttpResponseBase:
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=own.account_id)
        before = {name: getattr(account, name) for name in AccountForm.Meta.fields}
        form = AccountForm(request.POST, instance=account)
        if not form.is_valid():
            return shown(request, own, form)
        changed = [name for name in before if before[name] != getattr(account, name)]
        if changed:
            account.save(update_fields=changed)
            log.record(
                principals.of_member(own),
                "account.change",
                account,
                before={name: before[name] for name in changed},
                after={name: getattr(account, name) for name in changed},
            )
    messages.success(request, "Changed." if changed else "Nothing was changed.")
    return redirect(request.path)


def secret(request: HttpRequest, own: Membership, act: str) -> HttpResponseBase:
    """Show the secret that signs calls to callback_urls, make a new one, or have the old one stop."""
    who = principals.of_member(own)
    if act == "drop_old":
        acting.rotate_account(who, own.account, drop_old=True)
        messages.success(request, "Calls are signed with the newest secret alone.")
        return redirect(request.path)
    found = (
        endpoints.secrets_of(own.account) if act == "show" else acting.rotate_account(who, own.account, drop_old=False)
    )
    return render(request, "account/callback_secret.html", {"own": own, "secret": found[0], "old": found[1:]})


def limits_of(account: Account) -> list[tuple[str, str]]:
    """Return what bounds an account, which operators set."""

    def a_minute(own: int | None, usual: int) -> str:
        number = usual if own is None else own
        return f"{number:,} a minute" if number else "any number"

    cap = account.monthly_cap_cents
    found: list[tuple[str, Any]] = [
        ("Cap a month", "none" if cap is None else money.money(cap)),
        ("Casts that run at once", "any number" if account.max_running is None else f"{account.max_running:,}"),
        ("Open casts", f"{open_casts.most(account):,}"),
        ("Requests over the API", a_minute(account.requests_per_minute, settings.RATION_PER_ACCOUNT)),
        ("Requests of each key", a_minute(account.requests_per_key, settings.RATION_PER_KEY)),
        ("Valid API keys", f"{limits.KEYS:,}"),
        ("Callback endpoints", f"{limits.ENDPOINTS:,}"),
    ]
    return found
