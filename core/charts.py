"""Charts as inline SVG, for pages and the admin; their look is `core/static/core/charts.css`.

Places along the chart are percentages and heights are pixels, so that a chart is as wide as its page and its words stay
as large as others. The picture is for the eye alone: a table below it has the same figures and links, for keyboards and
screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

HEIGHT = 160  # pixels, of what is drawn between the axes
LABELS = 5  # on the axis along the chart, at most
TICKS = 4  # steps of the axis of values, at most
EDGE = 7  # percent: a label nearer to an edge than this begins or ends there, or it would be cut

Value = int | float
Write = Callable[[Value], str]


@dataclass(frozen=True)
class Series:
    """One row of values, one for each label; of lines, None where nothing is known.

    `tone`: queued, running, succeeded, failed, cancelled or money, which is a class of charts.css.
    """

    name: str
    values: Sequence[Value | None]
    tone: str


def bars(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    said: str,
    links: Sequence[str | None] | None = None,
    unit: str = "",
    write: Write | None = None,
    tick: Write | None = None,
    empty: str = "Nothing in this time.",
) -> SafeString:
    """Return a figure of stacked bars, one for each label, or a paragraph with `empty`.

    `said`: what the chart shows, for its caption. `links`: where a click on each bar leads. `unit`: the word after a
    value, unless `write` makes the whole text. `tick`: how values are written beside the axis.
    """
    sums = [sum(one.values[place] or 0 for one in series) for place in range(len(labels))]
    if not any(sums):
        return nothing(said, empty)
    step, top = scale(max(sums))
    write = write or usual(unit)
    slot = 100 / len(labels)
    drawn: list[SafeString] = []
    for place, label in enumerate(labels):
        parts, below = [], 0.0
        for one in series:
            height = HEIGHT * (one.values[place] or 0) / top
            if height:
                height = max(height, 1.0)  # however little it is, it is there
                parts.append(
                    format_html(
                        '<rect class="chart-{}" x="{}%" width="{}%" y="{}" height="{}"/>',
                        one.tone,
                        round(slot * (place + 0.1), 3),
                        round(slot * 0.8, 3),
                        round(HEIGHT - below - height, 1),
                        round(height, 1),
                    )
                )
                below += height
        hint = hint_of(label, series, place, write, total=sums[place] if len(series) > 1 else None)
        drawn.append(column(place, slot, hint, joined(parts), links))
    return figure(said, labels, series, drawn, step, top, write, tick or usual_tick, links, together=True)


def lines(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    said: str,
    links: Sequence[str | None] | None = None,
    unit: str = "",
    write: Write | None = None,
    tick: Write | None = None,
    empty: str = "Nothing in this time.",
) -> SafeString:
    """Return a figure of lines over the labels, with gaps where a value is None, or a paragraph with `empty`.

    The parameters are those of `bars`. The second line is dashed, a third dotted: no two differ by colour alone.
    """
    known = [value for one in series for value in one.values if value is not None]
    if not known:
        return nothing(said, empty)
    step, top = scale(max(known))
    write = write or usual(unit)
    slot = 100 / len(labels)
    drawn: list[SafeString] = []
    for line, one in enumerate(series):
        points = [
            None if value is None else (round(slot * (place + 0.5), 3), round(HEIGHT * (1 - value / top), 1))
            for place, value in enumerate(one.values)
        ]
        drawn.append(
            format_html_join(
                "",
                '<line class="chart-{} chart-line-{}" x1="{}%" y1="{}" x2="{}%" y2="{}"/>',
                ((one.tone, line % 3, *before, *after) for before, after in pairwise(points) if before and after),
            )
        )
        drawn.append(
            format_html_join(
                "", '<circle class="chart-{}" cx="{}%" cy="{}" r="2.5"/>', ((one.tone, *at) for at in points if at)
            )
        )
    for place, label in enumerate(labels):
        drawn.append(column(place, slot, hint_of(label, series, place, write), SafeString(), links))
    return figure(said, labels, series, drawn, step, top, write, tick or usual_tick, links, dashed=True)


def scale(most: Value) -> tuple[float, float]:
    """Return the step between the axis's numbers, which is 1, 2 or 5 times a power of ten, and its last number."""
    raw = most / TICKS
    if raw <= 0:
        return 1, 1
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * (1 - 1e-9))
    if step < 1 and isinstance(most, int):
        step = 1  # what is counted has no halves
    return step, step * max(1, math.ceil(most / step - 1e-9))


def usual(unit: str) -> Write:
    def write(value: Value) -> str:
        return f"{number(value)} {unit}".strip()

    return write


def number(value: Value) -> str:
    """Return a number with a comma at the thousands, and of a fraction two digits at most."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def usual_tick(value: Value) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if value >= size:
            return f"{number(value / min(size, 10**3 if letter == 'k' else size))}{letter}"
    return number(value)


def column(place: int, slot: float, hint: str, parts: SafeString, links: Sequence[str | None] | None) -> SafeString:
    """Return what stands above one label: it has a hint, and leads somewhere where there is a link.

    The table has the links for the keyboard, so that nobody must go through all bars.
    """
    area = format_html(
        '<title>{}</title><rect class="chart-area" x="{}%" width="{}%" y="0" height="{}"/>{}',
        hint,
        round(slot * place, 3),
        round(slot, 3),
        HEIGHT,
        parts,
    )
    if links is not None and (link := links[place]):
        return format_html('<a href="{}" tabindex="-1">{}</a>', link, area)
    return format_html("<g>{}</g>", area)


def hint_of(label: str, series: Sequence[Series], place: int, write: Write, *, total: Value | None = None) -> str:
    said = [(one.name, value) for one in series if (value := one.values[place])]
    if len(series) == 1:
        return f"{label}: {write(series[0].values[place] or 0)}"
    words = [f"{name} {write(value)}" for name, value in said]
    if total is not None and len(said) > 1:
        words.append(f"together {write(total)}")
    return f"{label}: {', '.join(words) or write(0)}"


def axis(labels: Sequence[str]) -> SafeString:
    """Return a few of the labels, at even distances."""
    every = max(1, math.ceil(len(labels) / LABELS))
    texts = []
    for place in range(0, len(labels), every):
        middle = 100 * (place + 0.5) / len(labels)
        anchor, x = ("start", 0.0) if middle < EDGE else ("end", 100.0) if middle > 100 - EDGE else ("middle", middle)
        texts.append((round(x, 3), HEIGHT + 18, anchor, labels[place]))
    return format_html_join("", '<text x="{}%" y="{}" text-anchor="{}">{}</text>', texts)


def figure(
    said: str,
    labels: Sequence[str],
    series: Sequence[Series],
    drawn: Sequence[SafeString],
    step: float,
    top: float,
    write: Write,
    tick: Write,
    links: Sequence[str | None] | None,
    *,
    together: bool = False,
    dashed: bool = False,
) -> SafeString:
    ticks = [whole(step * count) for count in range(round(top / step) + 1)]
    grid = format_html_join(
        "",
        '<line class="chart-grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>',
        ((round(HEIGHT * (1 - value / top), 1),) for value in ticks),
    )
    legend = SafeString()
    if len(series) > 1:
        legend = format_html(
            '<ul class="chart-legend">{}</ul>',
            format_html_join(
                "",
                '<li><svg width="18" height="10" aria-hidden="true">{}</svg> {}</li>',
                (
                    (
                        format_html(
                            '<line class="chart-{} chart-line-{}" x1="0" x2="18" y1="5" y2="5"/>', one.tone, place % 3
                        )
                        if dashed
                        else format_html('<rect class="chart-{}" x="4" width="10" height="10"/>', one.tone),
                        one.name,
                    )
                    for place, one in enumerate(series)
                ),
            ),
        )
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption>{}<div class="chart-body">'
        '<div class="chart-ticks" aria-hidden="true">{}</div>'
        '<svg width="100%" height="{}" aria-hidden="true" focusable="false">{}{}{}</svg></div>{}</figure>',
        said,
        legend,
        format_html_join("", "<span>{}</span>", ((tick(value),) for value in reversed(ticks))),
        HEIGHT + 24,
        grid,
        joined(drawn),
        axis(labels),
        table(said, labels, series, write, links, together=together and len(series) > 1),
    )


def table(
    said: str,
    labels: Sequence[str],
    series: Sequence[Series],
    write: Write,
    links: Sequence[str | None] | None,
    *,
    together: bool,
) -> SafeString:
    """Return the figures, folded."""
    names = [one.name for one in series] + (["Together"] if together else [])
    rows = []
    for place, label in enumerate(labels):
        values = [one.values[place] for one in series]
        cells = ["-" if value is None else write(value) for value in values]
        if together:
            cells.append(write(sum(value or 0 for value in values)))
        link = links[place] if links is not None else None
        head = format_html('<a href="{}">{}</a>', link, label) if link else label
        rows.append((head, format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))))
    return format_html(
        '<details class="chart-figures"><summary>Figures<span class="chart-unseen">: {0}</span></summary>'
        '<div class="chart-scroll" tabindex="0" role="region" aria-label="Figures: {0}"><table>'
        "<thead><tr><td></td>{1}</tr></thead><tbody>{2}</tbody></table></div></details>",
        said,
        format_html_join("", '<th scope="col">{}</th>', ((name,) for name in names)),
        format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', rows),
    )


def nothing(said: str, empty: str) -> SafeString:
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption><p class="chart-empty">{}</p></figure>', said, empty
    )


def joined(parts: Sequence[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


def whole(value: float) -> Value:
    """Return an integer where the value is one; steps below 1 are rounded to what they are made of."""
    return round(value) if abs(value - round(value)) < 1e-9 else round(value, 9)
