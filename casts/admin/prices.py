"""What spells cost single accounts: set on a spell's page, with an entry in the account's audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts import principals
from accounts.audit import log
from casts.models import AccountPrice, Priced, PriceKind, Spell
from core.admin.base import NamedFields, money

if TYPE_CHECKING:
    PriceModelFormSet = forms.models.BaseInlineFormSet[AccountPrice, Spell, forms.ModelForm[AccountPrice]]
    PriceModelInline = admin.TabularInline[AccountPrice, Spell]
else:
    PriceModelFormSet, PriceModelInline = forms.models.BaseInlineFormSet, admin.TabularInline


class PriceFormSet(NamedFields, PriceModelFormSet):
    """Validates a price together with the spell as the form has it, stored or not."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form: Any = super()._construct_form(i, **kwargs)  # type: ignore[misc] # not in the stubs
        form.instance.spell = self.instance
        return form


class AccountPrices(PriceModelInline):
    model, formset = AccountPrice, PriceFormSet
    autocomplete_fields = ("account",)
    extra = 0
    fields = ("account", "price_kind", "price_cents", "per_minute_cents", "note")
    verbose_name = "price for one account"
    verbose_name_plural = "prices for single accounts (for casts accepted from now on, in place of the spell's price)"


def save(request: HttpRequest, formset: Any) -> None:
    """Save the prices for single accounts, with an entry for each change in the audit log of the account."""
    spell: Spell = formset.instance
    before = facts_by_account(spell)
    formset.save()
    after = facts_by_account(spell)
    who = principals.of_user(request.user)  # type: ignore[arg-type] # nobody else reaches the admin
    for account_id in sorted(before.keys() | after.keys()):
        was, now = before.get(account_id), after.get(account_id)
        if was != now:
            log.record(who, "spell.set_price", spell, account_id=account_id, before=was, after=now)


def facts_by_account(spell: Spell) -> dict[int, dict[str, Any]]:
    # Not the note: the account's keys may read its audit log.
    names = ("price_kind", "price_cents", "per_minute_cents")
    rows = AccountPrice.objects.filter(spell=spell).values("account_id", "spell__key", *names)
    return {row.pop("account_id"): {"spell_key": row.pop("spell__key"), **row} for row in rows}


def said(row: Priced) -> str:
    """Return a price in words."""
    most = money(row.price_cents)
    if row.price_kind == PriceKind.PER_MINUTE:
        return f"{money(row.per_minute_cents)} a minute, {most} at most"
    return f"as its run reports, {most} at most" if row.price_kind == PriceKind.REPORTED else most
