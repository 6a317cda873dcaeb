"""Columns of plain text."""

from __future__ import annotations

from collections.abc import Iterable


def text_table(header: list[str], rows: Iterable[Iterable[object]], left: int = 1) -> str:
    """Columns aligned by spaces: the first `left` to the left, the rest to the right."""
    lines = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
