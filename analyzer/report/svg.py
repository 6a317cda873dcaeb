"""Plots as SVG text: points with error bars and curves, and stacked bars.

Colours and strokes are classes of `figures.css`; each series has a marker of its own shape, so that
colour alone tells nothing. A mark that stands for a table's row carries its number as `data-row`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from pathlib import Path

WIDTH, HEIGHT = 460, 300  # px; at a width of 360 its text is still readable
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44
LEGEND_LINE = 17
COLORS = 8
LOG_FROM = 20.0  # ratio of the largest to the least figure from which a scale is logarithmic
NAMED_BARS = 10  # beyond, bars are told by their rows alone
STYLE = (Path(__file__).with_name("figures.css")).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mark:
    """A point, with its 95 % interval where it is known."""

    x: float
    y: float
    row: int
    x_half: float = 0.0
    y_half: float = 0.0
    y_upper: float | None = None  # the upper end of its interval, where that is known otherwise

    @property
    def top(self) -> float:
        """Where its interval of y ends."""
        return self.y + self.y_half if self.y_upper is None else max(self.y, self.y_upper)


@dataclass(frozen=True)
class Series:
    """Points of one kind, in the order in which a curve joins them."""

    name: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Bar:
    """A bar of stacked parts."""

    name: str
    parts: tuple[float, ...]
    row: int | None = None


@dataclass(frozen=True)
class Axis:
    """Where a figure lies, between `low` and `high`, on so many pixels from `start`."""

    low: float
    high: float
    start: float
    length: float
    logarithmic: bool = False

    def at(self, figure: float) -> float:
        """The pixel of a figure; what lies outside is put on the edge."""
        low, high, figure = self.low, self.high, min(max(figure, self.low), self.high)
        if self.logarithmic:
            low, high, figure = log10(low), log10(high), log10(figure)
        return self.start + self.length * (figure - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        """Round figures from end to end."""
        if self.logarithmic:
            decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            marks = [step * 10.0**decade for decade in decades for step in steps]
        else:
            step = _step(self.high - self.low)
            first = ceil(self.low / step - 1e-9)
            marks = [step * n for n in range(first, floor(self.high / step + 1e-9) + 1)]
        return [mark for mark in marks if self.low - 1e-12 <= mark <= self.high * (1 + 1e-9)]


def axis(figures: Iterable[float], start: float, length: float, *, log: bool = False) -> Axis:
    """An axis that has all the figures and, unless it is logarithmic, zero."""
    found = [f for f in figures if f > 0 or not log]
    most = max(found, default=1.0) or 1.0
    least = min(found, default=most)
    if log and least > 0 and most / least >= LOG_FROM:
        return Axis(least / 1.15, most * 1.15, start, length, logarithmic=True)
    return Axis(min(0.0, least), most * 1.06, start, length)


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    front: Sequence[tuple[float, float]] = (),
    limit: tuple[float, str] | None = None,
    chosen: int | None = None,
    joined: bool = True,
    log: bool = False,
) -> str:
    """Points and curves.

    Parameters
    ----------
    front
        Points that a broad line joins, behind the others.
    limit
        A figure of y that must not be passed, and its name.
    chosen
        The row of a point that is ringed.
    joined
        Whether a curve joins the points of a series.
    log
        Whether x may be logarithmic; y always may.
    """
    marks = [mark for one in series for mark in one.marks]
    xs = [m.x + m.x_half for m in marks]
    ys = [y for m in marks for y in (m.y - m.y_half, m.top) if y > 0]
    x = axis(xs, LEFT, WIDTH - LEFT - RIGHT, log=log)
    y = axis(
        [*ys, *([limit[0]] if limit else [])], HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT, log=True
    )
    parts = [_axes(x, y, x_label, y_label)]
    if front:
        line = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in front)
        parts.append(f'<polyline class="front" points="{line}"/>')
    if limit:
        at = f"{y.at(limit[0]):.1f}"
        parts.append(
            f'<path class="limit" d="M{LEFT} {at}H{WIDTH - RIGHT}"/><text class="limit-name" '
            f'x="{WIDTH - RIGHT - 2}" y="{float(at) - 4:.1f}" text-anchor="end">'
            f"{escape(limit[1])}</text>"
        )
    for number, one in enumerate(series):
        places = [(x.at(m.x), y.at(m.y), m) for m in one.marks]
        if joined and len(places) > 1:
            line = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in places)
            parts.append(f'<polyline class="curve s{number % COLORS}" points="{line}"/>')
        bars = "".join(
            (f"M{x.at(m.x - m.x_half):.1f} {b:.1f}H{x.at(m.x + m.x_half):.1f}" if m.x_half else "")
            + (f"M{a:.1f} {y.at(m.y - m.y_half):.1f}V{y.at(m.top):.1f}" if m.top > m.y else "")
            for a, b, m in places
        )
        if bars:
            parts.append(f'<path class="error s{number % COLORS}" d="{bars}"/>')
        parts += [
            f'<path class="mark s{number % COLORS}" d="{_shape(number, a, b)}" data-row="{m.row}"/>'
            for a, b, m in places
        ]
        parts += [
            f'<circle class="chosen" cx="{a:.1f}" cy="{b:.1f}" r="9"/>'
            for a, b, m in places
            if m.row == chosen
        ]
    legend, height = _legend([one.name for one in series], markers=True)
    return _svg(title, HEIGHT + height, "".join(parts) + legend)


def stacked_bars(title: str, y_label: str, parts: Sequence[str], bars: Sequence[Bar]) -> str:
    """A bar for each of `bars`, its parts upon one another, all to one scale."""
    y = axis([sum(bar.parts) for bar in bars], HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT)
    width = (WIDTH - LEFT - RIGHT) / max(1, len(bars))
    drawn = [_axes(None, y, "", y_label)]
    for number, bar in enumerate(bars):
        left, level = LEFT + number * width, 0.0
        inner = ""
        for kind, part in enumerate(bar.parts):
            top, bottom = y.at(level + part), y.at(level)
            level += part
            inner += (
                f'<rect class="part s{kind % COLORS}" x="{left + width * 0.12:.1f}" y="{top:.1f}" '
                f'width="{width * 0.76:.1f}" height="{max(0.0, bottom - top):.1f}"/>'
            )
        row = "" if bar.row is None else f' data-row="{bar.row}"'
        drawn.append(f"<g{row}>{inner}</g>")
        if len(bars) <= NAMED_BARS:
            room = max(3, int(width / 6.2))
            name = bar.name if len(bar.name) <= room else bar.name[: room - 1] + "…"
            drawn.append(
                f'<text x="{left + width / 2:.1f}" y="{HEIGHT - BOTTOM + 16}" '
                f'text-anchor="middle">{escape(name)}</text>'
            )
    if len(bars) > NAMED_BARS:
        drawn.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 16}" '
            f'text-anchor="middle">{len(bars)} points, in the order of the table</text>'
        )
    legend, height = _legend(parts, markers=False)
    return _svg(title, HEIGHT + height, "".join(drawn) + legend)


def level_bars(
    title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]], float, str]]
) -> str:
    """Horizontal bars: (name, parts, limit, text), each part (what it is, figure).

    Figures and limits are parts of the whole width, 0 to 1.
    """
    left, line = 138, 34
    width = WIDTH - left - RIGHT
    drawn = []
    for number, (name, parts, limit, text) in enumerate(rows):
        top, at = number * line + 6, float(left)
        drawn.append(
            f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="room" x="{left}" y="{top}" width="{min(1.0, limit) * width:.1f}" '
            'height="18"/>'
        )
        for kind, (what, figure) in enumerate(parts):
            size = min(max(0.0, figure) * width, left + width - at)
            drawn.append(
                f'<rect class="part s{kind % COLORS}" x="{at:.1f}" y="{top}" '
                f'width="{size:.1f}" height="18"><title>{escape(what)}</title></rect>'
            )
            at += size
        edge = left + min(1.0, limit) * width
        drawn.append(f'<path class="limit" d="M{edge:.1f} {top - 3}v24"/>')
        drawn.append(f'<text class="small" x="{left}" y="{top + 29}">{escape(text)}</text>')
    return _svg(title, len(rows) * line + 8, "".join(drawn))


def standalone(svg: str) -> str:
    """The figure as a file of its own, with its style."""
    head, _, body = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{body}'


def _svg(title: str, height: float, inner: str) -> str:
    text = escape(title, quote=True)
    return (
        f'<svg class="figure" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{text}">'
        f"{inner}</svg>"
    )


def _axes(x: Axis | None, y: Axis, x_label: str, y_label: str) -> str:
    bottom, lines, texts = HEIGHT - BOTTOM, "", ""
    for tick in y.ticks():
        at = y.at(tick)
        lines += f"M{LEFT} {at:.1f}H{WIDTH - RIGHT}"
        texts += f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
    for tick in x.ticks() if x else ():
        at = x.at(tick) if x else 0.0
        lines += f"M{at:.1f} {TOP}V{bottom}"
        texts += f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(tick)}</text>'
    middle = (TOP + bottom) / 2
    return (
        f'<path class="grid" d="{lines}"/><path class="axis" d="M{LEFT} {TOP}V{bottom}H'
        f'{WIDTH - RIGHT}"/>{texts}<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 36}" '
        f'text-anchor="middle">{escape(x_label)}</text><text transform="translate(13 {middle}) '
        f'rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )


def _legend(names: Sequence[str], *, markers: bool) -> tuple[str, float]:
    """Names below the plot, as many to a line as fit; their height."""
    longest = max((len(name) for name in names), default=0)
    columns = 4 if longest <= 10 else 2 if longest <= 24 else 1
    parts = []
    for number, name in enumerate(names):
        left = LEFT + (number % columns) * (WIDTH - LEFT - RIGHT) / columns
        top = HEIGHT + 6 + number // columns * LEGEND_LINE
        kind = "mark" if markers else "part"
        shape = _shape(number if markers else 1, left + 5, top)
        most = 54
        shown = name if len(name) <= most else name[: most - 1] + "…"
        parts.append(
            f'<path class="{kind} s{number % COLORS}" d="{shape}"/>'
            f'<text x="{left + 16:.1f}" y="{top + 4}">{escape(shown)}</text>'
        )
    return "".join(parts), ceil(len(names) / columns) * LEGEND_LINE + 4


def _shape(number: int, x: float, y: float) -> str:
    """A marker about a point; the shapes follow one another, and change with each round."""
    kind = (number + number // COLORS) % 5
    if kind == 0:
        return f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0-8 0"
    if kind == 1:
        return f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"
    if kind == 2:
        return f"M{x:.1f} {y - 5:.1f}l5 9h-10z"
    if kind == 3:
        return f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5-5.5 5.5-5.5-5.5z"
    return f"M{x:.1f} {y + 5:.1f}l5-9h-10z"


def _step(span: float) -> float:
    """A round distance that makes about five of the span."""
    raw = (span or 1.0) / 5
    power = 10.0 ** floor(log10(raw))
    return next((step * power for step in (1, 2, 5) if step * power >= raw * 0.999), 10 * power)


def _number(figure: float) -> str:
    if abs(figure) >= 10000:
        for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(figure) >= scale:
                return f"{figure / scale:.4g}{letter}"
    return f"{figure:.4g}"
