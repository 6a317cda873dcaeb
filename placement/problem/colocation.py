"""How residents add up on a device: the one assumption about interference.

Residents add up: a device's use of a resource is the server's baseline, once, plus the sum of its
residents' needs. A hard resource (memory) is needed whole as soon as a replica sits there, one that
scales (utilization) in proportion to the share of its measured throughput that the replica carries,
but for what stands there at any share (`part_load.py` makes such options of curves).
That utilization adds up across models is an assumption; `verify` tests it.

Neighbours may slow a replica as well, by what was measured of it (`slowdown.py`): with neighbours
that take U of the device's time it keeps the part 1 - b·U of its throughput, and its latency is
divided by the same. Without such measurements b is 0.
"""

from __future__ import annotations

from collections.abc import Iterable

from placement.problem.problem import Option, Resource


def use(resource: Resource, option: Option, share: float) -> float:
    """What a replica that carries `share` of its option's throughput uses of the resource."""
    need = option.needs.get(resource.name, 0.0)
    if not resource.scales:
        return need
    standing = option.standing.get(resource.name, 0.0)
    return standing + (need - standing) * share


def total(resource: Resource, baseline: float, replicas: Iterable[tuple[Option, float]]) -> float:
    """What a device's server and its (option, share) residents use of the resource together."""
    return baseline + sum(use(resource, option, share) for option, share in replicas)


def kept(option: Option, neighbours: Iterable[tuple[Option, float]]) -> float:
    """The part of its throughput that (option, share) neighbours leave to a replica, 0 to 1."""
    pressure = sum(other.busy * share for other, share in neighbours)
    return max(0.0, 1.0 - option.sensitivity * pressure)
