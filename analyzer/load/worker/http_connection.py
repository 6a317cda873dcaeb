"""A worker's keep-alive HTTP connection: serialized requests, responses not decoded.

It reads and writes its socket itself (see `sockets.py`). Responses of one model are alike: one
with the same head and length as the last is complete and successful. Any other is parsed by
httptools.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time

import httptools

from analyzer.load.worker.pump import Pump
from analyzer.load.worker.request import Request
from analyzer.load.worker.sockets import Ready, Sockets

RETRY_S = 0.02  # after a failure, so that a refusing server is not flooded
CONNECT_TIMEOUT_S = 10.0
BUFFER = bytearray(1 << 16)  # of what was read last, on whichever connection
HEAD_END = b"\r\n\r\n"


class HttpConnection:
    """One connection with at most one request in flight."""

    def __init__(self, own: socket.socket, sockets: Sockets, pump: Pump) -> None:
        own.setblocking(False)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pump = pump
        self.socket = own
        self.sockets = sockets
        self.parser = httptools.HttpResponseParser(self)
        self.sent_s = 0.0
        self.in_flight = False
        self.unsent = memoryview(b"")
        self.between = True  # of answers: the next byte begins one
        self.head = HEAD_END  # of the last successful response; none begins like this
        self.size = 0  # of that answer
        self.body = b""
        sockets.add(own, self.reader())

    def send(self, request: Request, due_s: float | None = None) -> None:
        self.in_flight = True
        self.sent_s = time.monotonic() if due_s is None else due_s
        self.write(request.body)

    def write(self, body: bytes) -> None:
        """Write as much as the socket takes; the rest when it takes more."""
        try:
            sent = self.socket.send(body)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.pump.lost(self, error)
            return
        if sent < len(body):
            self.unsent = memoryview(body)[sent:]
            self.sockets.add_writer(self.socket, self.send_rest)

    def send_rest(self) -> None:
        """Send what the socket did not take at once."""
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self.pump.lost(self, error)
            return
        if not self.unsent:
            self.sockets.remove_writer(self.socket)

    def reader(self) -> Ready:
        """A callback that reads a response and sends the next request.

        It runs for each answer: a closure with everything at hand costs less than methods do.
        """
        pump, write, receive = self.pump, self.write, self.socket.recv_into
        alike, record, now = BUFFER.startswith, self.pump.done.append, time.monotonic

        def read() -> None:
            try:
                size = receive(BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                pump.lost(self, error)
                return
            if size != self.size or not alike(self.head) or not self.between:
                self.take(size)
                return
            record(self.sent_s)
            self.sent_s = now()
            record(self.sent_s)
            if pump.flowing:
                write(next(pump.round).body)
            else:
                self.in_flight = False
                pump.go_on(self)

        return read

    def take(self, size: int) -> None:
        """Handle bytes that are not a complete response like the last; none means end of file."""
        if size:
            self.parse(bytes(BUFFER[:size]))
        else:
            self.pump.lost(self, None)

    def parse(self, data: bytes) -> None:
        """Parse a response that is not like the last, or a part of one."""
        began, self.between = self.between, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.pump.note(f"not an HTTP response: {error}")
            self.pump.ended(self, RETRY_S)  # what follows on it would mean nothing
            return
        if began and self.between:
            self.remember(data)

    def remember(self, data: bytes) -> None:
        """Remember this response, which came in one piece, to recognize the next."""
        head = data[: data.find(HEAD_END) + len(HEAD_END)]
        lower = head.lower()
        if (
            self.parser.get_status_code() == 200
            and b"\r\ncontent-length:" in lower
            and b"\r\nconnection: close" not in lower
        ):
            self.head, self.size = head, len(data)

    def on_body(self, body: bytes) -> None:
        # Only a refusal's text is of interest; a success is not decoded.
        if self.parser.get_status_code() != 200:
            self.body += body

    def on_message_complete(self) -> None:
        self.in_flight = False
        self.between = True
        status = self.parser.get_status_code()
        if not self.parser.should_keep_alive():  # proxies end a connection after some requests
            self.pump.ended(self)
        if status == 200:
            self.pump.succeeded(self)
        else:
            self.pump.failed(self, f"HTTP {status}: {refusal(self.body)}")
            self.body = b""

    def close(self) -> None:
        self.sockets.remove(self.socket)
        self.socket.close()  # an open one holds up Triton's shutdown for half a minute


def refusal(body: bytes) -> str:
    """What a server says where it refuses: the text of Triton's JSON, or the body as it is."""
    text = body.decode(errors="replace").strip()
    try:
        said = json.loads(text)["error"]
    except (ValueError, TypeError, KeyError):
        return text
    return str(said).strip()


async def connect(address: str, pump: Pump) -> HttpConnection:
    """Open a connection; raises OSError."""
    host, _, port = address.rpartition(":")
    place = (host.strip("[]"), int(port))
    loop = asyncio.get_running_loop()
    own = await loop.run_in_executor(None, socket.create_connection, place, CONNECT_TIMEOUT_S)
    if pump.sockets is None:
        pump.sockets = Sockets(lambda: pump.running and not pump.paced and not pump.reopening)
    return HttpConnection(own, pump.sockets, pump)
