"""The sequences of stateful models on a worker's connections, one after another on each."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyzer.load.sequences import FIRST_ID, LAST_ID
from analyzer.load.worker.request import Request

MOST_WORKERS = 64  # each counts in steps of so many: no two of them share an id
PATIENCE = 0.5  # of the idle time after which the server gives a sequence up


@dataclass
class _Live:
    """A sequence on its way over a connection."""

    identity: int
    script: Sequence[Request]
    position: int = 0
    rested_s: float | None = None  # since when nothing is in flight


class Sequences:
    """The sequences that live on a worker's connections, one on each at most."""

    def __init__(self, requests: Sequence[Request], worker: int) -> None:
        self.scripts: list[list[Request]] = []
        for request in requests:
            assert request.sequence is not None
            if request.sequence.starts:
                self.scripts.append([])
            self.scripts[-1].append(request)
        self._next_script = worker
        self._worker = worker
        # Another client may have left sequences behind that the server holds for alive.
        self._count = random.randrange(LAST_ID)
        self._live: dict[object, _Live] = {}

    def next(self, connection: object) -> Request:
        """The next request of the connection's sequence, or the first of a new one."""
        live = self._live.get(connection)
        if live is None or self.lingers(connection):
            script = self.scripts[self._next_script % len(self.scripts)]
            self._next_script += 1
            live = self._live[connection] = _Live(self._identity(), script)
        request = live.script[live.position]
        live.position += 1
        live.rested_s = None
        return self._stamped(connection, live, request)

    def last(self, connection: object) -> Request | None:
        """The end of the connection's sequence, whatever is left of it; None when it has none."""
        live = self._live.get(connection)
        return None if live is None else self._stamped(connection, live, live.script[-1])

    def rest(self, connection: object) -> None:
        """Nothing is in flight on the connection for the time being."""
        if connection in self._live:
            self._live[connection].rested_s = time.monotonic()

    def lingers(self, connection: object) -> bool:
        """Whether the connection's sequence has rested so long that the server may give it up."""
        live = self._live.get(connection)
        step = live.script[0].sequence if live is not None else None
        if live is None or live.rested_s is None or step is None:
            return False
        return time.monotonic() - live.rested_s > PATIENCE * step.idle_limit_s

    def forget(self, connection: object) -> None:
        """The connection's sequence is broken: the next request begins another."""
        self._live.pop(connection, None)

    def _stamped(self, connection: object, live: _Live, request: Request) -> Request:
        step = request.sequence
        assert step is not None
        if step.ends:
            del self._live[connection]
        return replace(request, body=step.stamped(request.body, live.identity))

    def _identity(self) -> int:
        self._count += 1
        span = (LAST_ID + 1 - FIRST_ID) // MOST_WORKERS
        return FIRST_ID + self._count % span * MOST_WORKERS + self._worker % MOST_WORKERS
