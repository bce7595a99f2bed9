"""Accounts that pay."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import credit
from accounts.models import Account
from core.admin.base import NOTHING, admin_link, column, table, two_lines, utc_time
from core.money import money
from payments import customers, subscriptions
from payments.admin.base import OfBilling, amount, stripe_link
from payments.autotopup import FAILURES_MAX
from payments.client import StripeTrouble
from payments.models import Customer


class NewCustomerForm(forms.ModelForm):  # type: ignore[type-arg]
    """Turns billing on for an account."""

    class Meta:
        model = Customer
        fields = ("account", "email")


class ModeForm(forms.ModelForm):  # type: ignore[type-arg]
    """How an account pays."""

    by = ""  # who changes it
    billed = forms.BooleanField(
        required=False, label="Casts need credit", help_text="Off: billing is turned off for it."
    )

    class Meta:
        model = Customer
        fields = ("mode", "credit_limit_cents", "email")
        labels = {"email": "Mail address"}
        help_texts = {
            "credit_limit_cents": "Of a metered account: how much may be unpaid, in the currency's smallest unit."
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["billed"] = self.instance.account.billed

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if found.get("mode") == Customer.Mode.METERED and not found.get("credit_limit_cents"):
            raise forms.ValidationError({"credit_limit_cents": "A metered account needs one: up to it, it casts."})
        if found.get("mode") == Customer.Mode.METERED and not (found.get("email") or self.instance.payment_method_id):
            raise forms.ValidationError("Save a card, or an e-mail address to which invoices go: it has neither.")
        if found.get("mode") == Customer.Mode.PREPAID:
            found["credit_limit_cents"] = None
        return found

    def _post_clean(self) -> None:
        """Make the change, as the last of the checks: the function that makes it says what is against it.

        The page's transaction is open, and after this nothing is checked any more.
        """
        super()._post_clean()  # type: ignore[misc]
        if self.errors or not self.has_changed():
            return
        wanted, customer = self.cleaned_data, Customer.objects.get(pk=self.instance.pk)
        try:
            with transaction.atomic():
                if wanted["billed"]:
                    customers.begin(customer.account)
                if "email" in self.changed_data:
                    # Stripe is told after the page's transaction.
                    Customer.objects.filter(pk=customer.pk).update(email=wanted["email"])
                    customer.email = wanted["email"]
                if {"mode", "credit_limit_cents"}.intersection(self.changed_data):
                    subscriptions.set_mode(customer, wanted["mode"], wanted["credit_limit_cents"], by=self.by)
                if not wanted["billed"]:
                    customers.end(customer)
        except (subscriptions.ModeRefused, customers.StillMetered) as exc:
            self.add_error(None, str(exc))


class AutoTopUpState(admin.SimpleListFilter):
    """Filters by whether accounts top up by themselves."""

    title, parameter_name = "top-up by itself", "auto"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Customer]) -> list[tuple[str, str]]:
        return [("on", "on"), ("off", "off"), ("stopped", "switched off by failures")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Customer]) -> QuerySet[Customer]:
        return {
            "on": queryset.filter(auto_topup_cents__isnull=False, auto_topup_off_reason=""),
            "off": queryset.filter(auto_topup_cents=None),
            "stopped": queryset.exclude(auto_topup_off_reason="").filter(auto_topup_failures__gte=FAILURES_MAX),
        }.get(str(self.value()), queryset)


@admin.register(Customer)
class CustomerAdmin(OfBilling):
    purpose = "The accounts that pay, each with its card and how it tops up. Add one to begin with an account."
    list_display = ("account", "mode", "card", "auto", "customer", "created")
    list_filter = ("mode", AutoTopUpState)
    list_select_related = ("account",)
    search_fields = ("account__name", "stripe_id", "email", "subscriptions__stripe_id")
    search_help_text = "By account, mail address, or id at Stripe (cus_…, sub_…)."
    autocomplete_fields = ("account",)
    shown = (
        *("account", "customer", "remaining", "card", "auto", "subscriptions"),
        *("created", "deleted", "see_also"),
    )

    created = column("created_at", utc_time, "since", order="created_at")
    deleted = column("deleted_at", utc_time, "deleted at Stripe")
    customer = stripe_link("customers", "stripe_id", "at Stripe")

    @admin.display(description="card")
    def card(self, customer: Customer) -> SafeString | str:
        if not customer.payment_method_id:
            return NOTHING
        expires = f"expires {customer.card_exp_month:02}/{customer.card_exp_year}" if customer.card_exp_month else ""
        return two_lines(f"{customer.card_brand} {customer.card_last4}", expires)

    @admin.display(description="tops up by itself")
    def auto(self, customer: Customer) -> SafeString | str:
        if customer.auto_topup_cents is None or customer.auto_topup_off_reason:
            return two_lines("off", customer.auto_topup_off_reason) if customer.auto_topup_off_reason else "off"
        below = f"below {amount(customer.auto_topup_below_cents)}"
        failed = f", failed {customer.auto_topup_failures} times" if customer.auto_topup_failures else ""
        return two_lines(money(customer.auto_topup_cents), below + failed)

    @admin.display(description="subscriptions")
    def subscriptions(self, customer: Customer) -> SafeString | str:
        rows = [
            (admin_link("admin:payments_subscription_change", utc_time(one.created_at), one.pk), one.state, one.status)
            for one in customer.subscriptions.all()[:10]
        ]
        return table(("Since", "State", "At Stripe"), rows)

    @admin.display(description="credit")
    def remaining(self, customer: Customer) -> str:
        state = credit.state(customer.account)
        return f"{money(state.remaining_cents)}, and {money(state.held_cents)} held" if state else "not billed"

    @admin.display(description="see also")
    def see_also(self, customer: Customer) -> SafeString:
        which = {"customer__account__exact": customer.pk}
        return format_html(
            "{} · {} · {} · {}",
            admin_link("admin:accounts_account_change", "account", customer.pk),
            admin_link("admin:payments_topup_changelist", "top-ups", **which),
            admin_link("admin:payments_meterreport_changelist", "reports", **which),
            admin_link("admin:payments_invoice_changelist", "invoices", **which),
        )

    def get_fields(self, request: HttpRequest, obj: Customer | None = None) -> tuple[str, ...]:
        return NewCustomerForm.Meta.fields if obj is None else ("billed", *ModeForm.Meta.fields, *self.shown)

    def get_readonly_fields(self, request: HttpRequest, obj: Customer | None = None) -> tuple[str, ...]:
        return () if obj is None else self.shown

    def get_form(self, request: HttpRequest, obj: Customer | None = None, change: bool = False, **kwargs: Any) -> Any:
        by = {"by": request.user.get_username()}
        kwargs["form"] = NewCustomerForm if obj is None else type("ModeForm", (ModeForm,), by)
        return super().get_form(request, obj, change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        return False  # what it paid, and is to pay, stays known

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        if not change:
            # By the function that turns billing on; the form's object becomes the row that it made.
            account: Account = form.cleaned_data["account"]
            obj.pk = customers.begin(account, email=form.cleaned_data["email"]).pk
            obj.refresh_from_db()
        elif "email" in form.changed_data:
            before, after = form.initial["email"], form.cleaned_data["email"]
            transaction.on_commit(lambda: self.tell_stripe(request, obj, before, after))

    def tell_stripe(self, request: HttpRequest, customer: Customer, before: str, after: str) -> None:
        """Change where Stripe sends receipts and invoices; what it does not take is set back, and said."""
        try:
            customers.set_email(customer, after)
        except StripeTrouble as exc:
            Customer.objects.filter(pk=customer.pk, email=after).update(email=before)
            self.message_user(request, f"The mail address stays as it was: {exc}", messages.ERROR)
