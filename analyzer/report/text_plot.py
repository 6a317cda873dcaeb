"""Throughput against latency as characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.report import terminal
from analyzer.report.model_figures import groups
from analyzer.report.svg import axis
from profiles.measurement import Measurement

WIDTH, HEIGHT = 80, 16  # characters, where the terminal does not say
MARKS = "1234567890abcdefghijklmnopqrstuvwxyz"
SEVERAL = "*"  # marks of several curves in one place
LABEL = 9  # characters before the axis


def latency_plot(model: str, rows: Sequence[Measurement], percentile: int = 95) -> str:
    """A mark for each point: the further right and down, the better; a legend below."""
    curves = {
        name: [(m.throughput, m.latency.percentile(percentile)) for _, m in members if m.latency]
        for name, members in groups(rows).items()
    }
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return f"{model}: no latency was measured."
    columns = (terminal.width() or WIDTH) - LABEL - 2
    x = axis([p[0] for p in points], 0, columns - 1)
    y = axis([p[1] for p in points], HEIGHT - 1, 1 - HEIGHT, log=True)
    grid = [[" "] * columns for _ in range(HEIGHT)]
    for number, curve in enumerate(curves.values()):
        mark = MARKS[number % len(MARKS)]
        for throughput, latency in curve:
            row, column = round(y.at(latency)), round(x.at(throughput))
            grid[row][column] = mark if grid[row][column] in {" ", mark} else SEVERAL
    labels = {round(y.at(tick)): f"{tick:.4g}" for tick in y.ticks()}
    lines = [f"{model}: p{percentile} latency in ms, upward; inferences/s, to the right"]
    lines += [
        f"{labels.get(n, ''):>{LABEL}} {'┤' if n in labels else '│'}{''.join(cells)}".rstrip()
        for n, cells in enumerate(grid)
    ]
    scale = [" "] * (columns + 4)
    for tick in x.ticks():
        text, at = f"{tick:.4g}", round(x.at(tick))
        scale[at : at + len(text)] = text
    lines.append(" " * (LABEL + 1) + "└" + "─" * columns)
    lines.append((" " * (LABEL + 2) + "".join(scale)).rstrip())
    lines += [f"  {MARKS[n % len(MARKS)]}  {name}" for n, name in enumerate(curves)]
    return "\n".join(lines)
