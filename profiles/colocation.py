"""What was measured of models that share a device: how much of its speed each kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.environment import Environment
from profiles.measurement import LoadPoint
from profiles.variant import Variant


@dataclass(frozen=True)
class Neighbour:
    """A model beside the one that is spoken of, as it ran then."""

    model: str
    throughput: float  # inferences per second that it reached
    uses: dict[str, float] = field(default_factory=dict)  # by resource, at that throughput: its
    # profile's, since a device does not tell them apart


@dataclass(frozen=True)
class Colocation:
    """A model under load while others ran beside it on the device."""

    run: str  # the residents of a device that ran together have it in common
    model: str
    device_type: str
    load: LoadPoint  # as it was driven
    solo_throughput: float  # inferences per second, alone, at its option's full load
    throughput: float  # inferences per second beside its neighbours
    neighbours: tuple[Neighbour, ...]
    wanted_throughput: float = 0.0  # what was asked of it; solo_throughput when driven in full
    uses: dict[str, float] = field(default_factory=dict)  # its own, by resource that scales, alone
    # at solo_throughput
    variant: Variant | None = None
    option: str = ""
    solo_latency_ms: float | None = None  # at `percentile`, at its option's full load
    latency_ms: float | None = None  # the same percentile, beside its neighbours
    percentile: int = 99
    failures: int = 0  # requests that failed
    environment: Environment = field(default_factory=Environment)
    measured_at: str = ""  # ISO 8601, UTC
    warnings: tuple[str, ...] = ()  # what makes the figures doubtful, in words
    device_uses: dict[str, float] = field(default_factory=dict)  # by resource, of all residents
    # together as it was measured, less the server's own

    def neighbours_use(self, resource: str) -> float:
        """What its neighbours used of the resource together."""
        return sum(neighbour.uses.get(resource, 0.0) for neighbour in self.neighbours)
