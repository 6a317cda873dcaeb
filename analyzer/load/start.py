"""Starts a load generator by its name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from analyzer.load import perf_analyzer, worker_pool
from analyzer.load.generator import Generator, Via


def start_generator(via: Via, cpus: Sequence[int] = ()) -> AbstractContextManager[Generator]:
    """A load generator, on `cpus` if any; raises InputError when its program is not there."""
    return perf_analyzer.start(cpus) if via == "perf_analyzer" else worker_pool.start(via, cpus)
