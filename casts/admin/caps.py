"""Caps within an account, for one API key or for what it spends on one spell: set on the account's page.

Here and not with accounts, which know no spells. Like everything of accounts, saving asks for the password first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from accounts import budget, principals
from accounts.admin import AccountAdmin
from accounts.models import Account, BudgetCap, BudgetPeriod, month_of
from casts import caps
from casts.models import Spell
from core.admin.base import NOTHING, NamedFields, money

if TYPE_CHECKING:
    CapModelForm = forms.ModelForm[BudgetCap]
    CapModelFormSet = forms.models.BaseInlineFormSet[BudgetCap, Account, CapModelForm]
    CapModelInline = admin.TabularInline[BudgetCap, Account]
else:
    CapModelForm, CapModelFormSet = forms.ModelForm, forms.models.BaseInlineFormSet
    CapModelInline = admin.TabularInline

KEYS_OFFERED = 500


class CapForm(CapModelForm):
    """A cap: of what is said once, how much may be changed."""

    of = forms.ChoiceField(label="for")
    cap_cents = forms.IntegerField(
        label="cap",
        min_value=0,
        max_value=caps.MOST_CENTS,
        help_text="A month, in the currency's smallest unit. 0: nothing.",
    )

    class Meta:
        model = BudgetCap
        fields = ("of", "cap_cents")

    def __init__(self, *args: Any, choices: list[Any] = (), **kwargs: Any) -> None:  # type: ignore[assignment]
        super().__init__(*args, **kwargs)
        field = self.fields["of"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        cap = self.instance
        if not cap._state.adding:
            of = f"{cap.scope}:{cap.ref}"
            field.choices = [(of, of_words(cap, choices))]
            field.initial, field.disabled = of, True


def of_words(cap: BudgetCap, choices: list[Any]) -> str:
    named = {of: words for _, some in choices[1:] for of, words in some}
    return str(named.get(f"{cap.scope}:{cap.ref}") or f"{cap.scope} {cap.ref}, which is no longer there")


class CapFormSet(NamedFields, CapModelFormSet):
    """Sets caps as the API does, each change with its entry in the account's audit log."""

    who: principals.Principal

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        if not hasattr(self, "_offered"):
            self._offered = offered(self.instance)
        return {**super().get_form_kwargs(index), "choices": self._offered}

    def clean(self) -> None:
        super().clean()
        named = set(self.instance.caps.values_list("scope", "ref")) if not self.instance._state.adding else set()
        for form in self.extra_forms:
            of = tuple(form.cleaned_data.get("of", "").split(":", 1))
            if form.has_changed() and of in named:
                form.add_error("of", "It has a cap: change that one.")
            named.add(of)

    def save_new(self, form: Any, commit: bool = True) -> BudgetCap:
        scope, ref = form.cleaned_data["of"].split(":", 1)
        return self._set(scope, ref, form.cleaned_data["cap_cents"])

    def save_existing(self, form: Any, obj: BudgetCap, commit: bool = True) -> BudgetCap:
        return self._set(obj.scope, obj.ref, form.cleaned_data["cap_cents"])

    def delete_existing(self, obj: BudgetCap, commit: bool = True) -> None:
        self._set(obj.scope, obj.ref, None)

    def _set(self, scope: str, ref: str, cents: int | None) -> BudgetCap:
        account: Account = self.instance
        before = budget.cap_of(account, scope=scope, ref=ref)
        caps.put(self.who, account, scope, ref, cents=cents)
        found = account.caps.filter(scope=scope, ref=ref).first()
        return found or BudgetCap(account=account, scope=scope, ref=ref, cap_cents=before or 0)


def offered(account: Account) -> list[Any]:
    """Return what a cap can be for: the account's keys and the spells that it sees."""
    if account._state.adding:
        return [("", "choose"), ("API keys", []), ("Spells", [])]
    keys = account.api_keys.filter(revoked_at=None).order_by("-pk")[:KEYS_OFFERED]
    spells = Spell.objects.seen_by(account.pk).order_by("key").values_list("key", "name")
    return [
        ("", "choose"),
        ("API keys", [(f"key:{key.pk}", str(key)) for key in keys]),
        ("Spells", [(f"spell:{key}", f"{key} ({name})") for key, name in spells]),
    ]


class InnerCaps(CapModelInline):
    """The caps within an account, with this month's money."""

    model, form, formset = BudgetCap, CapForm, CapFormSet
    extra = 0
    fields = ("of", "cap_cents", "held", "captured", "remaining")
    readonly_fields = ("held", "captured", "remaining")
    verbose_name = "cap within the account"
    verbose_name_plural = "caps within the account, for one key or one spell (to lift one, tick delete)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[BudgetCap]:
        month = BudgetPeriod.objects.filter(account=OuterRef("account"), month=month_of(timezone.now()))
        of_cap = month.filter(scope=OuterRef("scope"), ref=OuterRef("ref"))
        rows: QuerySet[BudgetCap] = super().get_queryset(request)
        return rows.annotate(
            held_now=Subquery(of_cap.values("held_cents")[:1]),
            captured_now=Subquery(of_cap.values("captured_cents")[:1]),
        )

    def get_formset(self, request: HttpRequest, obj: Account | None = None, **kwargs: Any) -> Any:
        made: Any = super().get_formset(request, obj, **kwargs)
        made.who = principals.of_user(request.user)  # type: ignore[arg-type] # nobody else reaches the admin
        return made

    @admin.display(description="held this month")
    def held(self, cap: BudgetCap) -> str:
        return of_month(cap, "held_now")

    @admin.display(description="captured")
    def captured(self, cap: BudgetCap) -> str:
        return of_month(cap, "captured_now")

    @admin.display(description="remaining")
    def remaining(self, cap: BudgetCap) -> str:
        if cap._state.adding:
            return NOTHING
        used = sum(getattr(cap, name, None) or 0 for name in ("held_now", "captured_now"))
        return money(max(0, cap.cap_cents - used))

    def has_view_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return request.user.has_perm("accounts.view_account") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return request.user.has_perm("accounts.change_account")

    def has_add_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        # Of an account that is there: a new one has no keys yet.
        return obj is not None and self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return self.has_change_permission(request, obj)


def of_month(cap: BudgetCap, name: str) -> str:
    return NOTHING if cap._state.adding else money(getattr(cap, name, None) or 0)


AccountAdmin.inlines.append(InnerCaps)
