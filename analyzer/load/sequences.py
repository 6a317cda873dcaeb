"""Requests of stateful models: each connection carries one sequence after another.

A sequence's requests are made ahead but for the sequence's id, which is written into their bytes
as they are sent. Ids have the same number of bytes in either protocol, so nothing else moves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from analyzer.load.worker import Request

# Ids fit a model's INT32, and all have ten digits, and five bytes as protobuf's varint.
FIRST_ID, LAST_ID = 1_000_000_000, 2_147_483_647
MOST_WORKERS = 64  # each counts in steps of so many: no two of them share an id
PATIENCE = 0.5  # of the idle time after which the server gives a sequence up


@dataclass(frozen=True)
class SequenceStep:
    """Where a request stands in its sequence, and where in its bytes the id belongs."""

    starts: bool
    ends: bool
    id_at: int
    id_form: Literal["decimal", "varint"]
    idle_limit_s: float = 1.0  # the server gives up a sequence that rests for longer

    def stamped(self, body: bytes, identity: int) -> bytes:
        """The bytes with the id in its place."""
        written = b"%d" % identity if self.id_form == "decimal" else varint(identity)
        return b"".join((body[: self.id_at], written, body[self.id_at + len(written) :]))


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


def lengths(mean: int) -> tuple[int, ...]:
    """Lengths of sequences about the mean, a fifth up and down: they are not to keep in step."""
    return tuple(max(1, round(mean * part)) for part in (1.0, 0.8, 1.2, 0.9, 1.1))


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits to a byte, the lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
