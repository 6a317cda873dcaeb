"""What a terminal takes: its width, colours, bars."""

from __future__ import annotations

import os
import re
import shutil
import sys

COLORS = {"red": 31, "green": 32, "yellow": 33}
_ESCAPE = re.compile(r"\x1b\[\d+m")
FULL = (0.8, 0.95)  # of a limit: from here on yellow, and red


def width() -> int | None:
    """Columns that a line may have: COLUMNS, else the terminal's; None where there is no end."""
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def paint(text: str, color: str) -> str:
    """The text in a colour; `emit` takes it off again where stdout is no terminal."""
    return f"\x1b[{COLORS[color]}m{text}\x1b[0m"


def plain(text: str) -> str:
    """The text without colours."""
    return _ESCAPE.sub("", text)


def colorless() -> bool:
    """Whether the user wants no colours: NO_COLOR is set (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def bar(part: float, columns: int = 24) -> str:
    """A bar that is filled to a part of it, 0 to 1, coloured by how full it is."""
    filled = round(min(1.0, max(0.0, part)) * columns)
    color = "red" if part > FULL[1] else "yellow" if part > FULL[0] else "green"
    try:
        "█░".encode(sys.stdout.encoding or "ascii")
        full, empty = "█", "░"
    except UnicodeEncodeError:
        full, empty = "#", "."
    return paint(full * filled, color) + empty * (columns - filled)
