"""A worker's gRPC connection: serialized requests over one channel, responses not decoded.

Those of a decoupled model are, since only they tell their end; see `grpc_stream.py`.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import TYPE_CHECKING, Any

import grpc

from analyzer.load.worker.pump import Pump
from analyzer.load.worker.request import Request

if TYPE_CHECKING:
    from analyzer.load.worker.grpc_stream import Stream

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
CONNECT_TIMEOUT_S = 5.0
CLOSE_S = 2.0  # what is still open on a channel may take so long to end


class GrpcConnection:
    """Sends one request at a time; all connections share one HTTP/2 channel."""

    def __init__(self, channel: grpc.aio.Channel, pump: Pump) -> None:
        self.channel = channel
        self.pump = pump
        self.methods: dict[str, Any] = {}
        self.stream = _stream(channel, pump.gaps) if pump.streams else None
        self.sent_s = 0.0
        self.in_flight = False
        self.exchange: asyncio.Task[None] | None = None

    def send(self, request: Request, due_s: float | None = None) -> None:
        self.in_flight = True
        self.sent_s = time.monotonic() if due_s is None else due_s
        self.exchange = asyncio.get_running_loop().create_task(
            self._exchange(request) if self.stream is None else self._ask(self.stream, request)
        )

    async def _ask(self, stream: Stream, request: Request) -> None:
        from analyzer.load.worker.grpc_stream import StreamError

        try:
            answer = await stream.ask(request)
        except StreamError as error:
            self.in_flight = False
            self.pump.failed(self, str(error))
        else:
            self.in_flight = False
            self.pump.answered(self, answer.first_s, answer.responses)

    async def _exchange(self, request: Request) -> None:
        method = self.methods.get(request.path)
        if method is None:  # without serializers: bytes go, bytes come
            method = self.methods[request.path] = self.channel.unary_unary(request.path)
        try:
            await method(request.body)
        except grpc.aio.AioRpcError as error:
            self.in_flight = False
            self.pump.failed(self, f"gRPC {error.code().name}: {error.details()}")
        else:
            self.in_flight = False
            self.pump.succeeded(self)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        if self.exchange is not None and self.in_flight:
            self.exchange.cancel()
        if self.stream is not None and self.in_flight:
            self.stream.close()
        elif self.stream is not None:
            self.exchange = loop.create_task(self.stream.end())
        if _channels.pop(self.pump.address, None) is not None:
            self.pump.closing = loop.create_task(self.channel.close(CLOSE_S))


def _stream(channel: grpc.aio.Channel, gaps: array[float]) -> Stream:
    from analyzer.load.worker.grpc_stream import (
        Stream,
    )  # brings tritonclient.grpc, which takes a second

    return Stream(channel, gaps)


_channels: dict[str, grpc.aio.Channel] = {}


async def connect(address: str, pump: Pump) -> GrpcConnection:
    """A connection over the address's channel; raises OSError when it cannot be reached."""
    channel = _channels.get(address)
    if channel is None:
        channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        try:
            await asyncio.wait_for(channel.channel_ready(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            await channel.close(None)
            raise OSError(f"no gRPC server responds at {address}") from None
        _channels[address] = channel
    return GrpcConnection(channel, pump)
