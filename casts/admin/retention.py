"""For how long things are kept: rules on the pages of accounts and spells, with an entry for each change of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from accounts import principals
from accounts.admin import AccountAdmin
from accounts.audit import log
from accounts.principals import Principal
from casts.models import RetentionRule
from core.admin.base import NamedFields

if TYPE_CHECKING:
    RuleModelFormSet = forms.models.BaseInlineFormSet[RetentionRule, Model, forms.ModelForm[RetentionRule]]
    RuleInline = admin.TabularInline[RetentionRule, Any]
else:
    RuleModelFormSet, RuleInline = forms.models.BaseInlineFormSet, admin.TabularInline


class RuleFormSet(NamedFields, RuleModelFormSet):
    """Saves rules, with an entry for each change in the audit log of its account."""

    who: Principal

    def save(self, commit: bool = True) -> Any:
        before = self.facts()
        saved = super().save(commit)
        after = self.facts()
        for pk in sorted(before.keys() | after.keys()):
            was, now = before.get(pk), after.get(pk)
            if was != now:
                account_id = (now or was or {}).get("account")
                log.record(self.who, "retention.change", self.instance, account_id=account_id, before=was, after=now)
        return saved

    def facts(self) -> dict[int, dict[str, Any]]:
        rows = RetentionRule.objects.filter(**{self.fk.name: self.instance.pk})
        return {
            rule.pk: {
                "account": rule.account_id,
                "spell_key": rule.spell.key if rule.spell else None,
                "kind": rule.kind,
                "days": rule.days,
            }
            for rule in rows.select_related("spell")
        }


class Rules(RuleInline):
    model, formset = RetentionRule, RuleFormSet
    extra = 0
    verbose_name = "retention rule"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        made: Any = super().get_formset(request, obj, **kwargs)
        made.who = principals.of_user(request.user)  # type: ignore[arg-type] # nobody else reaches the admin
        return made

    def allowed(self, request: HttpRequest, act: str) -> bool:
        assert self.parent_model._meta.model_name
        return request.user.has_perm(f"{self.parent_model._meta.app_label}.{act}_{self.parent_model._meta.model_name}")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allowed(request, "view") or self.allowed(request, "change")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allowed(request, "change")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allowed(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allowed(request, "change")


class RulesOfAccount(Rules):
    fields = ("kind", "spell", "days")
    autocomplete_fields = ("spell",)
    verbose_name_plural = (
        "retention rules for this account, or its casts of one spell (where several fit, the shortest counts)"
    )


class RulesOfSpell(Rules):
    fields = ("kind", "account", "days")
    autocomplete_fields = ("account",)
    verbose_name_plural = "retention rules for this spell's casts, or those of one account"


AccountAdmin.inlines.append(RulesOfAccount)
