"""The process that pumps requests: keep-alive HTTP on an event loop, one request in flight each.

Run as `python -m analyzer.load.http_worker`; commands come as pickles on stdin, completions go as
pickles to stdout. It is a process of its own so that the profiler's sampling does not disturb it,
and it ends when its stdin does, whatever became of its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import random
import struct
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import cast

import httptools
import uvloop

REPORT_S = 0.05  # completions are handed over so often
LENGTH = struct.Struct("<I")
MOST_CONNECTIONS = 256  # at a request rate; beyond them requests wait here, and their time counts


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.sent_s = 0.0
        self.in_flight = False
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own, which is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        self.pump.lost(self, error)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.pump.failed(self, f"not an HTTP answer: {error}")

    def on_body(self, body: bytes) -> None:
        # Only a refusal's text is of interest; a success is not decoded.
        if self.parser.get_status_code() != 200:
            self.body += body

    def on_message_complete(self) -> None:
        self.in_flight = False
        status = self.parser.get_status_code()
        if status == 200:
            self.pump.succeeded(self)
        else:
            words = self.body.decode(errors="replace").strip()
            self.pump.failed(self, f"HTTP {status}: {words}")
            self.body = b""

    def send(self, request: bytes, due_s: float | None = None) -> None:
        """Send a request; its latency counts from when it was due, by default now."""
        assert self.transport is not None
        self.in_flight = True
        self.sent_s = time.monotonic() if due_s is None else due_s
        self.transport.write(request)


class Pump:
    """Keeps requests in flight over its connections and records what completes."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self.requests = requests
        self.next = 0
        self.connections: list[Connection] = []
        self.running = False
        self.done = array("d")  # send and completion times, by turns
        self.failures = 0
        self.texts: list[str] = []
        self.paced = False  # requests are sent when they are due, not when one completes
        self.waiting: deque[float] = deque()  # due, and no connection is free
        self.idle: list[Connection] = []

    async def connect(self, host: str, port: int, count: int) -> None:
        """Have this many open connections."""
        loop = asyncio.get_running_loop()
        while len(self.connections) < count:
            _, connection = await loop.create_connection(lambda: Connection(self), host, port)
            self.connections.append(connection)

    def start(self, concurrency: int) -> None:
        """Put requests in flight, and each time one completes, the next."""
        self.running, self.paced = True, False
        for connection in self.connections[:concurrency]:
            self.send(connection)

    async def pace(self, host: str, port: int, gaps: Iterator[float]) -> None:
        """Send requests as they fall due, however many are still unanswered.

        The time that a request waits for a free connection is part of its latency: it stands for
        a caller who would not have waited (no coordinated omission).
        """
        self.running, self.paced = True, True
        self.waiting.clear()
        self.idle = list(self.connections)
        due_s = time.monotonic()
        while self.running:
            delay_s = due_s - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
                continue
            self.waiting.append(due_s)
            due_s += next(gaps)
            if not self.idle and len(self.connections) < MOST_CONNECTIONS:
                try:
                    await self.connect(host, port, len(self.connections) + 1)
                except OSError as error:
                    self.note(f"no connection: {error.strerror or error}")
                    continue
                self.idle.append(self.connections[-1])
            self.send_waiting()

    def send_waiting(self) -> None:
        """Send what is due over the connections that are free."""
        while self.waiting and self.idle:
            connection = self.idle.pop()
            if connection in self.connections:
                self.send(connection, self.waiting.popleft())

    def send(self, connection: Connection, due_s: float | None = None) -> None:
        """Send the next request of the round."""
        request = self.requests[self.next]
        self.next = (self.next + 1) % len(self.requests)
        connection.send(request, due_s)

    def go_on(self, connection: Connection) -> None:
        """A connection is free again."""
        if self.paced:
            self.idle.append(connection)
            if self.running:
                self.send_waiting()
        elif self.running:
            self.send(connection)

    def note(self, text: str) -> None:
        """Count a failure, keep its text."""
        self.failures += 1
        if text not in self.texts and len(self.texts) < 3:
            self.texts.append(text)

    def succeeded(self, connection: Connection) -> None:
        """Record a completion, go on."""
        self.done.append(connection.sent_s)
        self.done.append(time.monotonic())
        self.go_on(connection)

    def failed(self, connection: Connection, text: str) -> None:
        """Record a failure; go on after a moment, so that a refusing server is not flooded."""
        self.note(text)
        asyncio.get_running_loop().call_later(0.02, self.retry, connection)

    def retry(self, connection: Connection) -> None:
        """Send again on a connection that had a failure."""
        if connection in self.connections and not connection.in_flight:
            self.go_on(connection)

    def lost(self, connection: Connection, error: Exception | None) -> None:
        """A connection closed: what was in flight on it failed."""
        if connection in self.connections:
            self.connections.remove(connection)
            if connection.in_flight:
                self.note(f"the connection was lost: {error or 'closed by the server'}")

    def close(self) -> None:
        """Close every connection: an open one holds up Triton's shutdown for half a minute."""
        connections, self.connections = self.connections, []
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()

    def report(self) -> dict[str, object]:
        """What completed since the last report."""
        done, self.done = self.done, array("d")
        cpu = time.process_time()
        return {
            "done": done.tobytes(),
            "failures": self.failures,
            "texts": list(self.texts),
            "cpu_s": cpu,
            "connections": len(self.connections),
        }


def read_message(stream: int) -> object:
    """The next pickle from a pipe; EOFError at its end."""
    head = _read(stream, LENGTH.size)
    return pickle.loads(_read(stream, LENGTH.unpack(head)[0]))  # noqa: S301 - our own pipe


def write_message(stream: int, message: object) -> None:
    """Send a pickle through a pipe."""
    body = pickle.dumps(message)
    view = memoryview(LENGTH.pack(len(body)) + body)
    while view:
        view = view[os.write(stream, view) :]


def _read(stream: int, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = os.read(stream, size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def arrivals(rate: float, kind: str, seed: int) -> Iterator[float]:
    """Seconds between requests: all equal, or exponentially distributed (Poisson arrivals)."""
    generator = random.Random(seed)
    while True:
        yield generator.expovariate(rate) if kind == "poisson" else 1.0 / rate


async def serve() -> None:
    """Obey commands until stdin ends."""
    pump = Pump([])
    address = ("", 0)
    pacing: asyncio.Task[None] | None = None
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    def listen() -> None:
        kind = ""
        while kind != "quit":
            try:
                message = read_message(stdin)
            except EOFError:
                message = ("quit", None)
            assert isinstance(message, tuple)
            kind = message[0]
            loop.call_soon_threadsafe(commands.put_nowait, message)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            kind, value = await asyncio.wait_for(commands.get(), REPORT_S if pump.running else None)
        except TimeoutError:
            write_message(stdout, pump.report())
            continue
        if kind == "quit":
            pump.close()
            return
        if kind == "requests":
            assert isinstance(value, tuple)
            address, pump.requests = value[:2], value[2]
            pump.close()
        elif kind == "start":
            pump.failures, pump.texts, pump.next = 0, [], 0
            assert isinstance(value, tuple)
            concurrency, gaps = value
            try:
                await pump.connect(*address, count=concurrency or 1)
            except OSError as error:
                write_message(stdout, {"error": f"{error.strerror or error}"})
                continue
            if concurrency is not None:
                pump.start(concurrency)
            else:
                pump.running = True
                pacing = asyncio.create_task(pump.pace(*address, arrivals(*gaps)))
            write_message(stdout, {"started": time.monotonic()})
        elif kind == "stop":
            pump.running = False
            if pacing is not None:
                pacing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pacing
                pacing = None
            assert isinstance(value, float)
            deadline = time.monotonic() + value
            while any(c.in_flight for c in pump.connections) and time.monotonic() < deadline:
                await asyncio.sleep(0.002)
            hung = sum(c.in_flight for c in pump.connections)
            write_message(stdout, {**pump.report(), "hung": hung})
            if hung:
                pump.close()


if __name__ == "__main__":
    uvloop.run(serve())
