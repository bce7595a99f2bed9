"""Line charts as SVG, by hand: two logarithmic axes, one line for each server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from tests.bench.report import Line

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 230, 44, 48
# Told apart without colour too: each line ends at its name.
COLOURS = ("#c2185b", "#1565c0", "#2e7d32", "#ef6c00", "#6a1b9a", "#00838f", "#5d4037", "#616161")


class Axis:
    """A logarithmic axis from a power of ten to a power of ten."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        good = [v for v in values if v > 0] or [1.0]
        self.low = math.floor(math.log10(min(good)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(good)) - 1e-9), self.low + 1)
        self.begin, self.end = begin, end

    def at(self, value: float) -> float:
        part = (math.log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def label(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def chart(title: str, x_title: str, y_title: str, lines: Sequence[Line]) -> str:
    """Return an SVG document."""
    points = [point for line in lines for point in line.points]
    x = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for value in x.ticks():
        parts += [
            f'<line x1="{x.at(value):.1f}" y1="{TOP}" x2="{x.at(value):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>',
            f'<text x="{x.at(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{label(value)}</text>',
        ]
    for value in y.ticks():
        parts += [
            f'<line x1="{LEFT}" y1="{y.at(value):.1f}" x2="{WIDTH - RIGHT}" y2="{y.at(value):.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y.at(value) + 4:.1f}" text-anchor="end">{label(value)}</text>',
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts += [
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>',
        f'<text x="{LEFT}" y="{TOP - 6}">{escape(y_title)}</text>',
    ]
    names = spread([y.at(line.points[-1][1]) for line in lines])
    for line, colour, name_y in zip(lines, COLOURS * len(lines), names, strict=False):
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in line.points)
        end_x, end_y = x.at(line.points[-1][0]), y.at(line.points[-1][1])
        width = 3 if line.name.startswith("ours") else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>' for a, b in line.points]
        side = WIDTH - RIGHT + 14
        parts += [
            f'<line x1="{end_x:.1f}" y1="{end_y:.1f}" x2="{side - 3}" y2="{name_y:.1f}" stroke="{colour}" '
            'stroke-width="0.6" stroke-dasharray="2 2"/>',
            f'<text x="{side}" y="{name_y + 4:.1f}" fill="{colour}">{escape(line.name)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def spread(places: Sequence[float], apart: float = 16.0) -> list[float]:
    """Return places for names near these, none closer to another than `apart`, in the same order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    result, last = [0.0] * len(places), TOP - apart
    for i in order:
        last = result[i] = max(places[i], last + apart)
    over = last - (HEIGHT - BOTTOM)
    return [place - over for place in result] if over > 0 else result
