"""The load generator over gRPC, for what HTTP cannot show: it takes several times the CPU time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from analyzer.load import pump


def start(cpus: Sequence[int] = ()) -> AbstractContextManager[pump.PumpGenerator]:
    """A generator over gRPC, on `cpus` alone where these are given; see `pump.start`."""
    return pump.start("grpc", cpus)
