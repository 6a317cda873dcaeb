"""gRPC streams for decoupled models: any number of responses to a request."""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from analyzer.load.worker.request import Request

END_S = 1.0  # a stream may take so long to end


class StreamError(Exception):
    """The server answered with an error, or ended the stream."""


@dataclass(frozen=True)
class Answer:
    """All responses to one request."""

    first_s: float  # when the first came, by time.monotonic; the end, if there was none
    responses: int  # those that carry outputs


class Stream:
    """A connection's stream, with at most one request under way.

    `gaps` gets, for each response after a request's first, when it came and the seconds since the
    one before.
    """

    def __init__(self, channel: grpc.aio.Channel, gaps: array[float]) -> None:
        self._channel = channel
        self._gaps = gaps
        self._call: Any = None

    async def ask(self, request: Request) -> Answer:
        """All responses to the request; raises StreamError."""
        try:
            if self._call is None:  # without serializers: bytes go, bytes come
                self._call = self._channel.stream_stream(request.path)()
            await self._call.write(request.body)
            return await self._receive()
        except StreamError:
            await self.end()  # what else belongs to the request must not be taken for the next's
            raise
        except grpc.aio.AioRpcError as error:
            self.close()
            raise StreamError(f"gRPC {error.code().name}: {error.details()}") from None

    async def _receive(self) -> Answer:
        first_s, last_s, responses = 0.0, 0.0, 0
        while True:
            message = await self._call.read()
            if message is grpc.aio.EOF:
                raise StreamError("the server ended the stream")
            answer = service_pb2.ModelStreamInferResponse.FromString(message)
            if answer.error_message:
                raise StreamError(answer.error_message)
            now_s = time.monotonic()
            response = answer.infer_response
            if response.outputs:
                if responses:
                    self._gaps.extend((now_s, now_s - last_s))
                responses += 1
                first_s, last_s = first_s or now_s, now_s
            if response.parameters["triton_final_response"].bool_param:
                return Answer(first_s or now_s, responses)

    async def end(self) -> None:
        """End it cleanly: Triton sometimes keeps a model loaded whose stream was cancelled."""
        call, self._call = self._call, None
        if call is None:
            return
        try:
            async with asyncio.timeout(END_S):
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
        except (TimeoutError, grpc.aio.AioRpcError):
            call.cancel()

    def close(self) -> None:
        """Give up what is under way."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
