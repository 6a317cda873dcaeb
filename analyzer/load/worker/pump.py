"""Sends requests over connections: closed loop (concurrency) or open loop (request rate)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from analyzer.load.worker.alarm import Alarm
from analyzer.load.worker.request import Request
from analyzer.load.worker.sequences import Sequences
from analyzer.load.worker.sockets import Sockets

MOST_CONNECTIONS = 256  # at a request rate; beyond them requests wait here, and their time counts
RETRY_S = 0.02  # after a failure, so that a refusing server is not flooded


class Connection(Protocol):
    """A way to the server with at most one request in flight."""

    sent_s: float
    in_flight: bool

    def send(self, request: Request, due_s: float | None = None) -> None:
        """Send a request; its latency counts from when it was due, by default now.

        Its end is told to the pump: `succeeded`, `failed`, or `lost` with the connection.
        """

    def close(self) -> None:
        """Close it at once."""


Connect = Callable[[str, "Pump"], Awaitable[Connection]]  # to an address, host:port


class Pump:
    """Sends requests over its connections and records completions."""

    def __init__(self, connect: Connect, number: int = 0) -> None:
        self.open = connect
        self.number = number  # of this worker among those of its generator
        self.address = ""
        self.requests: Sequence[Request] = ()
        self.round: Iterator[Request] = iter(())  # cycles through the requests
        self.sequences: Sequences | None = None  # of a stateful model, in place of `round`
        self.connections: dict[Connection, None] = {}  # in the order in which they were opened
        self.running = False
        self.flowing = False  # closed loop: each completion sends the next request
        self.done = array("d")  # send and completion times, by turns
        self.streams = False  # a request may get any number of responses
        self.answers = array("d")  # to these: time to the first and their number, by turns
        self.gaps = array("d")  # of these: when a response came, and since the one before, by turns
        self.failures = 0
        self.texts: list[str] = []
        self.paced = False  # open loop: requests are sent when they are due
        self.waiting: deque[float] = deque()  # due, and no connection is free
        self.idle: list[Connection] = []
        self.reopening: set[asyncio.Task[None]] = set()
        self.closing: asyncio.Task[None] | None = None  # of what connections had in common
        self.sockets: Sockets | None = None  # of the connections, where these share one

    def aim(self, address: str, requests: Sequence[Request]) -> None:
        """Send these requests to this address from now on."""
        self.close()
        self.address, self.requests = address, requests
        self.streams = bool(requests) and requests[0].streams
        stateful = bool(requests) and requests[0].sequence is not None
        self.sequences = Sequences(requests, self.number) if stateful else None

    async def connect(self, count: int) -> None:
        """Have this many open connections; raises OSError."""
        while len(self.connections) < count:
            await self.connect_one()

    async def connect_one(self) -> Connection:
        """Open one more connection; raises OSError."""
        connection = await self.open(self.address, self)
        self.connections[connection] = None
        return connection

    def start(self, concurrency: int) -> None:
        """Closed loop: keep so many requests in flight; each completion sends the next."""
        self.running, self.paced, self.round = True, False, itertools.cycle(self.requests)
        self.flowing = self.sequences is None
        for connection in list(self.connections)[:concurrency]:
            self.send(connection)

    async def pace(self, gaps: Iterator[float]) -> None:
        """Open loop: send requests as they fall due, however many are in flight.

        The time that a request waits for a free connection is part of its latency: it stands for
        a caller who would not have waited (no coordinated omission).
        """
        self.running, self.paced, self.round = True, True, itertools.cycle(self.requests)
        self.flowing = False
        self.waiting.clear()
        self.idle = list(self.connections)
        due_s = time.monotonic()
        alarm = Alarm()
        try:
            while self.running:
                await alarm.wait_until(due_s)
                self.waiting.append(due_s)
                due_s += next(gaps)
                if not self.idle and len(self.connections) < MOST_CONNECTIONS:
                    try:
                        self.idle.append(await self.connect_one())
                    except OSError as error:
                        self.note(f"cannot connect: {error.strerror or error}")
                        await asyncio.sleep(RETRY_S)
                        continue
                self.send_waiting()
                # The one that rests the longest: too long, and the server gives its sequence up.
                if (
                    self.idle
                    and self.sequences is not None
                    and self.sequences.lingers(self.idle[0])
                ):
                    self.finish(self.idle.pop(0))
                if due_s < time.monotonic():
                    await asyncio.sleep(0)  # behind: answers are to be read all the same
        finally:
            alarm.close()

    def send_waiting(self) -> None:
        """Send what is due over the connections that are free."""
        while self.waiting and self.idle:
            connection = self.idle.pop()
            if connection in self.connections:
                self.send(connection, self.waiting.popleft())

    def send(self, connection: Connection, due_s: float | None = None) -> None:
        """Send the next request, or the next of the connection's sequence."""
        if self.sequences is not None:
            connection.send(self.sequences.next(connection), due_s)
            return
        connection.send(next(self.round), due_s)

    def go_on(self, connection: Connection) -> None:
        """A connection is free again."""
        if connection not in self.connections:
            return
        if not self.running:
            self.finish(connection)
        elif self.paced:
            if self.sequences is not None:
                self.sequences.rest(connection)
            self.idle.append(connection)
            self.send_waiting()
        else:
            self.send(connection)

    def finish(self, connection: Connection) -> None:
        """End the connection's sequence, so that the server does not wait for more of it."""
        last = self.sequences.last(connection) if self.sequences is not None else None
        if last is not None:
            connection.send(last)

    def note(self, text: str) -> None:
        """Count a failure and keep its text."""
        self.failures += 1
        if text not in self.texts and len(self.texts) < 3:
            self.texts.append(text)

    def succeeded(self, connection: Connection) -> None:
        """Record a completion and send the next request."""
        self.done.append(connection.sent_s)
        self.done.append(time.monotonic())
        self.go_on(connection)

    def answered(self, connection: Connection, first_s: float, responses: int) -> None:
        """Record a completion of a decoupled model and send the next request."""
        self.answers.append(first_s - connection.sent_s)
        self.answers.append(responses)
        self.succeeded(connection)

    def failed(self, connection: Connection, text: str) -> None:
        """Record a failure and retry shortly after."""
        self.note(text)
        self.forget(connection)
        asyncio.get_running_loop().call_later(RETRY_S, self.retry, connection)

    def retry(self, connection: Connection) -> None:
        """Send again on a connection that had a failure."""
        if connection in self.connections and not connection.in_flight:
            self.go_on(connection)

    def ended(self, connection: Connection, pause_s: float = 0.0) -> None:
        """A connection takes no more requests: after a pause another takes its place."""
        if connection in self.connections:
            del self.connections[connection]
            self.forget(connection)
            connection.close()
            if self.running:
                task = asyncio.get_running_loop().create_task(self.reopen(pause_s))
                self.reopening.add(task)
                task.add_done_callback(self.reopening.discard)

    def lost(self, connection: Connection, error: Exception | None) -> None:
        """A connection closed: what was in flight on it failed."""
        if connection in self.connections:
            if connection.in_flight:
                self.note(f"connection lost: {error or 'closed by the server'}")
            self.ended(connection, RETRY_S if connection.in_flight else 0.0)

    async def reopen(self, pause_s: float) -> None:
        """Open a connection in place of one that ended, and use it."""
        await asyncio.sleep(pause_s)
        try:
            self.go_on(await self.connect_one())
        except OSError as error:
            self.note(f"cannot connect: {error.strerror or error}")

    def close(self) -> None:
        """Close every connection."""
        connections, self.connections = self.connections, {}
        for connection in connections:
            self.forget(connection)
            connection.close()

    def forget(self, connection: Connection) -> None:
        """Drop the connection's sequence."""
        if self.sequences is not None:
            self.sequences.forget(connection)

    def stop(self) -> None:
        """Send no more, except the ends of sequences; requests in flight may complete."""
        self.running = self.flowing = False
        for connection in self.connections:
            if not connection.in_flight:
                self.finish(connection)
        for task in self.reopening:
            task.cancel()

    def report(self) -> dict[str, object]:
        """What completed since the last report."""
        done, answers, gaps = self.done.tobytes(), self.answers.tobytes(), self.gaps.tobytes()
        del self.done[:], self.answers[:], self.gaps[:]
        return {
            "done": done,
            "answers": answers,
            "gaps": gaps,
            "failures": self.failures,
            "texts": list(self.texts),
            "cpu_s": time.process_time(),
            "waits": waits(),
            "connections": len(self.connections) + len(self.reopening),
        }


def arrivals(rate: float, kind: str, seed: int) -> Iterator[float]:
    """Seconds between requests: all equal, or exponentially distributed (Poisson arrivals)."""
    generator = random.Random(seed)
    while True:
        yield generator.expovariate(rate) if kind == "poisson" else 1.0 / rate


def waits() -> tuple[float, int]:
    """Seconds that this thread waited for a CPU so far, and how often it was scheduled."""
    try:
        words = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
        return int(words[1]) / 1e9, int(words[2])
    except (OSError, IndexError, ValueError):  # a kernel without these counters
        return 0.0, 0
