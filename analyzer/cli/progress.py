"""What is shown while a command works: lines, and on a terminal a status line below them."""

from __future__ import annotations

import logging
import sys

CLEAR = "\r\x1b[K"  # to the line's beginning, and the line away


class StatusLine(logging.StreamHandler):  # type: ignore[type-arg]
    """Log lines on stderr, above a status line where stderr is a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._status = ""

    def show(self, status: str) -> None:
        """Show the status from now on; nothing where stderr is no terminal, or for an empty one."""
        if not self._on_terminal():
            return
        self.acquire()
        try:
            self._status = status
            self.stream.write(CLEAR + status)
            self.stream.flush()
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        if self._status:
            self.stream.write(CLEAR)
        super().emit(record)
        if self._status:
            self.stream.write(self._status)
            self.stream.flush()

    def _on_terminal(self) -> bool:
        return self.stream is sys.stderr and sys.stderr.isatty()
