"""One keep-alive HTTP connection of a worker: requests as ready bytes, answers not decoded."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import httptools

RETRY_S = 0.02  # after a failure, so that a refusing server is not flooded

if TYPE_CHECKING:
    from analyzer.load.worker import Pump, Request


class HttpConnection(asyncio.Protocol):
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
            self.pump.note(f"not an HTTP answer: {error}")
            self.pump.ended(self, RETRY_S)  # what follows on it would mean nothing

    def on_body(self, body: bytes) -> None:
        # Only a refusal's text is of interest; a success is not decoded.
        if self.parser.get_status_code() != 200:
            self.body += body

    def on_message_complete(self) -> None:
        self.in_flight = False
        status = self.parser.get_status_code()
        if not self.parser.should_keep_alive():  # proxies end a connection after some requests
            self.pump.ended(self)
        if status == 200:
            self.pump.succeeded(self)
        else:
            words = self.body.decode(errors="replace").strip()
            self.pump.failed(self, f"HTTP {status}: {words}")
            self.body = b""

    def send(self, request: Request, due_s: float | None = None) -> None:
        """Send a request; its latency counts from when it was due, by default now."""
        assert self.transport is not None
        self.in_flight = True
        self.sent_s = time.monotonic() if due_s is None else due_s
        self.transport.write(request.body)

    def close(self) -> None:
        """Close it at once: an open one holds up Triton's shutdown for half a minute."""
        if self.transport is not None:
            self.transport.abort()


async def connect(address: str, pump: Pump) -> HttpConnection:
    """Open a connection; raises OSError."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: HttpConnection(pump), host.strip("[]"), int(port)
    )
    return connection
