"""The default load generator: prepared requests over keep-alive HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from analyzer.load import worker_pool


def start(cpus: Sequence[int] = ()) -> AbstractContextManager[worker_pool.PumpGenerator]:
    """A generator over HTTP, on `cpus` alone where these are given; see `worker_pool.start`."""
    return worker_pool.start("http", cpus)
