"""What metered accounts are to pay: reports to Stripe's meter, and invoices."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin.base import badge, block, chosen, code, column, external_link, remaining_fields, utc_time
from payments import metering
from payments.admin.base import Evidence, amount, stripe_link
from payments.admin.topups import AccountColumn, wake
from payments.models import Invoice, MeterReport, Subscription, Verification


@admin.register(MeterReport)
class MeterReportAdmin(AccountColumn):
    purpose = "What metered accounts used, hour by hour, as it is told to Stripe, which invoices it."
    list_display = ("hour_shown", "account", "reported", "state_and_why", "entries", "first_sent", "sent")
    list_filter = ("state", "hour")
    sortable_by = ("hour_shown",)
    search_fields = ("customer__account__name", "id__startswith")
    search_help_text = "By account, or identifier."
    actions = ("try_again",)
    known = (
        *("id", "customer", "after_entry", "upto_entry", "hour", "cents", "state", "message", "first_sent_at"),
        *("sent_at", "created_at"),
    )
    fieldsets = (
        (None, {"fields": ("identifier", "account", "hour_shown", "reported", "state_and_why", "entries")}),
        ("When", {"fields": ("sealed", "first_sent", "sent")}),
        ("Internal", {"fields": remaining_fields(MeterReport, *known), "classes": ("collapse",)}),
    )

    identifier = column("id", code, "identifier")
    hour_shown = column("hour", utc_time, "hour", order="id")
    reported = column("cents", amount, "amount")
    first_sent = column("first_sent_at", utc_time, "first sent")
    sent = column("sent_at", utc_time, "accepted")
    sealed = column("created_at", utc_time, "sealed")

    @admin.display(description="state")
    def state_and_why(self, report: MeterReport) -> SafeString:
        return badge(report.state, report.message)

    @admin.display(description="ledger entries")
    def entries(self, report: MeterReport) -> str:
        return f"{report.after_entry + 1:,} to {report.upto_entry:,}"

    def has_try_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_meterreport")

    @admin.action(description="Try again", permissions=["try"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[MeterReport]) -> None:
        keys = chosen(queryset)
        again = queryset.filter(state__in=(MeterReport.State.NEW, MeterReport.State.DOUBTFUL, MeterReport.State.FAILED))
        woken = [report.pk for report in again]
        metering.look_again(MeterReport.objects.filter(pk__in=woken))
        self.record(request, woken, "Try again.")
        self.report(request, "Reports that are tried now", done=len(woken), of=len(keys), others="are at Stripe")


@admin.register(Invoice)
class InvoiceAdmin(AccountColumn):
    purpose = "Stripe's invoices to metered accounts, as last seen."
    list_display = ("made", "account", "number", "usage", "total", "status_shown", "due", "paid", "invoice")
    list_filter = ("status", "created_at")
    sortable_by = ("made",)
    search_fields = ("id", "number", "customer__account__name")
    search_help_text = "By account, number, or id at Stripe (in_…)."
    fields = (
        *("account", "number", "status_shown", "usage", "total", "begins", "ends", "made", "due", "paid"),
        *("invoice", "page", "pdf"),
    )

    made = column("created_at", utc_time, "made", order="created_at")
    begins = column("period_start", utc_time, "from")
    ends = column("period_end", utc_time, "to")
    due = column("due_at", utc_time, "due")
    paid = column("paid_at", utc_time, "paid")
    usage = column("usage_cents", amount, "casts")
    total = column("total_cents", amount, "total")
    status_shown = column("status", badge, "status")
    invoice = stripe_link("invoices", "id", "at Stripe")
    page = column("page_url", external_link, "page")
    pdf = column("pdf_url", external_link, "PDF")


@admin.register(Subscription)
class SubscriptionAdmin(AccountColumn):
    purpose = "The subscriptions at Stripe by which metered accounts are invoiced."
    list_display = ("made", "account", "state_and_why", "status", "mails_invoices", "subscription", "next_at")
    list_filter = ("state", "status", "mails_invoices")
    sortable_by = ("made",)
    search_fields = ("stripe_id", "customer__account__name")
    search_help_text = "By account, or id at Stripe (sub_…)."
    fields = (
        *("account", "state_and_why", "status", "mails_invoices", "subscription", "made", "started", "ended"),
        *("after_entry", "sealed_upto_entry", "upto_entry", "next_at", "failed_steps", "failure"),
    )
    actions = ("look_now",)

    made = column("created_at", utc_time, "since", order="id")
    started = column("started_at", utc_time, "began at Stripe")
    ended = column("ended_at", utc_time, "ended")
    next_at = column("due_at", utc_time, "goes on")
    subscription = stripe_link("subscriptions", "stripe_id", "at Stripe")

    @admin.display(description="state")
    def state_and_why(self, subscription: Subscription) -> SafeString:
        return badge(subscription.state, subscription.message)

    def has_look_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_subscription")

    @admin.action(description="Go on now", permissions=["look"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        keys = chosen(queryset)
        woken = wake(queryset.filter(state__in=Subscription.OPEN))
        self.record(request, woken, "Go on now.")
        self.report(request, "Subscriptions that go on now", done=len(woken), of=len(keys), others="have ended")


@admin.register(Verification)
class VerificationAdmin(Evidence):
    purpose = "What each run of verifybilling found: where our books and Stripe's differ."
    list_display = ("ran", "months", "found")
    fields = ("ran", "months", "differences_shown", "under_way_shown")

    ran = column("at", utc_time, "ran")
    differences_shown = column("differences", block, "differences")
    under_way_shown = column("under_way", block, "under way")

    @admin.display(description="differences")
    def found(self, verification: Verification) -> int:
        return len(verification.differences.splitlines())
