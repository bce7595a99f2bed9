"""Casts, for operators: what became of every one, and the actions on those that are open."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from accounts.keys import KEY_MARK
from casts.admin import bulk, facts, search, story
from casts.admin.artifacts import COLLAPSED, NOT_MISSING, download, size
from casts.attention import CastTroubles
from casts.execution import artifacts
from casts.lifecycle import operators
from casts.models import Artifact, Cast, CastEvent
from casts.tallies import accepted
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
    table,
    two_lines,
    utc_time,
    uuid_in,
)
from core.admin.periods import period_filter
from core.numbers import counted, natural

CastPeriod = period_filter(accepted)


@admin.register(Cast)
class CastAdmin(ReadOnlyAdmin):
    list_display = ("cast_id", "created", "state_and_why", "spell", "who", "run", "cost", "took")
    list_filter = (
        *("status", newest_values("status_reason", "reason"), CastTroubles),
        *("spell", CastPeriod),
    )
    runtime_filters: ClassVar[list[type[admin.SimpleListFilter]]] = []  # runtimes add theirs
    list_select_related = ("spell", "account", "api_key", "placed_by")
    search_fields = ("pk",)  # has the list offer a search; `casts.admin.search` does it
    search_help_text = search.HELP
    purpose = "Every request to run a spell is here, newest first: its state, its run, and what it cost."
    csv_columns = (
        *("id", "created_at", "status", "status_reason", "message", "spell.key", "account.name", "api_key.prefix"),
        "placed_by.username",
        *("run_key", "run_url", "started_at", "finished_at", "duration_ms", "cost_cents", "charged_cents"),
        "removed",
    )
    unlisted = (
        *("input", "metadata", "observation", "jobs", "error", "output", "summary", "annotations"),
        *("price", "charge", "removed"),
    )
    sortable_by = ("created",)  # the others would sort the whole history without an index
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("cast_id", "state", "message", "told", "no_longer_kept", "spell_and_version"),
                    *("payer", "placed", "money_shown", "neighbours", "links"),
                )
            },
        ),
        ("Timeline", {"fields": ("timeline",)}),
        ("Request", {"fields": ("request_shown", "trace", "idempotency_key", "metadata_shown", "callback")}),
        (
            "Input and output",
            {
                "fields": (
                    *("input_shown", "output_shown", "summary", "annotations_shown"),
                    *("error_shown", "log"),
                )
            },
        ),
        ("Artifacts", {"fields": ("artifacts",)}),
        (
            "Times and price",
            {
                "fields": (
                    *(("created", "expires"), ("dispatched", "started", "run_finished", "finished", "took")),
                    *("agreed", "computed"),
                ),
                "classes": COLLAPSED,
            },
        ),
        ("Seen on GitHub", {"fields": ("run_scope", "run_attempt", "observed", "jobs_seen"), "classes": COLLAPSED}),
    )
    # Columns that are shown above under another name.
    elsewhere = (
        "removed",
        *("cost_cents", "price", "charged_cents", "charge"),
        *("id", "status", "status_reason", "run_key", "run_url", "observation", "jobs"),
        *("input", "output", "annotations", "error", "metadata", "callback_url", "links_epoch", "spell_version"),
        *("created_at", "expires_at", "dispatched_at", "started_at", "run_finished_at", "finished_at"),
        *("spell", "account", "api_key", "placed_by", "retry_of", "progress", "step_name"),
    )

    actions = (
        *("look_now", "cancel", "cast_again", "send_callbacks_again"),
        *("copy_artifacts_again", "leave_uncharged", "revoke_links"),
    )

    def has_move_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_cast")

    def has_copy_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_artifact")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_callback")

    def asks_first(self, request: HttpRequest, action: str) -> bool:
        act = bulk.ACTS.get(action)
        return super().asks_first(request, action) if act is None else bulk.asks(request, act)

    @admin.action(description="Look at open casts now", permissions=["move"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[Cast]) -> HttpResponse | None:
        return bulk.run(self, request, queryset, bulk.LOOK)

    @admin.action(description="Cancel open casts", permissions=["move"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Cast]) -> HttpResponse | None:
        return bulk.run(self, request, queryset, bulk.CANCEL)

    @admin.action(description="Cast again those that have ended", permissions=["move"])
    def cast_again(self, request: HttpRequest, queryset: QuerySet[Cast]) -> HttpResponse | None:
        return bulk.run(self, request, queryset, bulk.RETRY)

    @admin.action(description="Send callbacks again", permissions=["replay"])
    def send_callbacks_again(self, request: HttpRequest, queryset: QuerySet[Cast]) -> HttpResponse | None:
        return bulk.run(self, request, queryset, bulk.CALLBACKS)

    @admin.action(description="Leave uncharged what did not report its price", permissions=["move"])
    def leave_uncharged(self, request: HttpRequest, queryset: QuerySet[Cast]) -> None:
        keys = chosen(queryset)
        left = operators.leave_uncharged(keys, by=request.user.get_username())
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
            operators.revoke_links(key, by=request.user.get_username())
        self.record(request, keys, "Revoke links.")
        self.report(request, "Casts whose links open nothing any more", done=len(keys), of=len(keys), others="")

    cast_id = column("pk", code, "id")
    created = column("created_at", utc_time, "created", order="id")  # ids sort by time
    agreed = column("price", pretty, "price, if it is not the spell's own and flat")
    computed = column("charge", pretty, "how that was computed")

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
    no_longer_kept = column("removed", lambda removed: said_of(removed or {}), "no longer kept")
    metadata_shown = column("metadata", pretty, "metadata")
    observed = column("observation", pretty, "highest observation")
    jobs_seen = column("jobs", pretty, "jobs")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Cast | None:
        """Return the cast, which knows for whom its page is: not all of its story is everybody's."""
        cast: Cast | None = super().get_object(request, object_id, from_field)
        if cast is not None:
            vars(cast)["viewer"] = request.user
        return cast

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
        # The page has buttons for actions of the list.
        allowed, cast_id = self.get_actions(request), uuid_in(object_id)
        acts = [act for act in bulk.for_one(cast_id) if act.action in allowed] if cast_id else []
        shown = {"acts": acts, "may_move": "revoke_links" in allowed, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, shown)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        found = search.understand(search_term, account_id=natural(request.GET.get("account__id__exact", "")))
        vars(request)["understood"] = found.said
        return search.narrowed(queryset, found), False

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

    @admin.display(description="price")
    def cost(self, cast: Cast) -> SafeString | str:
        """Return what it cost; while it is open, what is held for it."""
        if cast.charged_cents is None and not cast.final:
            return two_lines(money(cast.cost_cents), "held")
        return money(cast.charged_cents or 0)

    @admin.display(description="took")
    def took(self, cast: Cast) -> str:
        return NOTHING if cast.duration_ms is None else f"{cast.duration_ms / 1000:,.1f} s"

    @admin.display(description="state")
    def state(self, cast: Cast) -> SafeString:
        return badge(cast.status, as_words(cast.status_reason) if cast.status_reason != cast.status else "")

    @admin.display(description="where it is")
    def told(self, cast: Cast) -> str:
        return f"{cast.progress} %" + (f", at “{cast.step_name}”" if cast.step_name else "")

    @admin.display(description="spell")
    def spell_and_version(self, cast: Cast) -> SafeString:
        return facts.spell(cast)

    @admin.display(description="account")
    def payer(self, cast: Cast) -> SafeString:
        return facts.account(cast)

    @admin.display(description="placed by")
    def placed(self, cast: Cast) -> SafeString | str:
        return facts.placed_by(cast)

    @admin.display(description="price")
    def money_shown(self, cast: Cast) -> str:
        return facts.price(cast)

    @admin.display
    def neighbours(self, cast: Cast) -> SafeString | str:
        return facts.neighbours(cast)

    @admin.display
    def links(self, cast: Cast) -> SafeString:
        return facts.links(cast)

    @admin.display(description="request")
    def request_shown(self, cast: Cast) -> SafeString | str:
        return facts.request(cast, vars(cast)["viewer"])

    @admin.display
    def trace(self, cast: Cast) -> SafeString | str:
        return facts.trace(cast)

    @admin.display(description="Idempotency-Key")
    def idempotency_key(self, cast: Cast) -> SafeString | str:
        return facts.idempotency_key(cast)

    @admin.display
    def timeline(self, cast: Cast) -> SafeString:
        return story.of(cast, vars(cast)["viewer"])

    @admin.display
    def artifacts(self, cast: Cast) -> SafeString | str:
        return table(
            ["name", "state", "size", "SHA-256", "expires", "error"],
            [
                [download(a), badge(a.state), size(a), code(a.sha256), utc_time(a.expires_at), a.error or NOTHING]
                for a in cast.artifacts.all()
            ],
        )

    def view_on_site(self, cast: Cast) -> str:
        return cast.get_absolute_url()  # without a token: staff are let in by their session


@admin.register(CastEvent)
class CastEventAdmin(ReadOnlyAdmin):
    """One line of a cast's history, whole: the timeline links here. There are too many for a list of their own."""

    list_display = ("id", "of_cast", "seq", "kind", "when", "by")
    list_display_links = ("id",)
    sortable_by = ()
    ordering = ("-id",)
    fields = ("of_cast", "seq", "kind", "when", "by", "data_shown")
    purpose = "The lines of all casts' histories, newest first; a cast's page has its own in order."

    when = column("at", utc_time, "at")
    data_shown = column("data", pretty, "what it told")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="cast")
    def of_cast(self, event: CastEvent) -> SafeString:
        return admin_link("admin:casts_cast_change", code(event.cast_id), event.cast_id)


def said_of(removed: dict[str, Any]) -> str:
    return ", ".join(f"{kind} (after {counted(told['days'], 'day')})" for kind, told in removed.items()) or NOTHING


def without_log(error: dict[str, Any] | None) -> dict[str, Any] | None:
    return error and {name: value for name, value in error.items() if name != "log_tail"}


def log_tail(error: dict[str, Any]) -> SafeString | str:
    lines = error.get("log_tail")
    return block("\n".join(str(line) for line in lines)) if isinstance(lines, list) and lines else NOTHING
