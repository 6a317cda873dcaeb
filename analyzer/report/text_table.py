"""Columns of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from analyzer.report import terminal

SHORTEST = 8  # characters that are left of a shortened cell at least
NO_END = 10**9  # characters of a line, where there is no terminal
LONG = 26  # characters from which on a cell is rather shortened than a column left out


def text_table(
    header: list[str],
    rows: Iterable[Iterable[object]],
    left: int = 1,
    least: Sequence[str] = (),
) -> str:
    """Columns aligned by spaces: the first `left` to the left, the rest to the right.

    Where a terminal is too narrow, the columns named in `least` are left out one by one, which is
    said below the table; if that is not enough, the left ones are shortened.
    """
    lines = [[*header], *[[str(cell) for cell in row] for row in rows]]
    most, dropped = terminal.width() or NO_END, []
    waiting = [name for name in least if name in header]
    while waiting and _total(_widths(lines, left)) > most:
        dropped.append(waiting.pop(0))
        gone = lines[0].index(dropped[-1])
        lines = [[*line[:gone], *line[gone + 1 :]] for line in lines]
        left -= gone < left
    widths = _widths(lines)
    for _ in range(left):
        if _total(widths) <= most:
            break
        widest = max(range(left), key=lambda i: widths[i])
        room = max(SHORTEST, widths[widest] - (_total(widths) - most))
        for line in lines:
            if len(line[widest]) > room:
                line[widest] = _shortened(line[widest], room)
        widths = _widths(lines)
    text = "\n".join(
        "  ".join(
            _padded(cell, width, to_left=i < left)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    if not dropped:
        return text
    note = f"Left out for the width: {', '.join(dropped)}."
    return f"{text}\n{textwrap.fill(note, most)}"


def _shortened(text: str, room: int) -> str:
    """The text without its middle: names that are alike differ at the end."""
    tail = (room - 1) // 3
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def _widths(lines: list[list[str]], shortened: int = 0) -> list[int]:
    """The widths of all columns, the first so many taken for shortened."""
    widths = [max(len(terminal.plain(line[i])) for line in lines) for i in range(len(lines[0]))]
    return [min(width, LONG) if i < shortened else width for i, width in enumerate(widths)]


def _total(widths: list[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _padded(cell: str, width: int, *, to_left: bool) -> str:
    room = " " * (width - len(terminal.plain(cell)))
    return cell + room if to_left else room + cell
