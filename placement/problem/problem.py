"""The placement problem in plain numbers.

Sets: models m with options k (a variant at a load, on one device type), pools p of identical
devices, resources r. Capacities are what a rule leaves of them (`--max-memory 90%`).

Without a rate each of a model's replicas runs at its option's measured load (`min-hardware`);
`max-throughput` chooses the shares itself. A replica (m, k) on a device needs, of a hard resource,
the option's need in full; of a resource that scales, what stands at any share (nothing, as a rule)
and the rest of the need times the share of the option's throughput that the replica carries. A
device in use pays its type's baseline once. A device holds at most one option of a model.
Neighbours slow a replica where that was measured (`sensitivity`): it carries no more than they
leave, and its latency grows; see `placement/problem/colocation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from profiles.measurement import LoadPoint
from profiles.variant import Variant


@dataclass(frozen=True)
class Resource:
    """Something that a device has a limited amount of."""

    name: str  # memory, utilization, memory_utilization, power, cpu, host_memory
    scales: bool = True  # needed in proportion to the carried rate; a hard resource is needed whole
    unit: str = "%"


@dataclass(frozen=True)
class Option:
    """One way to run a model on one device type."""

    name: str  # unique within the model and device type
    device_type: str
    needs: Mapping[str, float]  # by resource, at full throughput
    throughput: float = 1.0  # inferences per second at which `needs` were measured
    latency_ms: float | None = None  # at the percentile that the demand names
    variant: Variant | None = None
    load: LoadPoint | None = None
    busy: float = 0.0  # part of the device's time that it takes at full throughput, 0 to 1
    sensitivity: float = 0.0  # part of its speed that neighbours take who use all of that time
    standing: Mapping[str, float] = field(default_factory=dict)  # part of `needs`, of resources
    # that scale: what a replica which carries a share needs as soon as it is there
    load_part: float | None = None  # `throughput`, as a part of that at `load`: below 1 the option
    # is that load at a rate; None: use was measured at that load alone


@dataclass(frozen=True)
class Model:
    """A model to place; without a rate it runs once, at its option's measured load."""

    name: str
    options: tuple[Option, ...]
    count: int = 1  # so many equal, independent models
    rate: float | None = None  # inferences per second that all replicas carry together
    latency_limit_ms: float | None = None
    min_replicas: int = 1  # on distinct GPUs; slices of one GPU count once
    weight: float = 1.0
    percentile: int = 99  # of latency, of which the limit and the options' latencies speak


@dataclass(frozen=True)
class PoolType:
    """What one device of a type offers: capacity after rules, and the baseline of a server."""

    name: str
    capacity: Mapping[str, float]
    baseline: Mapping[str, float] = field(default_factory=dict)
    physical: Mapping[str, float] = field(default_factory=dict)  # what it has before rules, up to
    # which a limit could be raised, where that is known


@dataclass(frozen=True)
class Pool:
    """Equal devices that may be used; a named device is a pool of one."""

    name: str
    device_type: str
    count: int | None = None  # None: as many as wanted
    price: float = 1.0  # of each device in use; 0 for a device that is already there
    host: str | None = None
    partitions: tuple[tuple[str, ...], ...] = ()  # MIG: legal sets of slices, by type name;
    # the device may then be used whole, or in any one of these partitions

    def devices(self, wanted: int) -> tuple[str, ...]:
        """The names of its devices: its own when it has one, else numbered; at most `wanted`."""
        if self.count == 1:
            return (self.name,)
        count = wanted if self.count is None else min(self.count, wanted)
        return tuple(f"{self.name}-{number + 1}" for number in range(count))


@dataclass(frozen=True)
class Rules:
    """Where models may and may not go; devices are named as in a layout."""

    pins: tuple[tuple[str, str], ...] = ()  # (model, device or pool)
    forbidden: tuple[tuple[str, str], ...] = ()  # (model, device or pool)
    apart: tuple[tuple[str, ...], ...] = ()  # no two of these models on one device
    together: tuple[tuple[str, ...], ...] = ()  # all of these models on the same devices
    spread: tuple[str, ...] = ()  # replicas of these models on distinct hosts
    excluded_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlacementProblem:
    """Everything that decides a placement; see the module's text for its meaning."""

    models: tuple[Model, ...]
    types: tuple[PoolType, ...]
    pools: tuple[Pool, ...]
    resources: tuple[Resource, ...]
    rules: Rules = field(default_factory=Rules)
    objective: Literal["min-hardware", "max-throughput"] = "min-hardware"
    fairness: Literal["sum", "max-min"] = "sum"  # max-throughput only
    current: tuple[tuple[str, str], ...] = ()  # (model, device): where replicas run now
    # A move is a replica of a model that runs somewhere now, on a device where it does not.
    max_moves: int | None = None
    move_price: float = 0.0  # min-hardware: added to the price for each move
    max_devices: int | None = None  # physical devices in use, of all pools together
    repair: bool = False  # min-hardware: the fewest moves from `current` after which everything
    # holds, then the least price at that number of moves
    max_slowdown: float | None = None  # min-hardware, 0 to 1: a replica without a rate keeps at
    # least 1 - max_slowdown of its measured load beside its neighbours

    def copies(self) -> Iterator[tuple[str, Model]]:
        """Each model to place under the name that layouts use: `bert`, or `bert#2` of several."""
        for model in self.models:
            if model.count == 1:
                yield model.name, model
            else:
                for number in range(model.count):
                    yield f"{model.name}#{number + 1}", model
