"""How residents add up on a device: the one assumption about interference, and its integers.

Residents add up: a device's use of a resource is the server's baseline, once, plus the sum of its
residents' needs. A hard resource (memory) is needed whole as soon as a replica sits there, one that
scales (utilization) in proportion to the share of its measured throughput that the replica carries.
That utilization adds up across models is an assumption; `verify` tests it.

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
LARGEST = 10**8  # capacities stay below: times SHARES, summed over a device, far below 2^63


def use(resource: Resource, option: Option, share: float) -> float:
    """What a replica that carries `share` of its option's throughput uses of the resource."""
    need = option.needs.get(resource.name, 0.0)
    return need * share if resource.scales else need


def total(resource: Resource, baseline: float, replicas: Iterable[tuple[Option, float]]) -> float:
    """What a device's server and its (option, share) residents use of the resource together."""
    return baseline + sum(use(resource, option, share) for option, share in replicas)


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
