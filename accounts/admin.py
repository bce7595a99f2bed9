"""The operator's console: accounts, their API keys, and what they spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import budget, credit, keys, open_casts, principals
from accounts.audit import admin as audit_admin  # noqa: F401 - registers its list
from accounts.members import admin as members_admin  # noqa: F401 - registers its list
from accounts.models import (
    SCOPES,
    Account,
    ApiKey,
    BudgetPeriod,
    BudgetScope,
    Membership,
    OpenCasts,
    month_of,
    usual_scopes,
)
from accounts.rationing import admin as rationing_admin  # noqa: F401 - registers its list
from core.admin import base
from core.admin.base import ConsoleAdmin, NamedFields, admin_link, badge, code, column, money, table, utc_time

if TYPE_CHECKING:
    MemberInline = admin.TabularInline[Membership, Account]
    MemberFormSet = forms.BaseInlineFormSet[Membership, Account, forms.ModelForm[Membership]]
    KeyModelForm = forms.ModelForm[ApiKey]
    AccountForm = forms.ModelForm[Account]
else:
    MemberInline = admin.TabularInline
    MemberFormSet = forms.BaseInlineFormSet
    KeyModelForm = forms.ModelForm
    AccountForm = forms.ModelForm


class MemberForms(NamedFields, MemberFormSet):
    """The members of an account, a row each."""


class Members(MemberInline):
    model = Membership
    formset = MemberForms
    autocomplete_fields = ("user",)
    extra = 0
    fields = ("user", "role")
    verbose_name, verbose_name_plural = "member", "members (may watch this account's casts in the browser)"


@admin.register(Account)
class AccountAdmin(ConsoleAdmin):
    purpose = "Who casts and who pays: each customer, team or project has one, with keys, members and a budget."
    list_display = ("name", "cap", "held", "captured", "remaining", "credit", "open_now", "created")
    search_fields = ("name", "members__username")
    secret_fields = ("sealed_callback_secrets",)
    settings = (
        *("name", "monthly_cap_cents", "max_running", "max_open", "requests_per_minute", "requests_per_key"),
        "require_idempotency_key",
    )
    readonly_fields = ("cap", "held", "captured", "remaining", "credit", "open_now", "created", "told", "see_also")
    fields = settings + readonly_fields
    inlines: ClassVar[list[type[admin.options.InlineModelAdmin[Any, Any]]]] = [Members]  # apps above add theirs
    created = column("created_at", utc_time, "created", order="created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        month = BudgetPeriod.objects.filter(month=month_of(timezone.now()), scope=BudgetScope.ACCOUNT)
        accounts: QuerySet[Account] = super().get_queryset(request).select_related("open_casts")
        credits = BudgetPeriod.objects.filter(scope=BudgetScope.CREDIT)
        # In one query each for the whole page; `period` and `credit` show them.
        return accounts.prefetch_related(
            Prefetch("budget_periods", queryset=month, to_attr="this_month"),
            Prefetch("budget_periods", queryset=credits, to_attr="credit_counters"),
        )

    def save_model(self, request: HttpRequest, obj: Account, form: AccountForm, change: bool) -> None:
        if not change:
            super().save_model(request, obj, form, change)
            return
        # Only what was changed here: a cap that was set over the API since the form was sent out stays.
        obj.save(update_fields=[name for name in form.changed_data if name != "monthly_cap_cents"])
        if "monthly_cap_cents" in form.changed_data:
            budget.set_cap(obj, cap_cents=obj.monthly_cap_cents)

    def period(self, account: Account) -> BudgetPeriod:
        """Return this month's counters; before the month's first cast they are at zero, and not saved."""
        found: list[BudgetPeriod] = getattr(account, "this_month", [])
        return found[0] if found else BudgetPeriod(cap_cents=account.monthly_cap_cents)

    @admin.display(description="told")
    def told(self, account: Account) -> SafeString | str:
        newest = account.events.all()[:10]
        rows = [(utc_time(e.at), e.kind, ", ".join(f"{k} {v}" for k, v in e.data.items())) for e in newest]
        return table(("When", "What", "Facts"), rows) if rows else base.NOTHING

    @admin.display(description="cap this month")
    def cap(self, account: Account) -> str:
        return money(self.period(account).cap_cents)

    @admin.display(description="held this month")
    def held(self, account: Account) -> str:
        return money(self.period(account).held_cents)

    @admin.display(description="captured this month")
    def captured(self, account: Account) -> str:
        return money(self.period(account).captured_cents)

    @admin.display(description="remaining this month")
    def remaining(self, account: Account) -> str:
        return money(self.period(account).remaining_cents)

    @admin.display(description="credit left")
    def credit(self, account: Account) -> SafeString | str:
        counters: list[BudgetPeriod] = getattr(account, "credit_counters", [])
        if not account.billed or not counters:
            return "not billed"
        has = credit.state_of(counters[0])
        parts = [f"of {money(has.cap_cents)}", f"held {money(has.held_cents)}", f"captured {money(has.captured_cents)}"]
        parts += [] if has.low_cents is None else [f"its owner is told below {money(has.low_cents)}"]
        return base.two_lines(money(has.remaining_cents), ", ".join(parts))

    @admin.display(description="open casts")
    def open_now(self, account: Account) -> str:
        counter: OpenCasts | None = getattr(account, "open_casts", None)  # made with its first cast
        return f"{counter.number if counter else 0:,} of {open_casts.most(account):,}"

    @admin.display(description="see also")
    def see_also(self, account: Account) -> SafeString | str:
        if account._state.adding:
            return base.NOTHING
        return format_html(
            "{} · {} · {} · {} · {}",
            admin_link("admin:casts_cast_changelist", "casts", account__id__exact=account.pk),
            admin_link("admin:accounts_apikey_changelist", "API keys", account__id__exact=account.pk),
            admin_link("admin:accounts_ledgerentry_changelist", "ledger", period__account__id__exact=account.pk),
            admin_link("admin:accounts_credit_changelist", "credit", account__id__exact=account.pk),
            admin_link("admin:accounts_credit_add", "grant credit", account=account.pk),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        # Only an account that never had money to spend. Asked here, before Django gathers everything the account owns.
        return super().has_delete_permission(request, obj) and (obj is None or not obj.budget_periods.exists())


class NewKeyForm(KeyModelForm):
    """The fields of a new key; afterwards only its name can be changed."""

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
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("That is over already. Times are in UTC.")
        return at


class KeyState(admin.SimpleListFilter):
    """Filters keys by whether they are still valid."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[ApiKey]) -> list[tuple[str, str]]:
        return [(word, word) for word in ("active", "expired", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        return {
            "active": queryset.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None),
            "expired": queryset.filter(expires_at__lte=now, revoked_at=None),
            "revoked": queryset.filter(revoked_at__isnull=False),
        }.get(str(self.value()), queryset)


@admin.register(ApiKey)
class ApiKeyAdmin(ConsoleAdmin):
    purpose = "The keys that programs cast with. Make one here; its secret is shown once."
    list_display = ("name", "prefix_shown", "account", "state", "may", "spells", "expires", "revoked", "last_used")
    list_filter = (KeyState, "last_used_at")
    list_select_related = ("account", "created_by_key", "created_by_user")
    search_fields = ("name", "prefix", "account__name")
    secret_fields = ("digest",)
    search_help_text = "By name, prefix or account. Never paste a whole key: it would end up in logs and histories."
    actions = ("revoke",)
    autocomplete_fields = ("account",)
    form = NewKeyForm
    made_of = (
        *("account", "prefix_shown", "state", "may", "spells"),
        *("created", "made_by", "expires", "revoked", "last_used", "has_made"),
    )
    readonly_fields = made_of[1:]

    prefix_shown = column("prefix", code, "prefix")
    may = column("scopes", lambda scopes: "all" if set(scopes) == set(SCOPES) else ", ".join(scopes), "scopes")
    spells = column("spell_keys", lambda spells: "all" if spells is None else ", ".join(spells), "spells")
    created = column("created_at", utc_time, "created", order="created_at")
    expires = column("expires_at", utc_time, "expires", order="expires_at")
    revoked = column("revoked_at", utc_time, "revoked", order="revoked_at")
    last_used = column("last_used_at", utc_time, "last used", order="last_used_at")

    @admin.display(description="made by")
    def made_by(self, key: ApiKey) -> SafeString | str:
        if key.created_by_key is not None:
            return link_to_key(key.created_by_key)
        return str(key.created_by_user or base.NOTHING)

    @admin.display(description="keys made with it")
    def has_made(self, key: ApiKey) -> SafeString | str:
        made = key.made.order_by("pk")
        return table(
            ("Key", "State", "Created"), [(link_to_key(k), self.state(k), utc_time(k.created_at)) for k in made]
        )

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        return badge("revoked" if key.revoked_at else "active" if key.usable else "expired")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """The form's fields for a new key; later everything is shown, and only the name can be changed."""
        return NewKeyForm.Meta.fields if obj is None else ("name", *self.made_of)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self.made_of

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The other buttons would lead away from the page that shows the secret.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, only_save | (extra_context or {}))

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # Only a key that was never used: a used one is revoked, and stays as evidence of who did what.
        return super().has_delete_permission(request, obj) and (obj is None or obj.last_used_at is None)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: KeyModelForm, change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        assert isinstance(request.user, User)  # only logged-in users reach the admin
        # By the function that makes all keys; the form's object becomes the row that it made.
        key, secret = keys.create(
            obj.account,
            name=obj.name,
            scopes=obj.scopes,
            spell_keys=obj.spell_keys,
            expires_at=obj.expires_at,
            by=principals.of_user(request.user, account_id=obj.account_id),
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
        # No redirect, over which the message with the secret would be kept in a cookie, or in the session's row.
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "API key made", "key": obj}
        return TemplateResponse(request, "admin/accounts/apikey/made.html", context)

    def asks_first(self, request: HttpRequest, action: str) -> bool:
        """Whether there are keys that were made with the chosen ones, of which `revoke` asks."""
        if action != "revoke" or "asked" in request.POST:
            return super().asks_first(request, action)
        chosen = ApiKey.objects.filter(pk__in=request.POST.getlist("_selected_action"))
        return bool({key.pk for key in keys.usable_below(list(chosen))} - {key.pk for key in chosen})

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Revoke keys; where keys were made with them, ask first whether these are meant as well."""
        chosen = list(queryset.order_by("pk"))
        chosen_ids = {key.pk for key in chosen}
        below = [key for key in keys.usable_below(chosen) if key.pk not in chosen_ids]
        if below and "asked" not in request.POST:
            context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Revoke API keys"}
            return TemplateResponse(
                request, "admin/accounts/apikey/revoke.html", context | {"chosen": chosen, "below": below}
            )
        if "descendants" in request.POST:
            done = keys.revoke_with_descendants(chosen)
        else:
            done = [key for key in chosen if keys.revoke(key)]
        self.record(request, [key.pk for key in done], "Revoked.")
        before = len(chosen) - sum(key.pk in chosen_ids for key in done)
        said = f"Revoked {len(done)} key(s)." + (f" {before} had been revoked before." if before else "")
        self.message_user(request, said, messages.SUCCESS if done else messages.WARNING)
        return None


def link_to_key(key: ApiKey) -> SafeString:
    return admin_link("admin:accounts_apikey_change", key, key.pk)


from accounts import money_admin, people  # noqa: E402, F401 - they register what has a file of its own
