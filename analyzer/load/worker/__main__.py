"""The process that sends requests over its connections on an event loop.

Run as `python -m analyzer.load.worker http 0` (or grpc; and its number); commands come as pickles
on stdin, completions go as pickles to stdout. It is a process of its own so that the profiler's
sampling does not disturb it, and it ends when its stdin does, whatever became of its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
from typing import Any

import uvloop

from analyzer.load.child import parent
from analyzer.load.worker.pump import Connect, Pump, arrivals
from analyzer.load.worker.request import Request

REPORT_S = 0.1  # completions are handed over so often
DRAIN_REPORT_S = 0.5  # those of what was in flight at the end


async def serve(connect: Connect, number: int) -> None:
    """Execute commands until stdin closes, as the `number`-th worker of a generator."""
    pump = Pump(connect, number)
    pacing: asyncio.Task[None] | None = None
    inbox, outbox = parent()
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def listen() -> None:
        kind = ""
        while kind != "quit":
            try:
                message = inbox.recv()
            except (EOFError, OSError):
                message = ("quit", None)
            kind = message[0]
            loop.call_soon_threadsafe(commands.put_nowait, message)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            kind, value = await asyncio.wait_for(commands.get(), REPORT_S if pump.running else None)
        except TimeoutError:
            outbox.send(pump.report())
            continue
        if kind == "quit":
            pump.close()
            if pump.closing is not None:
                await pump.closing
            return
        if kind == "requests":
            pump.aim(value[0], [Request(*request) for request in value[1]])
        elif kind == "start":
            pump.failures, pump.texts = 0, []
            concurrency, gaps = value
            try:
                await pump.connect(concurrency or 1)
            except OSError as error:
                outbox.send({"error": f"{error.strerror or error}"})
                continue
            if concurrency is not None:
                pump.start(concurrency)
            else:
                pump.running = True
                pacing = asyncio.create_task(pump.pace(arrivals(*gaps)))
            outbox.send({**pump.report(), "started": time.monotonic()})
        elif kind == "stop":
            pump.stop()
            if pacing is not None:
                pacing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pacing
                pacing = None
            deadline = time.monotonic() + value
            reported = time.monotonic()
            while any(c.in_flight for c in pump.connections) and time.monotonic() < deadline:
                await asyncio.sleep(0.002)
                if time.monotonic() - reported > DRAIN_REPORT_S:
                    reported = time.monotonic()
                    outbox.send(pump.report())
            hung = sum(c.in_flight for c in pump.connections)
            outbox.send({**pump.report(), "hung": hung})
            if hung or pump.streams:  # an open stream keeps its model from being unloaded
                pump.close()


def main() -> None:
    """Serve with the connections of the protocol that the first argument names."""
    number = int(sys.argv[2])
    if sys.argv[1] == "grpc":
        from analyzer.load.worker import grpc_connection as protocol
    else:
        from analyzer.load.worker import http_connection as protocol  # type: ignore[no-redef]
    gc.freeze()  # what is imported stays: collections need not look at it
    with contextlib.suppress(BrokenPipeError):  # the parent is gone: so is our task
        uvloop.run(serve(protocol.connect, number))


if __name__ == "__main__":
    main()
