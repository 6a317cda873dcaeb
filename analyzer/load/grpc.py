"""The load generator over gRPC, for what HTTP cannot show: it takes several times the CPU time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from analyzer.load import worker_pool


def start(cpus: Sequence[int] = ()) -> AbstractContextManager[worker_pool.PumpGenerator]:
    """A generator over gRPC, on `cpus` alone where these are given; see `worker_pool.start`."""
    return worker_pool.start("grpc", cpus)
