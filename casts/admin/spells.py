"""Spells, for operators: what can be cast."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db.models import OuterRef, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from casts import versions
from casts.admin import prices, retention, trying
from casts.admin import versions as differences
from casts.attention import SpellTroubles
from casts.models import AccountPrice, Cast, RetentionRule, Spell, SpellTarget
from casts.runtime import runtime_for, runtimes, target_relations
from core.admin.base import (
    NOTHING,
    ConsoleAdmin,
    admin_link,
    column,
    pretty,
    utc_time,
)
from core.db.counting import CountedTo
from core.db.documents import DocumentField
from core.strict_json import storable

MOST_COUNTED = 1000  # casts of one spell

if TYPE_CHECKING:
    SpellModelForm = forms.ModelForm[Spell]
    TargetModelFormSet = forms.models.BaseInlineFormSet[SpellTarget, Spell, forms.ModelForm[SpellTarget]]
    TargetModelInline = admin.StackedInline[SpellTarget, Spell]
else:
    SpellModelForm, TargetModelFormSet = forms.ModelForm, forms.models.BaseInlineFormSet
    TargetModelInline = admin.StackedInline


class JSONText(forms.JSONField):
    """JSON that a person edits: indented, blank for none."""

    def __init__(self, **options: Any) -> None:
        box = {"rows": 14, "class": "vLargeTextField console-code", "spellcheck": "false"}
        super().__init__(**options | {"widget": forms.Textarea(attrs=box)})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:  # nested too deeply: shown again as it was typed
            return InvalidJSONInput(data)

    def to_python(self, value: Any) -> Any:
        """Return the parsed value; raise ValidationError for text that is not JSON, or that no database can store."""
        try:
            parsed = super().to_python(value)
            storable(parsed)
        except (ValueError, RecursionError) as exc:
            raise forms.ValidationError("This can't be stored: %(why)s", params={"why": str(exc)}) from exc
        return parsed


class TagsText(forms.CharField):
    """Tags that a person edits: with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [tag for part in (super().to_python(value) or "").split(",") if (tag := part.strip())]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class TargetFormSet(TargetModelFormSet):
    """Validates a target together with the spell as the form has it, stored or not."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form: Any = super()._construct_form(i, **kwargs)  # type: ignore[misc] # not in the stubs
        form.instance.spell = self.instance
        return form


class TargetInline(TargetModelInline):
    """Edits where a spell is run, for whoever may edit the spell."""

    formset = TargetFormSet
    min_num = max_num = 1
    can_delete = False

    def get_readonly_fields(self, request: HttpRequest, obj: Spell | None = None) -> Any:
        kept = () if obj is None else self.model.of(obj).kept_fields()
        return [*super().get_readonly_fields(request, obj), *(name for name in self.model.names() if name in kept)]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("casts.view_spell") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("casts.change_spell")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("casts.add_spell") or self.has_change_permission(request, obj)


class SpellForm(SpellModelForm):
    """A spell's form; the model checks the schemas."""

    tags = TagsText(
        required=False,
        help_text="By which people find it in the catalogue, with commas between them.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    class Meta:
        model = Spell
        exclude = ()

    def clean_retention(self) -> Any:
        days = self.cleaned_data["retention"]
        return {} if days is None else days

    def clean_input_schema(self) -> Any:
        schema = self.cleaned_data["input_schema"]  # None: a blank box, for the schema that allows everything
        return {} if schema is None else schema

    def add_error(self, field: str | None, error: Any) -> None:
        """Add an error; what is wrong with fields that this form only shows is said above it."""
        if field is None and hasattr(error, "error_dict"):
            told = error.error_dict
            error = {name: told[name] for name in told if name in self.fields}
            above = [one for name in told if name not in self.fields for one in told[name]]
            error = ValidationError(error | ({NON_FIELD_ERRORS: above} if above else {}))
        super().add_error(field, error)


def kept_fields(spell: Spell | None) -> tuple[str, ...]:
    """Return which fields of a spell are changed nowhere but where its definition is kept."""
    target = None if spell is None else runtime_for(spell.runtime).target
    return () if spell is None or target is None else target.of(spell).kept_fields()


@admin.register(Spell)
class SpellAdmin(ConsoleAdmin):
    purpose = "What can be cast: a workflow, what it takes and gives, and what it costs. Import some, or add one."
    list_display = ("key", "name", "runtime", "target", "price", "active", "casts_made")
    list_filter = ("active", "runtime", SpellTroubles)
    search_fields = ("key", "name")
    # Runtimes add theirs. Of their actions, those in `buttons` have a button on each spell's page.
    inlines: ClassVar[list[type[admin.options.InlineModelAdmin[Any, Any]]]] = [
        prices.AccountPrices,
        retention.RulesOfSpell,
    ]
    runtime_actions: ClassVar[list[Callable[..., HttpResponse | None]]] = []
    actions = runtime_actions
    buttons: ClassVar[list[tuple[str, str, str]]] = []  # (action, label, what it does)
    # What can be tried with the form as it is typed, before it is saved: by name, with the button's label.
    tries: ClassVar[dict[str, tuple[str, trying.Try]]] = {"preview": ("See the form that members get", trying.form)}
    form = SpellForm
    formfield_overrides = {DocumentField: {"form_class": JSONText}}
    readonly_fields = (
        *("tags_runs", "casts_made", "created", "updated", "takes", "gives", "tagged", "kept_in"),
        "versions_kept",
    )
    fieldsets = (
        (None, {"fields": ("key", "name", "description", "tags", "active", "account")}),
        (
            "Target",
            {
                "fields": ("runtime", "tags_runs"),
                "description": "“Tags runs” is learnt by seeing a run whose title holds [cast:…]; "
                "without it a dispatch whose outcome is unknown is never repeated.",
            },
        ),
        ("Input and output", {"fields": ("input_schema", "output_schema", "result_artifact", "result_file")}),
        ("Price", {"fields": ("price_kind", "price_cents", "per_minute_cents", "charge_failed_runs")}),
        ("Limits", {"fields": ("max_running", "ttl_seconds", "timeout_seconds")}),
        ("How long is kept", {"fields": ("artifact_retention_days", "retention")}),
        ("What callers see", {"fields": ("show_run", "show_input")}),
        ("History", {"fields": ("casts_made", "created", "updated", "versions_kept")}),
    )

    takes = column("input_schema", pretty, "input schema")
    gives = column("output_schema", pretty, "output schema")
    tagged = column("tags", ", ".join, "tags")
    created = column("created_at", utc_time, "created")
    updated = column("updated_at", utc_time, "updated")

    def get_fieldsets(self, request: HttpRequest, obj: Spell | None = None) -> Any:
        shown: Any = super().get_fieldsets(request, obj)
        kept = kept_fields(obj)
        if kept:
            (title, first), *others = shown
            shown = [(title, {**first, "fields": [*first["fields"], "kept_in"]}), *others]
        # Django would show a read-only schema as Python writes it, not as JSON.
        plain = {"input_schema": "takes", "output_schema": "gives", "tags": "tagged"}
        if obj is None or (self.has_change_permission(request, obj) and "input_schema" not in kept):
            return shown
        return [(t, {**part, "fields": [plain.get(name, name) for name in part["fields"]]}) for t, part in shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Spell | None = None) -> Any:
        own = {field.name for field in Spell._meta.concrete_fields}
        return [*super().get_readonly_fields(request, obj), *(name for name in kept_fields(obj) if name in own)]

    @admin.display(description="price", ordering="price_cents")
    def price(self, spell: Spell) -> str:
        return prices.said(spell)

    @admin.display(description="defined in")
    def kept_in(self, spell: Spell) -> str:
        target = runtime_for(spell.runtime).target
        where = target.of(spell).kept_in() if target else ""
        return f"{where}: what its files say is changed there, and shown here" if where else NOTHING

    # A form with its target is one change, so one version.

    def save_model(self, request: HttpRequest, obj: Spell, form: Any, change: bool) -> None:
        obj.save(keep_version=False)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is AccountPrice:
            prices.save(request, formset)
            return
        if formset.model is RetentionRule:
            formset.save()
            return
        for row in formset.save(commit=False):
            row.save(keep_version=False)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        before = form.instance.version
        vars(request)["versions"] = before, versions.keep(form.instance, by=request.user.get_username())

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Note in the audit log which version a change has made."""
        message = super().construct_change_message(request, form, formsets, add)
        before, after = getattr(request, "versions", (0, 0))
        if before != after:
            told = vars(request)["changed"]
            told["before"] = (told["before"] or {}) | ({"version": before} if before else {}) or None
            told["after"] = (told["after"] or {}) | {"version": after}
        return message

    @admin.display(description="versions")
    def versions_kept(self, spell: Spell) -> SafeString | str:
        return NOTHING if spell._state.adding else differences.list_of(spell)

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.versions_view)
        tried = self.admin_site.admin_view(partial(trying.view, self))
        return [
            path("try/<slug:what>/", tried, name="casts_spell_try"),
            path("<int:object_id>/try/<slug:what>/", tried, name="casts_spell_try_changed"),
            path("<path:object_id>/versions/", page, name="casts_spell_versions"),
            *super().get_urls(),
        ]

    def versions_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what is different between two versions of a spell."""
        spell = self.get_object(request, object_id)
        if not self.has_view_or_change_permission(request, spell):
            raise PermissionDenied
        if spell is None:
            raise Http404("There is no such spell.")
        shown = differences.page_of(request, spell)
        title = f"{spell}: from version {shown['than'].number} to {shown['of'].number}"
        both = (shown["than"], shown["of"])
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "both": both, **shown}
        return TemplateResponse(request, "admin/casts/spell/versions.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Spell]:
        spells: QuerySet[Spell] = super().get_queryset(request)
        if relations := target_relations():
            spells = spells.select_related(*relations)
        casts = Cast.objects.filter(spell=OuterRef("pk"))
        return spells.annotate(casts_counted=CountedTo(casts, MOST_COUNTED + 1))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        allowed = self.get_actions(request)
        shown = {"buttons": [button for button in self.buttons if button[0] in allowed], **(extra_context or {})}
        return super().change_view(request, object_id, form_url, {"tries": self.tries, **shown})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"tries": self.tries, **(extra_context or {})})

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        targets = {runtime.target for _, runtime in runtimes()} - {None}
        found = [f"{target.relation()}__{name}" for target in targets if target for name in target.searched]
        return [*self.search_fields, *sorted(found)]

    @admin.display
    def target(self, spell: Spell) -> str:
        return runtime_for(spell.runtime).described(spell)

    @admin.display(description="casts")
    def casts_made(self, spell: Spell) -> SafeString | str:
        if spell._state.adding:
            return NOTHING
        number = getattr(spell, "casts_counted", 0)
        said = f"more than {MOST_COUNTED:,}" if number > MOST_COUNTED else f"{number:,}"
        link = admin_link("admin:casts_cast_changelist", said, spell__id__exact=spell.pk)
        return format_html("{} · {}", link, admin_link("spell-times", "times by day", spell.pk))

    def has_delete_permission(self, request: HttpRequest, obj: Spell | None = None) -> bool:
        # Only a spell that was never cast: its casts are evidence, and say what they cast.
        return super().has_delete_permission(request, obj) and (obj is None or not obj.casts.exists())
