"""Money that was taken from cards, given back, or is disputed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from core.admin.base import (
    NOTHING,
    admin_link,
    badge,
    chosen,
    code,
    column,
    external_link,
    remaining_fields,
    table,
    utc_time,
)
from core.errors import SpellError
from core.money import plain
from core.queue import wakeups
from core.queue.due import DueRow
from payments import currency, refunds
from payments.admin.base import Evidence, amount, stripe_link
from payments.models import MESSAGE_CHARS, Dispute, Refund, TopUp


class RefundForm(forms.Form):
    """How much of a top-up is given back, and why."""

    amount = forms.CharField(max_length=20)
    reason = forms.CharField(
        max_length=MESSAGE_CHARS,
        widget=forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
        help_text="The account's owner and other operators read it.",
    )
    spent_too = forms.BooleanField(
        label="Also what is spent",
        required=False,
        help_text="What the account has spent, or holds for open casts, is refunded too: its credit falls below zero.",
    )

    def __init__(self, topup: TopUp, data: Any = None) -> None:
        left = topup.cents - topup.refunded_cents
        super().__init__(data, initial={"amount": plain(max(left, 0))})
        self.topup = topup

    def clean_amount(self) -> int:
        """Return cents."""
        try:
            cents = currency.parsed(self.cleaned_data["amount"])
        except ValueError as exc:
            raise forms.ValidationError(str(exc)) from exc
        if cents <= 0:
            raise forms.ValidationError("Give back something.")
        return cents


def wake(queryset: QuerySet[Any]) -> list[Any]:
    """Have a worker look at these rows now; return their keys."""
    model: type[DueRow] = queryset.model
    keys = chosen(queryset)
    with transaction.atomic():
        model.due_rows().filter(pk__in=keys).forgive()
        model.due_rows().wake(pk__in=keys)
        transaction.on_commit(wakeups.work_is_due)
    return keys


class AccountColumn(Evidence):
    """Evidence of one customer."""

    list_select_related = ("customer__account",)

    @admin.display(description="account", ordering="customer__account__name")
    def account(self, row: Any) -> SafeString:
        return admin_link("admin:payments_customer_change", row.customer.account.name, row.customer_id)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A customer's page links here with this filter.
        return lookup in ("customer__account__exact", "to_settle__gt") or super().lookup_allowed(lookup, value, request)


@admin.register(TopUp)
class TopUpAdmin(AccountColumn):
    purpose = "Each payment that gave an account credit, or was to: at a checkout page, or by itself."
    list_display = ("when", "account", "paid", "state_and_why", "origin", "by", "intent")
    list_filter = ("state", "origin", "hosted", "created_at")
    sortable_by = ("when",)
    search_fields = ("intent_id", "session_id", "customer__account__name")
    search_help_text = "By account, or id at Stripe (pi_…, cs_…)."
    actions = ("refund", "look_now", "settled")
    known = (
        *("id", "customer", "cents", "refunded_cents", "state", "origin", "by", "hosted", "intent_id", "session_id"),
        *("receipt_url", "code", "decline_code", "message", "created_at", "ended_at"),
        *("action_url", "request_key", "request_digest", "to_settle"),
    )
    fieldsets = (
        (None, {"fields": ("account", "paid", "given_back", "state_and_why", "to_settle", "origin", "by", "hosted")}),
        ("At Stripe", {"fields": ("intent", "session", "receipt", "code", "decline_code")}),
        ("When", {"fields": ("when", "ended")}),
        ("What else became of it", {"fields": ("refunds", "disputes")}),
        ("Internal", {"fields": remaining_fields(TopUp, *known), "classes": ("collapse",)}),
    )

    when = column("created_at", utc_time, "at", order="id")
    ended = column("ended_at", utc_time, "ended")
    paid = column("cents", amount, "amount")
    given_back = column("refunded_cents", amount, "given back")
    intent = stripe_link("payments", "intent_id", "payment")
    session = column("session_id", code, "page at Stripe")
    receipt = column("receipt_url", external_link, "receipt")

    @admin.display(description="state")
    def state_and_why(self, topup: TopUp) -> SafeString:
        return badge(topup.state, topup.message)

    @admin.display(description="refunds")
    def refunds(self, topup: TopUp) -> SafeString | str:
        rows = [
            (admin_link("admin:payments_refund_change", utc_time(one.created_at), one.pk), amount(one.cents), one.state)
            for one in topup.refunds.all()
        ]
        return table(("At", "Amount", "State"), rows)

    @admin.display(description="disputes")
    def disputes(self, topup: TopUp) -> SafeString | str:
        rows = [
            (admin_link("admin:payments_dispute_change", one.pk, one.pk), amount(one.cents), one.status)
            for one in topup.disputes.all()
        ]
        return table(("Dispute", "Amount", "Status"), rows)

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.add_refund")

    def has_look_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_topup")

    def asks_first(self, request: HttpRequest, action: str) -> bool:
        return action == "refund" or super().asks_first(request, action)  # which tells of itself, once it is done

    @admin.action(description="Refund…", permissions=["refund"])
    def refund(self, request: HttpRequest, queryset: QuerySet[TopUp]) -> HttpResponse | None:
        """Ask how much of one top-up is given back, and why; then have it done."""
        picked = list(queryset.select_related("customer__account")[:2])
        if len(picked) != 1:
            self.message_user(request, "Refunds are given one by one: choose one top-up.", messages.WARNING)
            return None
        [topup] = picked
        form = RefundForm(topup, request.POST if "asked" in request.POST else None)
        if form.is_valid():
            facts = form.cleaned_data
            cents, by = facts.pop("amount"), request.user.get_username()
            try:
                with transaction.atomic():
                    self._tell(request, "refund", topup, after={"cents": cents, **facts})
                    refunds.begin(topup, cents, by=by, **facts)
            except SpellError as exc:
                form.add_error("amount", str(exc))
            else:
                self.record(request, [topup.pk], f"Refund {amount(cents)}: {facts['reason']}")
                self.message_user(request, f"{amount(cents)} will be given back.", messages.SUCCESS)
                return None
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Refund", "form": form}
        context |= {"topup": topup, "paid": amount(topup.cents), "before": amount(topup.refunded_cents)}
        return TemplateResponse(request, "admin/payments/topup/refund.html", context)

    @admin.action(description="Look again at Stripe", permissions=["look"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[TopUp]) -> None:
        keys = chosen(queryset)
        woken = wake(queryset.filter(state__in=TopUp.OPEN))
        self.record(request, woken, "Look again.")
        self.report(request, "Top-ups that are looked at now", done=len(woken), of=len(keys), others="have ended")

    @admin.action(description="What was to settle is settled", permissions=["look"])
    def settled(self, request: HttpRequest, queryset: QuerySet[TopUp]) -> None:
        keys: list[Any] = chosen(queryset)
        done: list[Any] = []
        for topup in TopUp.objects.filter(pk__in=keys).exclude(to_settle=""):
            if TopUp.objects.filter(pk=topup.pk, to_settle=topup.to_settle).update(to_settle=""):
                self.record(request, [topup.pk], f"Settled: {topup.to_settle}"[:MESSAGE_CHARS])
                done.append(topup.pk)
        self.report(request, "Top-ups that are settled", done=len(done), of=len(keys), others="had nothing to settle")


@admin.register(Refund)
class RefundAdmin(Evidence):
    purpose = "What was paid back to cardholders. One is made from a top-up, by its action."
    list_display = ("when", "account", "paid", "state_and_why", "by", "reason", "refund")
    list_filter = ("state", "created_at")
    list_select_related = ("topup__customer__account",)
    sortable_by = ("when",)
    search_fields = ("refund_id", "topup__intent_id", "topup__customer__account__name")
    search_help_text = "By account, or id at Stripe (re_…, pi_…)."
    fields = ("account", "of", "paid", "state_and_why", "reason", "by", "refund", "when", "ended")
    actions = ("look_now",)

    when = column("created_at", utc_time, "at", order="id")
    ended = column("ended_at", utc_time, "ended")
    paid = column("cents", amount, "amount")
    refund = stripe_link("refunds", "refund_id", "at Stripe")

    @admin.display(description="state")
    def state_and_why(self, refund: Refund) -> SafeString:
        return badge(refund.state, refund.message)

    @admin.display(description="account")
    def account(self, refund: Refund) -> str:
        return refund.topup.customer.account.name

    @admin.display(description="top-up")
    def of(self, refund: Refund) -> SafeString:
        return admin_link("admin:payments_topup_change", code(refund.topup_id), refund.topup_id)

    def has_look_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_refund")

    @admin.action(description="Try again, or look again at Stripe", permissions=["look"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        keys = chosen(queryset)
        woken = wake(queryset.filter(state__in=(Refund.State.NEW, Refund.State.PENDING)))
        self.record(request, woken, "Look again.")
        self.report(request, "Refunds that are looked at now", done=len(woken), of=len(keys), others="have ended")


@admin.register(Dispute)
class DisputeAdmin(Evidence):
    purpose = "Payments that cardholders object to. Evidence is given at Stripe."
    list_display = ("opened", "account", "taken", "status_shown", "reason", "evidence_by", "dispute")
    list_filter = ("status", "reason", "opened_at")
    list_select_related = ("topup__customer__account",)
    sortable_by = ("opened",)
    search_fields = ("id", "topup__intent_id", "topup__customer__account__name")
    search_help_text = "By account, or id at Stripe (du_…, pi_…)."
    fields = ("account", "of", "taken", "status_shown", "reason", "opened", "evidence_by", "closed", "dispute")

    opened = column("opened_at", utc_time, "opened", order="opened_at")
    closed = column("closed_at", utc_time, "closed")
    evidence_by = column("due_by", utc_time, "evidence by")
    taken = column("cents", amount, "amount")
    status_shown = column("status", badge, "status")
    dispute = stripe_link("disputes", "id", "at Stripe")

    @admin.display(description="account")
    def account(self, dispute: Dispute) -> str:
        return dispute.topup.customer.account.name

    @admin.display(description="top-up")
    def of(self, dispute: Dispute) -> SafeString | str:
        return admin_link("admin:payments_topup_change", code(dispute.topup_id), dispute.topup_id) or NOTHING
