"""A server's log file."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger("model_placer")


class LogFile:
    """A file that a server appends to; made when it is first opened."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"model-placer-triton-{secrets.token_hex(4)}.log"

    def open(self) -> BinaryIO:
        """The file, opened to append."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.path.open("ab")

    def mark(self) -> int:
        """Its length now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, mark: int) -> str:
        """What was written since the mark."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace")

    def close(self, keep: bool) -> None:
        """Delete the file unless it is to be kept; an empty one is not."""
        if not keep or self.mark() == 0:
            self.path.unlink(missing_ok=True)
        else:
            log.info("Triton's log is kept in %s", self.path)


ORIGINAL = "Original error was:"  # NumPy's and others', below a page of advice


def telling_first(reason: str) -> str:
    """A reason whose first line tells something: an exception may begin with an empty line.

    What the exception was about, or what it says was the original error, is put on that line.
    """
    first, *rest = reason.splitlines() or [""]
    if not first.rstrip().endswith(":") or not any(line.strip() for line in rest):
        return reason
    original = next((line for line in rest if line.strip().startswith(ORIGINAL)), None)
    telling = original or next(line for line in rest if line.strip())
    if telling is not original:
        rest.remove(telling)
    words = telling.strip().removeprefix(ORIGINAL).strip()
    return "\n".join([f"{first.rstrip()} {words}", *rest])


def quote(text: str) -> str:
    """The errors in a log, indented, to be appended to a message.

    Triton's warnings and errors, at most 20; of a log without any its first lines, which name a
    bad option before they explain all good ones, and its last.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    # Triton's lines start with a letter for the level and the date: E1121 05:50:10.684628 ...
    serious = [line for line in lines if line[:1] in {"E", "W"} and line[1:5].isdigit()]
    chosen = serious[-20:] or (lines if len(lines) <= 12 else [*lines[:3], "...", *lines[-8:]])
    return "".join(f"\n    {line}" for line in chosen)
