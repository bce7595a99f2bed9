"""Casts, for operators: what became of every one, and the actions on those that are open."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.keys import KEY_MARK
from accounts.models import LedgerEntry
from casts import casting
from casts.admin.artifacts import COLLAPSED, NOT_MISSING, download, size
from casts.admin.versions import of_cast
from casts.attention import CastTroubles
from casts.execution import artifacts
from casts.lifecycle import moves
from casts.models import Artifact, Cast
from casts.runtime import words_of
from core.admin.base import (
    NOTHING,
    ReadOnlyAdmin,
    admin_link,
    as_words,
    badge,
    block,
    chosen,
    code,
    column,
    external_link,
    money,
    newest_values,
    pretty,
    remaining_fields,
    run_id_in,
    table,
    two_lines,
    utc_time,
    uuid_in,
)
from core.db.documents import TextAt

EVENTS_SHOWN = 1000


class CastList(ChangeList):
    """The list of casts without the big columns, which it does not show."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        large = ("input", "metadata", "observation", "jobs", "error", "output", "summary", "annotations")
        return found.defer(*large, "price", "charge")


@admin.register(Cast)
class CastAdmin(ReadOnlyAdmin):
    list_display = ("cast_id", "created", "state_and_why", "spell", "who", "run", "cost", "took")
    list_filter = (
        *("status", newest_values("status_reason", "reason"), CastTroubles),
        *("spell", "created_at"),
    )
    runtime_filters: ClassVar[list[type[admin.SimpleListFilter]]] = []  # runtimes add theirs
    list_select_related = ("spell", "account", "api_key", "placed_by")
    search_fields = ("run_scope", "spell__key", "account__name", "api_key__prefix", "placed_by__username")
    search_help_text = "By cast id, run id or address, repository, spell, account, an API key's prefix, or a member."
    sortable_by = ("created",)  # the others would sort the whole history without an index
    fieldsets = (
        (None, {"fields": ("cast_id", "state", "reason", "message", "progress", "step_name", "links")}),
        ("Who and what", {"fields": ("spell", "version", "account", "api_key", "placed_by")}),
        ("Price", {"fields": ("cost", "agreed", "charged", "computed", "ledger")}),
        ("Timeline", {"fields": ("timeline",)}),
        (
            "Input and output",
            {
                "fields": (
                    *("input_shown", "output_shown", "summary", "annotations_shown"),
                    *("error_shown", "log", "metadata_shown", "callback"),
                )
            },
        ),
        ("Artifacts", {"fields": ("artifacts",)}),
        ("Times", {"fields": (("created", "expires"), ("dispatched", "started", "run_finished", "finished", "took"))}),
        ("Seen on GitHub", {"fields": ("run_scope", "run_attempt", "observed", "jobs_seen"), "classes": COLLAPSED}),
    )
    # Columns that are shown above under another name.
    elsewhere = (
        *("cost_cents", "price", "charged_cents", "charge"),
        *("id", "status", "status_reason", "run_key", "run_url", "observation", "jobs"),
        *("input", "output", "annotations", "error", "metadata", "callback_url", "links_epoch", "spell_version"),
        *("created_at", "expires_at", "dispatched_at", "started_at", "run_finished_at", "finished_at"),
    )

    actions = ("look_now", "cancel", "copy_artifacts_again", "cast_again", "leave_uncharged", "revoke_links")

    def has_move_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_cast")

    def has_copy_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_artifact")

    @admin.action(description="Look at open casts now", permissions=["move"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys = chosen(queryset)
        woken = moves.wake_all(keys, by=request.user.get_username())
        self.record(request, woken, "Look now.")
        self.report(request, "Casts that a worker looks at now", done=len(woken), of=len(keys), others="have ended")

    @admin.action(description="Cancel open casts", permissions=["move"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys, by = chosen(queryset), request.user.get_username()
        # Casts whose cancel was asked for earlier are not recorded as this operator's.
        before = set(Cast.objects.filter(pk__in=keys, cancel_requested_at=None).values_list("pk", flat=True))
        cancelled = [moves.cancel(key, by=by) for key in keys]
        asked = sum(cast.cancel_requested_at is not None for cast in cancelled)
        ours = [cast.pk for cast in cancelled if cast.cancel_reason == "cancelled_by_operator" and cast.pk in before]
        self.record(request, ours, "Cancel.")
        did, others = "Casts cancelled, or GitHub asked to cancel", "had ended, or their run had"
        self.report(request, did, done=asked, of=len(keys), others=others)

    @admin.action(description="Cast again what we have given up", permissions=["move"])
    def cast_again(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys, by = chosen(queryset.filter(status_reason="internal_error")), request.user.get_username()
        again = [key for key in keys if casting.cast_again(key, by=by)]
        self.record(request, again, "Cast again.")
        others = "were cast again before, or can't be: their key, spell or budget does not allow it"
        self.report(request, "Cast again", done=len(again), of=len(keys), others=others)

    @admin.action(description="Leave uncharged what did not report its price", permissions=["move"])
    def leave_uncharged(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys = chosen(queryset)
        left = moves.leave_uncharged(keys, by=request.user.get_username())
        self.record(request, left, "Leave uncharged.")
        did, others = "Casts that stay uncharged", "reported what they cost, or have another kind of price"
        self.report(request, did, done=len(left), of=len(keys), others=others)

    @admin.action(description="Copy missing artifacts again", permissions=["copy"])
    def copy_artifacts_again(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys = chosen(Artifact.objects.filter(cast__in=queryset.order_by().values("pk")))
        copied = artifacts.copy_again(keys, by=request.user.get_username())
        casts = Artifact.objects.filter(pk__in=copied).order_by("cast").values_list("cast", flat=True).distinct()
        self.record(request, list(casts), "Copy missing artifacts again.")
        self.report(request, "Artifacts to be copied now", done=len(copied), of=len(keys), others=NOT_MISSING)

    @admin.action(description="Revoke links", permissions=["move"])
    def revoke_links(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys = chosen(queryset)
        for key in keys:
            moves.revoke_links(key, by=request.user.get_username())
        self.record(request, keys, "Revoke links.")
        self.report(request, "Casts whose links open nothing any more", done=len(keys), of=len(keys), others="")

    cast_id = column("pk", code, "id")
    created = column("created_at", utc_time, "created", order="id")  # ids sort by time
    state = column("status", badge, "status")
    reason = column("status_reason", as_words, "reason")
    cost = column("cost_cents", money, "price")
    charged = column("charged_cents", lambda cents: NOTHING if cents is None else money(cents), "charged")
    agreed = column("price", pretty, "price, if it is not the spell's own and flat")
    computed = column("charge", pretty, "how that was computed")

    @admin.display
    def version(self, cast: Cast) -> SafeString | str:
        return of_cast(cast)

    callback = column("callback_url", external_link, "callback")
    expires = column("expires_at", utc_time, "must start by")
    dispatched = column("dispatched_at", utc_time, "dispatched")
    started = column("started_at", utc_time, "started")
    run_finished = column("run_finished_at", utc_time, "run seen to end")
    finished = column("finished_at", utc_time, "ended")
    input_shown = column("input", pretty, "input")
    output_shown = column("output", pretty, "output")
    annotations_shown = column("annotations", pretty, "annotations")
    error_shown = column("error", lambda error: pretty(without_log(error)), "error")
    log = column("error", lambda error: log_tail(error or {}), "end of its log")
    metadata_shown = column("metadata", pretty, "metadata")
    observed = column("observation", pretty, "highest observation")
    jobs_seen = column("jobs", pretty, "jobs")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CastList

    def get_list_filter(self, request: HttpRequest) -> Any:
        shown: list[Any] = list(super().get_list_filter(request))
        place = shown.index(CastTroubles) + 1
        return [*shown[:place], *self.runtime_filters, *shown[place:]]

    def get_fieldsets(self, request: HttpRequest, obj: Cast | None = None) -> Any:
        # Every column is shown: what is named nowhere else is one of the worker's own.
        internal = remaining_fields(Cast, *self.elsewhere, *flatten_fieldsets(self.fieldsets))
        return (*self.fieldsets, ("Internal", {"fields": internal, "classes": COLLAPSED}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The page has a button for an action of the list.
        shown = {"may_move": self.has_move_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, shown)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if cast_id := uuid_in(search_term):
            return queryset.filter(pk=cast_id), False
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if (run_id := run_id_in(search_term)) is not None:
            found |= queryset.filter(run_key=str(run_id))
        return found, duplicates

    @admin.display(description="status")
    def state_and_why(self, cast: Cast) -> SafeString:
        return badge(cast.status, as_words(cast.status_reason) if cast.status_reason != cast.status else "")

    @admin.display(description="account")
    def who(self, cast: Cast) -> SafeString | str:
        if cast.api_key is not None:  # without what all keys begin with
            return two_lines(cast.account, code(cast.api_key.prefix.removeprefix(KEY_MARK)))
        return two_lines(cast.account, cast.placed_by) if cast.placed_by else cast.account.name

    @admin.display(description="run")
    def run(self, cast: Cast) -> SafeString | str:
        return external_link(cast.run_url, cast.run_key) if cast.run_url else str(cast.run_key or NOTHING)

    @admin.display(description="took")
    def took(self, cast: Cast) -> str:
        return NOTHING if cast.duration_ms is None else f"{cast.duration_ms / 1000:,.1f} s"

    @admin.display
    def links(self, cast: Cast) -> SafeString:
        known = [admin_link("cast-page", "progress page", cast.pk)]
        if cast.run_key is not None:
            known.append(admin_link("admin:webhooks_delivery_changelist", "deliveries about its run", q=cast.run_key))
        if cast.run_url:
            known.append(format_html("run {} on {}", external_link(cast.run_url, cast.run_key), words_of(cast).name))
        if cast.links_epoch:
            known.append(format_html("callers' links revoked ({})", cast.links_epoch))
        return format_html_join(" · ", "{}", ((link,) for link in known))

    @admin.display
    def timeline(self, cast: Cast) -> SafeString | str:
        # Of the events' data only what is shown is read.
        told = {name: TextAt("data", name) for name in ("status", "status_reason", "progress", "message")}
        events = cast.events.annotate(**told).order_by("seq").values("seq", "kind", "at", "by", *told)[:EVENTS_SHOWN]
        rows = []
        for event in events:
            after = (event["at"] - cast.created_at).total_seconds()
            state = f"{event['status']}: {as_words(event['status_reason'])}"
            when = [event["seq"], f"{event['at']:%H:%M:%S}", f"+{after:,.2f} s"]
            who = event["by"] or NOTHING
            rows.append([*when, as_words(event["kind"]), who, state, f"{event['progress']} %", event["message"]])
        return table(["#", "UTC", "after", "event", "operator", "status", "progress", "message"], rows)

    @admin.display
    def artifacts(self, cast: Cast) -> SafeString | str:
        return table(
            ["name", "state", "size", "SHA-256", "expires", "error"],
            [
                [download(a), badge(a.state), size(a), code(a.sha256), utc_time(a.expires_at), a.error or NOTHING]
                for a in cast.artifacts.all()
            ],
        )

    @admin.display
    def ledger(self, cast: Cast) -> SafeString | str:
        entries = LedgerEntry.objects.filter(cast_id=cast.pk).select_related("period").order_by("id")
        rows = [[utc_time(e.at), e.kind, money(e.cents), f"{e.period.month:%Y-%m}"] for e in entries]
        return table(["at", "kind", "amount", "booked to"], rows)

    def view_on_site(self, cast: Cast) -> str:
        return cast.get_absolute_url()  # without a token: staff are let in by their session


def without_log(error: dict[str, Any] | None) -> dict[str, Any] | None:
    return error and {name: value for name, value in error.items() if name != "log_tail"}


def log_tail(error: dict[str, Any]) -> SafeString | str:
    lines = error.get("log_tail")
    return block("\n".join(str(line) for line in lines)) if isinstance(lines, list) and lines else NOTHING
