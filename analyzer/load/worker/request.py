"""What a worker sends."""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.load.sequences import SequenceStep


@dataclass(frozen=True, slots=True)
class Request:
    """What a connection sends."""

    path: str  # of the gRPC method; HTTP has it in the body
    body: bytes
    sequence: SequenceStep | None = None
    streams: bool = False  # it may get any number of responses
