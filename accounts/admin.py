"""The operator's console, floor 1: who casts, with which keys, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import budget, keys
from accounts.models import (
    SCOPES,
    Account,
    ApiKey,
    BudgetCap,
    BudgetPeriod,
    BudgetScope,
    LedgerEntry,
    Membership,
    month_of,
    usual_scopes,
)
from core.admin import base
from core.admin.base import ConsoleAdmin, ReadOnlyAdmin, badge, code, column, inside, moment, money, table

if TYPE_CHECKING:
    MemberInline = admin.TabularInline[Membership, Account]
    CapInline = admin.TabularInline[BudgetCap, Account]
    KeyModelForm = forms.ModelForm[ApiKey]
    AccountForm = forms.ModelForm[Account]
else:
    MemberInline = CapInline = admin.TabularInline
    KeyModelForm = forms.ModelForm
    AccountForm = forms.ModelForm


class Members(MemberInline):
    model = Membership
    autocomplete_fields = ("user",)
    extra = 0
    verbose_name, verbose_name_plural = "member", "members (may watch this account's casts in the browser)"


class InnerCaps(CapInline):
    """Caps within the account. They are set over the API, where this month's counters are made along with them."""

    model = BudgetCap
    extra = 0
    fields = readonly_fields = ("scope", "ref", "cap_cents")
    can_delete = False
    verbose_name, verbose_name_plural = "cap", "caps within the account (PATCH /api/v1/budget)"

    def has_add_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Not here."""
        return False


@admin.register(Account)
class AccountAdmin(ConsoleAdmin):
    list_display = ("name", "cap", "held", "captured", "remaining", "created")
    search_fields = ("name", "members__username")
    settings = ("name", "monthly_cap_cents", "max_running", "require_idempotency_key")
    readonly_fields = ("cap", "held", "captured", "remaining", "created", "told", "see_also")
    fields = settings + readonly_fields
    inlines = (Members, InnerCaps)
    created = column("created_at", moment, "created", order="created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """Bring this month's counters along."""
        month = BudgetPeriod.objects.filter(month=month_of(timezone.now()), scope=BudgetScope.ACCOUNT)
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.prefetch_related(Prefetch("budget_periods", queryset=month, to_attr="this_month"))

    def save_model(self, request: HttpRequest, obj: Account, form: AccountForm, change: bool) -> None:
        """Save; a changed cap holds from now on, in this month too."""
        super().save_model(request, obj, form, change)
        if change and "monthly_cap_cents" in form.changed_data:
            budget.set_cap(obj, cap_cents=obj.monthly_cap_cents)

    def period(self, account: Account) -> BudgetPeriod:
        """Return this month's counters; not saved, and at zero, before the month's first cast."""
        found: list[BudgetPeriod] = getattr(account, "this_month", [])
        return found[0] if found else BudgetPeriod(cap_cents=account.monthly_cap_cents)

    @admin.display(description="told")
    def told(self, account: Account) -> SafeString | str:
        """List the newest account events, such as budget thresholds."""
        newest = account.events.all()[:10]
        rows = [(moment(e.at), e.kind, ", ".join(f"{k} {v}" for k, v in e.data.items())) for e in newest]
        return table(("When", "What", "Facts"), rows) if rows else base.NOTHING

    @admin.display(description="cap this month")
    def cap(self, account: Account) -> str:
        """Return what may be spent."""
        return money(self.period(account).cap_cents)

    @admin.display(description="held this month")
    def held(self, account: Account) -> str:
        """Return what is reserved for casts under way."""
        return money(self.period(account).held_cents)

    @admin.display(description="captured this month")
    def captured(self, account: Account) -> str:
        """Return what was taken."""
        return money(self.period(account).captured_cents)

    @admin.display(description="remaining this month")
    def remaining(self, account: Account) -> str:
        """Return what may still be held."""
        return money(self.period(account).remaining_cents)

    @admin.display(description="see also")
    def see_also(self, account: Account) -> SafeString | str:
        """Link to what belongs to the account."""
        if account._state.adding:
            return base.NOTHING
        return format_html(
            "{} · {} · {}",
            inside("admin:casts_cast_changelist", "casts", account__id__exact=account.pk),
            inside("admin:accounts_apikey_changelist", "API keys", account__id__exact=account.pk),
            inside("admin:accounts_ledgerentry_changelist", "ledger", period__account__id__exact=account.pk),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Only an account that never had money to spend; asked here, before everything it owns is gathered."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.budget_periods.exists())


class NewKeyForm(KeyModelForm):
    """What may be said of a key when it is made; afterwards only its name changes."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {meaning}") for scope, meaning in SCOPES.items()],
        initial=usual_scopes,
        widget=forms.CheckboxSelectMultiple,
    )
    spell_keys = forms.CharField(
        label="Only these spells",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField console-code", "spellcheck": "false"}),
        help_text="Spell keys, separated by blanks, commas or new lines. Blank: every spell, also later ones.",
    )

    class Meta:
        model = ApiKey
        fields = ("account", "name", "scopes", "spell_keys", "expires_at")

    def clean_spell_keys(self) -> list[str] | None:
        """Return the keys as a list, or None for all."""
        return str(self.cleaned_data["spell_keys"]).replace(",", " ").split() or None

    def clean_expires_at(self) -> Any:
        """Refuse a key that would be dead on arrival."""
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("That is over already. Times are in UTC.")
        return at


class KeyState(admin.SimpleListFilter):
    """Filters keys by what they still open."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[ApiKey]) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(word, word) for word in ("active", "expired", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Return the keys in the chosen state."""
        now = timezone.now()
        return {
            "active": queryset.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None),
            "expired": queryset.filter(expires_at__lte=now, revoked_at=None),
            "revoked": queryset.filter(revoked_at__isnull=False),
        }.get(str(self.value()), queryset)


@admin.register(ApiKey)
class ApiKeyAdmin(ConsoleAdmin):
    list_display = ("name", "prefix_shown", "account", "state", "may", "spells", "expires", "revoked", "last_used")
    list_filter = (KeyState, "last_used_at")
    list_select_related = ("account",)
    search_fields = ("name", "prefix", "account__name")
    search_help_text = "By name, prefix or account. Never paste a whole key: it would end up in logs and histories."
    actions = ("revoke",)
    autocomplete_fields = ("account",)
    form = NewKeyForm
    made_of = ("account", "prefix_shown", "state", "may", "spells", "created", "expires", "revoked", "last_used")
    readonly_fields = made_of[1:]

    prefix_shown = column("prefix", code, "prefix")
    may = column("scopes", lambda scopes: "all" if set(scopes) == set(SCOPES) else ", ".join(scopes), "scopes")
    spells = column("spell_keys", lambda spells: "all" if spells is None else ", ".join(spells), "spells")
    created = column("created_at", moment, "created", order="created_at")
    expires = column("expires_at", moment, "expires", order="expires_at")
    revoked = column("revoked_at", moment, "revoked", order="revoked_at")
    last_used = column("last_used_at", moment, "last used", order="last_used_at")

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        """Say whether it opens anything."""
        return badge("revoked" if key.revoked_at else "active" if key.usable else "expired")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Ask for everything once; later show what it is and let its name be fixed."""
        return NewKeyForm.Meta.fields if obj is None else ("name", *self.made_of)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """All but the name, once it is made."""
        return () if obj is None else self.made_of

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form to make a key with, or the one to rename it."""
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer to save, and nothing that would lead away from the secret."""
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, only_save | (extra_context or {}))

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Only a key that never opened anything: a used one is revoked, and stays to say who did what."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.last_used_at is None)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: KeyModelForm, change: bool) -> None:
        """Make the key, or save its new name."""
        if change:
            obj.save(update_fields=["name"])
            return
        key, secret = keys.create(
            obj.account, name=obj.name, scopes=obj.scopes, spell_keys=obj.spell_keys, expires_at=obj.expires_at
        )
        obj.pk = key.pk
        obj.refresh_from_db()
        messages.success(
            request,
            format_html(
                'Copy the secret of “{}” now. It is shown this once:<code class="console-secret">{}</code>',
                key.name,
                secret,
            ),
        )

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Answer with the message itself: over a redirect it would be kept in a cookie, or in a session's row."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "API key made", "key": obj}
        return TemplateResponse(request, "admin/accounts/apikey/made.html", context)

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Close keys for good."""
        done = [key for key in queryset if keys.revoke(key)]
        for key in done:
            self.log_change(request, key, "Revoked.")
        before = queryset.count() - len(done)
        said = f"Revoked {len(done)} key(s)." + (f" {before} had been revoked before." if before else "")
        self.message_user(request, said, messages.SUCCESS if done else messages.WARNING)


@admin.register(BudgetPeriod)
class BudgetPeriodAdmin(ReadOnlyAdmin):
    list_display = ("account", "month_shown", "cap", "held", "captured", "remaining")
    list_filter = ("month",)
    list_select_related = ("account",)
    search_fields = ("account__name",)
    fields = (*list_display, "entries")

    month_shown = column("month", lambda month: f"{month:%Y-%m}", "month", order="month")
    cap = column("cap_cents", money, "cap", order="cap_cents")
    held = column("held_cents", money, "held", order="held_cents")
    captured = column("captured_cents", money, "captured", order="captured_cents")
    remaining = column("remaining_cents", money, "remaining")

    @admin.display(description="ledger")
    def entries(self, period: BudgetPeriod) -> SafeString:
        """Link to the entries that add up to these numbers."""
        return inside("admin:accounts_ledgerentry_changelist", "entries", period__id__exact=period.pk)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = ("when", "account", "month", "kind", "amount", "of_cast")
    list_display_links = ("when",)
    list_filter = ("kind", "at")
    list_select_related = ("period__account",)
    search_fields = ("period__account__name",)
    search_help_text = "By cast id or account."
    fields = list_display

    when = column("at", moment, "at", order="id")
    amount = column("cents", money, "amount", order="cents")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Let the account's page link here."""
        return lookup == "period__account__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(ordering="period__account__name")
    def account(self, entry: LedgerEntry) -> Account:
        """Return who paid."""
        return entry.period.account

    @admin.display(ordering="period__month")
    def month(self, entry: LedgerEntry) -> str:
        """Return the month it is booked to."""
        return f"{entry.period.month:%Y-%m}"

    @admin.display(description="cast", ordering="cast_id")
    def of_cast(self, entry: LedgerEntry) -> SafeString:
        """Link to what was paid for."""
        return inside("admin:casts_cast_change", code(entry.cast_id), entry.cast_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """Look a cast's id up as such."""
        if cast_id := base.uuid_in(search_term):
            return queryset.filter(cast_id=cast_id), False
        return super().get_search_results(request, queryset, search_term)
