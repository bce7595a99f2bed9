"""What every app's admin is built from: records that are never edited, and data that a person can read.

Texts of callers, runs and GitHub go through format_html and are never marked safe.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import DateTimeField, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

import core.money
from core.admin.lists import Listed

NOTHING = "-"
JSON_MAX_CHARS = 200_000  # shown of one value; a payload may have 25 MB, too much for a browser
NEWEST_ROWS = 2000
A_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
A_RUN = re.compile(r"(?:\S*/runs/)?([0-9]{1,19})(?:/\S*)?")

Column = Callable[..., Any]


class NamedFields:
    """For formsets of rows: each field has a name also for who does not see the columns' titles."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)  # type: ignore[misc] # of the formset
        for name, field in form.fields.items():
            field.widget.attrs.setdefault("aria-label", str(field.label or as_words(name)).capitalize())


class ConsoleAdmin(Listed):
    """What all our admin pages share."""

    list_per_page = 50
    show_full_result_count = False  # a second COUNT(*) on every search
    secret_fields: tuple[str, ...] = ()  # shown nowhere, and not to be guessed letter by letter either

    class Media:
        css = {"all": ["core/admin.css"]}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Django lets a list's address filter by any column of its own, such as ?secrets__0__startswith=a.
        return lookup.partition("__")[0] not in self.secret_fields and super().lookup_allowed(lookup, value, request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Rows are deleted one by one, where their model allows it.
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *options: Any) -> HttpResponse | None:
        """Run the chosen action, and return to the page whose button was pressed."""
        answer: HttpResponse | None = super().response_action(request, queryset, *options)
        if not isinstance(answer, HttpResponseRedirect):  # a page of its own: what the action would do
            return answer
        if request.POST.get("back") == "attention":
            return HttpResponseRedirect(reverse("attention"))
        if request.POST.get("back") == "row":
            page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(page, args=[request.POST["_selected_action"]]))
        return answer

    def record(self, request: HttpRequest, keys: Sequence[Any], did: str) -> None:
        """Add to the admin's history of each row what this operator did to it."""
        kind = ContentType.objects.get_for_model(self.model)
        name, who = self.model._meta.verbose_name, request.user.pk
        assert who is not None  # only logged-in users reach the admin
        LogEntry.objects.bulk_create(
            (
                LogEntry(
                    user_id=who,
                    content_type=kind,
                    object_id=str(key),
                    object_repr=f"{name} {key}"[:200],
                    action_flag=CHANGE,
                    change_message=did,
                )
                for key in keys
            ),
            batch_size=500,
        )

    def report(self, request: HttpRequest, did: str, *, done: int, of: int, others: str) -> None:
        """Tell the operator for how many of the chosen rows it was done, and why not for the others."""
        if not of:
            said = "There was nothing left to do: these rows have moved on meanwhile."
        else:
            said = f"{did}: {done:,} of {of:,}." + (f" The others {others}." if done < of else "")
        self.message_user(request, said, messages.SUCCESS if done else messages.WARNING)


class ReadOnlyAdmin(ConsoleAdmin):
    """Evidence: operators look at it, nobody adds to it, edits or deletes it here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestValues(admin.SimpleListFilter):
    """Filters by the values found in the newest rows; DISTINCT over the whole history would be slow."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        # DISTINCT over the whole history would be slow.
        rows = model_admin.model._default_manager.order_by("-pk").values_list(self.field, flat=True)
        return [(value, as_words(value)) for value in sorted(set(rows[:NEWEST_ROWS])) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset if self.value() is None else queryset.filter(**{self.field: self.value()})


def newest_values(name: str, title: str) -> type[NewestValues]:
    return type(f"Newest_{name}", (NewestValues,), {"field": name, "parameter_name": name, "title": title})


def chosen(queryset: QuerySet[Any]) -> list[Any]:
    # Read once: acting on the rows may take them out of the filter.
    return list(queryset.order_by("pk").values_list("pk", flat=True))


def money(cents: int | None) -> str:
    """Return an amount as a person reads it; None is no cap."""
    return "no cap" if cents is None else core.money.money(cents)


def utc_time(at: dt.datetime | None) -> SafeString | str:
    """Return a time to the second, in UTC; Django's own format hides the seconds."""
    if at is None:
        return NOTHING
    day, time = f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}".split()
    return format_html('<span class="console-word">{}</span> <span class="console-word">{}</span>', day, time)


def pretty(value: Any) -> SafeString | str:
    return NOTHING if value is None else block(json.dumps(value, indent=2, ensure_ascii=False))


def block(text: str) -> SafeString:
    """Return text as it is, in a box that scrolls; what is too long is cut."""
    cut = "" if len(text) <= JSON_MAX_CHARS else f"\n… and {len(text) - JSON_MAX_CHARS:,} characters more"
    return format_html('<pre class="console-block">{}{}</pre>', text[:JSON_MAX_CHARS], cut)


def code(text: Any) -> SafeString | str:
    return format_html("<code>{}</code>", text) if text else NOTHING


def badge(word: str, why: str = "") -> SafeString:
    mark = format_html('<span class="console-badge" data-word="{}">{}</span>', word, as_words(word))
    return two_lines(mark, why) if why else mark


def two_lines(first: Any, second: Any) -> SafeString:
    return format_html('{}<br><span class="console-second">{}</span>', first, second)


def as_words(word: str) -> str:
    return word.replace("_", " ")


def external_link(url: str, text: Any = None) -> SafeString | str:
    """Return a link to an address that others gave us; only a web address becomes one."""
    if not url.lower().startswith(("https://", "http://")):
        return url or NOTHING
    return format_html('<a href="{}" rel="noreferrer" target="_blank">{}</a>', url, text or url)


def admin_link(url_name: str, text: Any, *args: Any, **query: Any) -> SafeString:
    # By name: an app may link to a page of an app above it, which it must not import.
    asked = f"?{urlencode(query)}" if query else ""
    return format_html('<a href="{}{}">{}</a>', reverse(url_name, args=args), asked, text)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> SafeString | str:
    """Return rows as a table, a dash if there are none."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return NOTHING
    titles = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in head))
    return format_html(
        '<div class="console-table"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>', titles, body
    )


def column(name: str, show: Callable[[Any], Any], title: str = "", *, order: str | None = None) -> Column:
    """Return a column or read-only field that shows one attribute through `show`."""

    @admin.display(description=title or as_words(name), ordering=order)
    def shown(*admin_and_row: Any) -> Any:
        return show(getattr(admin_and_row[-1], name))

    shown.__name__ = name
    vars(shown)["behind"] = name  # what a CSV has
    return shown


def remaining_fields(model: type[Model], *known: str) -> tuple[Any, ...]:
    """Return every column of a model but the known ones: those that only the worker uses."""
    fields = [field for field in model._meta.concrete_fields if field.name not in known]
    return tuple(column(f.name, utc_time) if isinstance(f, DateTimeField) else f.name for f in fields)


def uuid_in(term: str) -> uuid.UUID | None:
    """Return the first UUID in a pasted text: an id, a `[cast:<id>]` tag, a page's address."""
    found = A_UUID.search(term)
    return uuid.UUID(found[0]) if found else None


def run_id_in(term: str) -> int | None:
    """Return the id of a run, given as a number or as the run's address on GitHub."""
    found = A_RUN.fullmatch(term.strip())
    return int(found[1]) if found else None
