"""What every page of the admin tells the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin

MOST_ACCOUNTS = 1000  # whose logs have one act on all rows of a list
# Sent for every change that somebody makes in the admin: `request`, `action`, `on` (the row, or a kind and ids),
# `account_id` (whose it is, where that is no row), and what it was and became, as far as forms tell. In the transaction
# of the change; for an action on a list before it is done, as that changes its rows one after the other.
did = Signal()


class Recorded(AnyAdmin):
    """Tells of each change once: of a form that was saved, of a deletion, of an action on a list."""

    def _tell(self, request: HttpRequest, verb: str, on: Any, **facts: Any) -> None:
        if not getattr(request, "acting", False):  # the action has been told of
            did.send(type(self), request=request, action=f"admin.{self.opts.model_name}.{verb}", on=on, **facts)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Keep what a form changed for `log_change`, which is told only in words."""
        before = {} if add else {name: form.initial.get(name) for name in form.changed_data}
        after = {name: form.cleaned_data.get(name) for name in form.changed_data}
        for formset in formsets or ():
            name = formset.model._meta.model_name
            changed = [(row, names) for row, names in formset.changed_objects]
            rows = {
                "added": [str(row) for row in formset.new_objects],
                "changed": [f"{row}: {', '.join(names)}" for row, names in changed],
                "deleted": [str(row) for row in formset.deleted_objects],
            }
            after |= {f"{name} {how}": what for how, what in rows.items() if what}
        vars(request)["changed"] = {"before": before or None, "after": after or None}
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._tell(request, "add", obj, **getattr(request, "changed", {}))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._tell(request, "change", obj, **getattr(request, "changed", {}))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            self._tell(request, "delete", row, before={"was": str(row)})
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *options: Any) -> HttpResponse | None:
        """Run the chosen action, and tell of it before: some of its rows may have changed when it fails."""
        name = self._chosen_action(request)
        if name in self.get_actions(request) and not self.asks_first(request, name):
            every = request.POST.get("select_across") == "1"
            chosen = request.POST.getlist("_selected_action")
            kind = str(self.opts.model_name)
            for account_id, keys in self._by_account(queryset, None if every else chosen).items():
                rows = ["all that are shown"] if every else keys
                on = (kind, rows[0] if len(rows) == 1 and not every else "")
                self._tell(request, name, on, account_id=account_id, after={"rows": rows})
            vars(request)["acting"] = True
        answer: HttpResponse | None = super().response_action(request, queryset, *options)
        return answer

    def _by_account(self, queryset: QuerySet[Any], chosen: list[str] | None) -> dict[int | None, list[str]]:
        """Return the chosen rows (None: all) by whose they are: each account's log has its own, and no others."""
        if not any(field.name == "account" for field in self.opts.concrete_fields):
            return {None: chosen or []}
        try:
            if chosen is None:
                owners = queryset.order_by().values_list("account_id", flat=True).distinct()[: MOST_ACCOUNTS + 1]
                found: dict[int | None, list[str]] = {owner: [] for owner in owners}
                return found if 0 < len(found) <= MOST_ACCOUNTS else {None: []}
            found = {}
            for key, owner in queryset.filter(pk__in=chosen).order_by("pk").values_list("pk", "account_id"):
                found.setdefault(owner, []).append(str(key))
            return found or {None: chosen}
        except (ValueError, ValidationError):  # what was sent are no keys
            return {None: chosen or []}

    def _chosen_action(self, request: HttpRequest) -> str:
        try:  # the form above the list, or the one below it
            return request.POST.getlist("action")[int(request.POST.get("index", "0"))]
        except (ValueError, IndexError):
            return ""

    def asks_first(self, request: HttpRequest, action: str) -> bool:
        """Whether the action only shows what it would do, to be confirmed."""
        return action == "delete_selected" and not request.POST.get("post")
