"""The operator's console for money: the months' counters, the ledger, and credit, which operators grant."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts import credit
from accounts.models import Account, BudgetPeriod, BudgetScope, Credit, LedgerEntry
from core.admin import base
from core.admin.base import ReadOnlyAdmin, admin_link, code, column, money, utc_time

if TYPE_CHECKING:
    CreditForm = forms.ModelForm[Credit]
else:
    CreditForm = forms.ModelForm

GRANT_MAX_CENTS = 10**12


class Grant(CreditForm):
    """Credit that an operator grants, or takes back."""

    cents = forms.IntegerField(help_text="In the currency's smallest unit. Negative: takes back.")
    note = forms.CharField(label="Reason", max_length=500, widget=forms.TextInput(attrs={"class": "vTextField"}))
    begin_billing = forms.BooleanField(
        required=False,
        label="Begin to bill this account",
        help_text="For an account that is not billed so far: from now on its casts need credit.",
    )
    # Made with the form, so that a form which is sent twice grants once.
    number = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    class Meta:
        model = Credit
        fields = ("account", "cents", "note")

    def clean_cents(self) -> int:
        cents = int(self.cleaned_data["cents"])
        if not cents or abs(cents) > GRANT_MAX_CENTS:
            raise forms.ValidationError(f"Give a number other than 0, at most {GRANT_MAX_CENTS:,}.")
        return cents

    def clean(self) -> None:
        super().clean()
        account, number = self.cleaned_data.get("account"), self.cleaned_data.get("number")
        if account is not None and not account.billed and not self.cleaned_data.get("begin_billing"):
            self.add_error("begin_billing", "It is not billed: its casts need no credit. Say that billing is to begin.")
        if number is not None and Credit.objects.filter(source=f"grant:{number}").exists():
            raise forms.ValidationError("This was granted a moment ago: the form was sent twice.")


@admin.register(Credit)
class CreditAdmin(ReadOnlyAdmin):
    """All that was booked; what an operator adds is a grant, with its reason."""

    purpose = "What was booked for accounts that are billed: grants, top-ups, refunds."
    list_display = ("when", "account", "kind", "amount", "source", "note", "by")
    list_display_links = ("when",)
    list_filter = ("kind", "at")
    list_select_related = ("account",)
    search_fields = ("account__name", "source")
    search_help_text = "By account, or by what it was booked for: a payment's id."
    autocomplete_fields = ("account",)
    form = Grant
    fields = list_display

    when = column("at", utc_time, "at", order="id")
    amount = column("cents", money, "amount", order="cents")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_credit")

    def get_fields(self, request: HttpRequest, obj: Credit | None = None) -> tuple[str, ...]:
        return (*Grant.Meta.fields, "begin_billing", "number") if obj is None else self.list_display

    def get_form(self, request: HttpRequest, obj: Credit | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Credit, form: Grant, change: bool) -> None:
        account: Account = form.cleaned_data["account"]
        assert isinstance(request.user, User)  # only logged-in users reach the admin
        if form.cleaned_data["begin_billing"]:
            credit.begin_billing(account)
        source = f"grant:{form.cleaned_data['number']}"
        by = f"user {request.user.get_username()}"
        credit.book(account.pk, Credit.Kind.GRANT, obj.cents, source, note=obj.note, by=by)
        # The form's object becomes the row that was booked.
        obj.pk = Credit.objects.values_list("pk", flat=True).get(source=source)
        obj.refresh_from_db()


@admin.register(BudgetPeriod)
class BudgetPeriodAdmin(ReadOnlyAdmin):
    purpose = "What each account holds and has spent, month by month, and by key or spell where a cap is set."
    list_display = ("account", "month_shown", "cap", "held", "captured", "remaining")
    list_filter = ("month",)
    list_select_related = ("account",)
    search_fields = ("account__name",)
    fields = (*list_display, "entries")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BudgetPeriod]:
        # An account's credit is of no month; the account's page has it.
        periods: QuerySet[BudgetPeriod] = super().get_queryset(request).exclude(scope=BudgetScope.CREDIT)
        return periods

    month_shown = column("month", lambda month: f"{month:%Y-%m}", "month", order="month")
    cap = column("cap_cents", money, "cap", order="cap_cents")
    held = column("held_cents", money, "held", order="held_cents")
    captured = column("captured_cents", money, "captured", order="captured_cents")
    remaining = column("remaining_cents", money, "remaining")

    @admin.display(description="ledger")
    def entries(self, period: BudgetPeriod) -> SafeString:
        return admin_link("admin:accounts_ledgerentry_changelist", "entries", period__id__exact=period.pk)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    purpose = "Each move of money, for one cast each: held, captured, released."
    list_display = ("when", "account", "month", "kind", "amount", "of_cast")
    list_display_links = ("when",)
    list_filter = ("kind", "at")
    list_select_related = ("period__account",)
    search_fields = ("period__account__name",)
    search_help_text = "By cast id or account."
    fields = list_display

    when = column("at", utc_time, "at", order="id")
    amount = column("cents", money, "amount", order="cents")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # The account's page links here with this filter.
        return lookup == "period__account__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(ordering="period__account__name")
    def account(self, entry: LedgerEntry) -> Account:
        return entry.period.account

    @admin.display(ordering="period__month")
    def month(self, entry: LedgerEntry) -> str:
        return f"{entry.period.month:%Y-%m}"

    @admin.display(description="cast", ordering="cast_id")
    def of_cast(self, entry: LedgerEntry) -> SafeString:
        return admin_link("admin:casts_cast_change", code(entry.cast_id), entry.cast_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        if cast_id := base.uuid_in(search_term):
            return queryset.filter(cast_id=cast_id), False
        return super().get_search_results(request, queryset, search_term)
