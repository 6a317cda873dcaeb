"""The points of a grid: every variant of a model under every load."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from profiles.measurement import LoadPoint
from profiles.variant import DynamicBatching, InstanceKind, Variant


@dataclass(frozen=True)
class Sweep:
    """What is varied; an empty tuple leaves what the model's own configuration says."""

    batch_sizes: tuple[int, ...] = (1, 2, 4)  # of the client's requests
    concurrency: tuple[int, ...] = (1, 2, 4)
    request_rates: tuple[float, ...] = ()  # requests per second; replaces concurrency
    arrivals: Literal["constant", "poisson"] = "constant"
    instance_counts: tuple[int, ...] = ()
    max_batch_sizes: tuple[int, ...] = ()
    max_queue_delays_us: tuple[int, ...] = ()  # each turns dynamic batching on
    preferred_batch_sizes: tuple[int, ...] = ()
    kind: InstanceKind | None = None
    parameters: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())  # key, values


@dataclass(frozen=True)
class Point:
    """One measurement to make."""

    variant: Variant
    load: LoadPoint
    digest: str  # of the model's files


def variants(model: str, sweep: Sweep) -> list[Variant]:
    """Every combination of what the sweep varies in the model's configuration."""
    keys = [key for key, _ in sweep.parameters]
    batching: list[DynamicBatching | None] = [
        DynamicBatching(sweep.preferred_batch_sizes, delay) for delay in sweep.max_queue_delays_us
    ]
    if sweep.preferred_batch_sizes and not batching:
        batching = [DynamicBatching(sweep.preferred_batch_sizes)]
    return [
        Variant(
            model=model,
            max_batch_size=max_batch_size,
            instance_count=instance_count,
            kind=sweep.kind,
            dynamic_batching=dynamic_batching,
            parameters=tuple(sorted(zip(keys, values, strict=True))),
        )
        for max_batch_size in sweep.max_batch_sizes or (None,)
        for dynamic_batching in batching or [None]
        for instance_count in sweep.instance_counts or (None,)
        for values in itertools.product(*(values for _, values in sweep.parameters))
    ]


def loads(sweep: Sweep) -> Iterator[LoadPoint]:
    """Every load, small ones first: what fails at a small load is not tried at a larger one."""
    for batch_size in sorted(sweep.batch_sizes):
        for request_rate in sorted(sweep.request_rates):
            yield LoadPoint(batch_size, None, request_rate, sweep.arrivals)
        if not sweep.request_rates:
            for concurrency in sorted(sweep.concurrency):
                yield LoadPoint(batch_size, concurrency)
