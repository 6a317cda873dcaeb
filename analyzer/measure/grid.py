"""The points of a grid: every variant of a model under every load."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from profiles.instance_groups import varied_groups
from profiles.measurement import LoadPoint
from profiles.model_config import ModelConfig
from profiles.variant import (
    DynamicBatching,
    HostPolicy,
    InstanceKind,
    RateLimiter,
    Variant,
    WarmUp,
)


@dataclass(frozen=True)
class Sweep:
    """What is varied; an empty tuple keeps the model's own configuration."""

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
    rate_limiters: tuple[RateLimiter, ...] = ()
    warm_ups: tuple[int, ...] = ()  # requests before the model is ready, see WarmUp
    host_policies: tuple[HostPolicy, ...] = ()
    members: tuple[tuple[str, Sweep], ...] = ()  # of a composed model; their loads do not count
    sequence_length: int = 20  # of stateful models: requests in a sequence, about


@dataclass(frozen=True)
class Point:
    """One measurement to make."""

    variant: Variant
    load: LoadPoint
    digest: str  # of the model's files


# Settings that do not apply to a kind of model, and their neutral values.
_NOT_OF_ENSEMBLES: dict[str, Any] = {
    "instance_counts": (),
    "kind": None,
    "max_queue_delays_us": (),
    "preferred_batch_sizes": (),
    "parameters": (),
    "rate_limiters": (),
    "warm_ups": (),
    "host_policies": (),
}
_NOT_OF_STATEFUL: dict[str, Any] = {
    "max_queue_delays_us": (),
    "preferred_batch_sizes": (),
    "warm_ups": (),
}


def fitting(
    model: str, sweep: Sweep, config: ModelConfig | None, *, stateful: bool = False
) -> tuple[Sweep, list[str]]:
    """The sweep without settings that do not apply to this kind of model, and notes on these.

    `stateful` is true of a model with sequence batching, and of an ensemble that calls one.
    """
    notes = []
    if config is not None and config.HasField("ensemble_scheduling"):
        left = _varied(sweep, _NOT_OF_ENSEMBLES)
        sweep = replace(sweep, **_NOT_OF_ENSEMBLES)
        if left:
            notes.append(
                f"{model} is an ensemble: {left} apply to its models only; vary them with "
                "`members:` under `models:` in the configuration file."
            )
    if config is not None and sweep.instance_counts and len(config.instance_group) > 1:
        varied = varied_groups(config)
        numbers = [n + 1 for n, group in enumerate(config.instance_group) if group in varied]
        notes.append(
            f"{model} has {len(config.instance_group)} instance groups: an instance count is that "
            f"of each of the groups {', '.join(map(str, numbers))}; the others stay."
        )
    if stateful:
        left = _varied(sweep, _NOT_OF_STATEFUL)
        sweep = replace(sweep, **_NOT_OF_STATEFUL)
        if left:
            notes.append(f"{model} is stateful: {left} do not apply to it.")
        if sweep.batch_sizes != (1,):
            sweep = replace(sweep, batch_sizes=(1,))
            notes.append(f"{model} is stateful: it is measured with batch size 1.")
    return sweep, notes


def _varied(sweep: Sweep, without: Mapping[str, Any]) -> str:
    return ", ".join(n.replace("_", " ") for n, v in without.items() if getattr(sweep, n) != v)


def variants(
    model: str,
    sweep: Sweep,
    members: Sequence[str] = (),
    dims: Callable[[str], Mapping[str, tuple[int, ...]]] = lambda _: {},
) -> list[Variant]:
    """Every combination of what the sweep varies in the model's configuration.

    Parameters
    ----------
    members
        The models that it is composed of, in the order of loading; each comes in every variant
        that its own sweep in `sweep.members` asks for.
    dims
        Of inputs that a model leaves open, by its name, for the warm-up.
    """
    own = dict(sweep.members)
    composed = [variants(member, own.get(member, Sweep()), (), dims) for member in members]
    keys = [key for key, _ in sweep.parameters]
    batching: list[DynamicBatching | None] = [
        DynamicBatching(sweep.preferred_batch_sizes, delay) for delay in sweep.max_queue_delays_us
    ]
    if sweep.preferred_batch_sizes and not batching:
        batching = [DynamicBatching(sweep.preferred_batch_sizes)]
    given = tuple(sorted(dims(model).items()))
    return [
        Variant(
            model=model,
            max_batch_size=max_batch_size,
            instance_count=instance_count,
            kind=sweep.kind,
            dynamic_batching=dynamic_batching,
            parameters=tuple(sorted(zip(keys, values, strict=True))),
            rate_limiter=rate_limiter,
            warm_up=None if warm_up is None else WarmUp(warm_up, given if warm_up else ()),
            host_policy=host_policy,
            members=chosen,
        )
        for max_batch_size in sweep.max_batch_sizes or (None,)
        for dynamic_batching in batching or [None]
        for warm_up in sweep.warm_ups or (None,)
        for host_policy in sweep.host_policies or (None,)
        for rate_limiter in sweep.rate_limiters or (None,)
        for chosen in itertools.product(*composed)
        for instance_count in sweep.instance_counts or (None,)
        for values in itertools.product(*(values for _, values in sweep.parameters))
    ]


def loads(sweep: Sweep, *, stateful: bool = False) -> Iterator[LoadPoint]:
    """Every load, small ones first: what fails at a small load is not tried at a larger one."""
    length = sweep.sequence_length if stateful else None
    for batch_size in sorted(sweep.batch_sizes):
        for request_rate in sorted(sweep.request_rates):
            yield LoadPoint(batch_size, None, request_rate, sweep.arrivals, length)
        if not sweep.request_rates:
            for concurrency in sorted(sweep.concurrency):
                yield LoadPoint(batch_size, concurrency, sequence_length=length)
