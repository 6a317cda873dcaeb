"""How residents add up on a device: the one assumption about interference, and its integers.

Residents add up: a device's use of a resource is the server's baseline, once, plus the sum of its
residents' needs. A hard resource (memory) is needed whole as soon as a replica sits there, one that
scales (utilization) in proportion to the share of its measured throughput that the replica carries.
That utilization adds up across models is an assumption; `verify` tests it.

Neighbours may slow a replica as well, by what was measured of it (`slowdown.py`): with
neighbours that take U of the device's time it keeps the part 1 - b·U of its throughput, and its
latency is divided by the same. Without such measurements b is 0.

Floats lie, so needs are rounded up and capacities down to integers here and nowhere else: a layout
that the solver calls feasible is feasible. Units are powers of ten, as fine as the input's decimals
where these fit: 43.5 % and 309 MB lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

from placement.problem import Option, PlacementProblem, PoolType, Resource

SHARES = 10_000  # a replica's share of its option's throughput is counted in ten-thousandths
COVER = 1_000_000  # throughput relative to the demanded rate is counted in millionths
MOST_COVER = 10**10  # one replica carries ten thousand times the rate: more needs no telling
FELT = 10_000  # speed that neighbours take is counted in ten-thousandths
LARGEST = 10**8  # capacities stay below: times SHARES, summed over a device, far below 2^63


def use(resource: Resource, option: Option, share: float) -> float:
    """What a replica that carries `share` of its option's throughput uses of the resource."""
    need = option.needs.get(resource.name, 0.0)
    return need * share if resource.scales else need


def total(resource: Resource, baseline: float, replicas: Iterable[tuple[Option, float]]) -> float:
    """What a device's server and its (option, share) residents use of the resource together."""
    return baseline + sum(use(resource, option, share) for option, share in replicas)


def kept(option: Option, neighbours: Iterable[tuple[Option, float]]) -> float:
    """The part of its throughput that (option, share) neighbours leave to a replica, 0 to 1."""
    pressure = sum(other.busy * share for other, share in neighbours)
    return max(0.0, 1.0 - option.sensitivity * pressure)


def felt(option: Option, other: Option) -> int:
    """How much of its speed the option loses to all of the other, in FELT, rounded up."""
    return _ceil(_decimal(option.sensitivity) * _decimal(other.busy) * FELT)


def spare_speed(option: Option, latency_limit_ms: float | None) -> int:
    """How much of its speed it may lose before its latency passes the limit, in FELT, floored."""
    if latency_limit_ms is None or option.latency_ms is None:
        return FELT
    return _floor(FELT - _decimal(option.latency_ms) / _decimal(latency_limit_ms) * FELT)


@dataclass(frozen=True)
class Scale:
    """The problem's numbers as integers; None where a device has no limit."""

    resources: tuple[Resource, ...]
    decimals: Mapping[str, int]  # one unit of the resource is 10 ** -decimals

    def needs(self, option: Option) -> tuple[int, ...]:
        """The option's needs at full throughput, rounded up."""
        return tuple(
            _ceil(_decimal(option.needs.get(r.name, 0.0)).scaleb(self.decimals[r.name]))
            for r in self.resources
        )

    def room(self, kind: PoolType) -> tuple[int | None, ...]:
        """What one server on a device of this kind leaves to models, rounded down."""
        return tuple(
            _floor(
                (_decimal(kind.capacity[r.name]) - _decimal(kind.baseline.get(r.name, 0.0))).scaleb(
                    self.decimals[r.name]
                )
            )
            if r.name in kind.capacity
            else None
            for r in self.resources
        )

    def value(self, resource: Resource, units: float) -> float:
        """An integer amount in the resource's own unit."""
        return float(units * 10.0 ** -self.decimals[resource.name])


def scale(problem: PlacementProblem) -> Scale:
    """Units fine enough for every figure, but none that makes a capacity exceed LARGEST."""
    decimals = {}
    for resource in problem.resources:
        figures = [
            figure
            for kind in problem.types
            for figure in (kind.capacity.get(resource.name), kind.baseline.get(resource.name))
            if figure is not None
        ]
        largest = max((f for f in figures if f), default=1.0)
        fits = 0
        while _decimal(largest).scaleb(fits) > LARGEST:
            fits -= 1
        while fits < 6 and _decimal(largest).scaleb(fits + 1) <= LARGEST:
            fits += 1
        figures += [o.needs.get(resource.name, 0.0) for m in problem.models for o in m.options]
        wanted = max((_places(f) for f in set(figures)), default=0)
        decimals[resource.name] = min(fits, wanted)
    return Scale(problem.resources, decimals)


def cover(throughput: float, rate: float) -> int:
    """The part of `rate` that a replica at full throughput carries, in COVERs, rounded down."""
    return min(MOST_COVER, _floor(_decimal(throughput) / _decimal(rate) * COVER))


@lru_cache(maxsize=65536)
def _decimal(figure: float) -> Decimal:
    return Decimal(repr(float(figure)))  # the decimal that was written: 0.1 is one tenth


def _places(figure: float) -> int:
    exponent = _decimal(figure).normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _ceil(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING))


def _floor(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_FLOOR))
