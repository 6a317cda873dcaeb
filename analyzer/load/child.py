"""Child processes that exchange pickled messages with this one over two pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any


class Child:
    """A Python module run as a child process; it exits when its stdin closes."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.process.stdin as to, self.process.stdout as back:
            self._to: Connection[Any, Any] = Connection(os.dup(to.fileno()))
            self._back: Connection[Any, Any] = Connection(os.dup(back.fileno()))

    def fileno(self) -> int:
        """What `select` waits on for its next message."""
        return self._back.fileno()

    def tell(self, message: object) -> None:
        """Send it a message; raises BrokenPipeError when it has ended."""
        self._to.send(message)

    def hear(self) -> Any:
        """Its next message; raises EOFError or OSError when it has ended."""
        return self._back.recv()

    def hang_up(self) -> None:
        """Close its stdin, so that it exits."""
        self._to.close()


def end(children: Sequence[Child], limit_s: float) -> None:
    """Close the children's stdin; kill those that do not exit within the limit."""
    for child in children:
        child.hang_up()
    deadline_s = time.monotonic() + limit_s
    for child in children:
        try:
            child.process.wait(max(0.1, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def parent() -> tuple[Connection[Any, Any], Connection[Any, Any]]:
    """In a child: the connections from and to its parent."""
    return Connection(os.dup(sys.stdin.fileno())), Connection(os.dup(sys.stdout.fileno()))
