"""The default load generator: prepared requests over keep-alive HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from analyzer.load import pump


def start(cpus: Sequence[int] = ()) -> AbstractContextManager[pump.PumpGenerator]:
    """A generator over HTTP, on `cpus` alone where these are given; see `pump.start`."""
    return pump.start("http", cpus)
