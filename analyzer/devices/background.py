"""A thread that runs as long as a `with` block."""

from __future__ import annotations

import threading
from typing import Self


class Background:
    """Runs `_run` in a thread until its `with` block ends, which sets `_stop`."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError
