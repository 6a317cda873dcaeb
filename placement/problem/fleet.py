"""The devices of a problem one by one, as far as they may be wanted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil

from placement.problem.numbers import fraction
from placement.problem.options import usable
from placement.problem.problem import Model, PlacementProblem, Pool


@dataclass(frozen=True)
class Seat:
    """A place for one server: a whole device, or a MIG slice of one."""

    name: str
    device_type: str
    unit: int  # index of the physical device
    slice_number: int | None = None  # the n-th slice of its type, from 1; None: the whole device


@dataclass(frozen=True)
class Unit:
    """A physical device; its price is paid once, whatever its slices."""

    name: str
    pool: Pool
    host: str  # devices without one are hosts of their own
    seats: tuple[Seat, ...]

    def answers_to(self, name: str) -> bool:
        """Whether rules that name `name` mean this device."""
        return name in {self.name, self.pool.name}


def units(problem: PlacementProblem, wanted: int) -> list[Unit]:
    """Every device that is not excluded; of an unlimited pool at most `wanted`."""
    found: list[Unit] = []
    for pool in problem.pools:
        for name in pool.devices(wanted):
            if {name, pool.name} & set(problem.rules.excluded_devices):
                continue
            number = len(found)
            seats = [Seat(name, pool.device_type, number)]
            most: Counter[str] = Counter()
            for partition in pool.partitions:
                most |= Counter(partition)
            seats += [
                Seat(f"{name}/{kind}-{i}", kind, number, i)
                for kind, count in most.items()
                for i in range(1, count + 1)
            ]
            found.append(Unit(name, pool, pool.host or name, tuple(seats)))
    return found


def number_of_units(problem: PlacementProblem, wanted: int) -> int:
    """How many there would be, excluded ones included."""
    return sum(wanted if pool.count is None else min(pool.count, wanted) for pool in problem.pools)


def means(unit: Unit, seat: Seat, name: str) -> bool:
    """Whether a rule that names a pool, a device or a slice means this seat."""
    return unit.answers_to(name) or seat.name == name


def is_singled_out(problem: PlacementProblem, unit: Unit) -> bool:
    """Whether a rule or the current layout names this very device: it then equals no other."""
    rules = problem.rules
    named = {device for _, device in (*rules.pins, *rules.forbidden, *problem.current)}
    named.update(rules.excluded_devices)
    return any(name in named for name in (unit.name, *(seat.name for seat in unit.seats)))


@dataclass(frozen=True)
class Place:
    """Where a device name of a layout lies."""

    pool: Pool
    gpu: str  # the physical device
    device_type: str
    order: tuple[int, int, str]  # of devices in a layout


class Places:
    """Finds pools by device names."""

    def __init__(self, problem: PlacementProblem) -> None:
        self._pools = {pool.name: (n, pool) for n, pool in enumerate(problem.pools)}

    def find(self, seat: str) -> Place | None:
        """Where the device or slice lies; None where the fleet has no such name."""
        found = self._gpu(seat)
        if found is not None:
            number, pool, index = found
            return Place(pool, seat, pool.device_type, (number, index, ""))
        gpu, _, part = seat.rpartition("/")
        found = self._gpu(gpu)
        if found is None:
            return None
        number, pool, index = found
        kind, _, count = part.rpartition("-")
        if not any(kind in partition for partition in pool.partitions):
            return None
        return Place(pool, gpu, kind, (number, index, f"{kind}-{count:>9}"))

    def _gpu(self, name: str) -> tuple[int, Pool, int] | None:
        known = self._pools.get(name)
        if known is not None and known[1].count == 1:
            return *known, 0
        prefix, _, count = name.rpartition("-")
        known = self._pools.get(prefix)
        if known is None or not count.isdecimal() or count.startswith("0"):
            return None
        number, pool = known
        if pool.count == 1 or (pool.count is not None and int(count) > pool.count):
            return None
        return number, pool, int(count)


def wanted(problem: PlacementProblem) -> int:
    """As many devices of one pool as could ever be of use."""
    if problem.objective == "max-throughput":
        return max((pool.count or 0 for pool in problem.pools), default=0)
    # One for each replica; more for devices that rules name, since these are taken by number.
    replicas = sum(model.count * _replicas(problem, model) for model in problem.models)
    return replicas + highest_number(problem)


def highest_number(problem: PlacementProblem) -> int:
    """The highest number of a device that a rule or the current layout names."""
    rules = problem.rules
    named = [d for _, d in (*rules.pins, *rules.forbidden, *problem.current)]
    named += rules.excluded_devices
    numbers = [d.split("/")[0].rpartition("-")[2] for d in named]
    return max((int(n) for n in numbers if n.isdecimal()), default=0)


def _replicas(problem: PlacementProblem, model: Model) -> int:
    """As many replicas as a layout ever needs of the model: each alone carries what it can."""
    rooms = {kind.name: kind for kind in problem.types}
    least = None
    for _, option in usable(model):
        part = fraction(1.0)
        kind = rooms[option.device_type]
        for resource in problem.resources:
            limit, need = kind.capacity.get(resource.name), option.needs.get(resource.name, 0.0)
            if limit is not None and resource.scales and need > 0:
                standing = fraction(option.standing.get(resource.name, 0.0))
                room = fraction(limit) - fraction(kind.baseline.get(resource.name, 0.0)) - standing
                moving = fraction(need) - standing
                if room < 0 or not moving:
                    part = part if room >= 0 else fraction(0.0)
                else:
                    part = min(part, room / moving)
        carried = part * fraction(option.throughput)
        if carried > 0:
            least = carried if least is None else min(least, carried)
    by_rate = ceil(fraction(model.rate) / least) if model.rate and least else 1
    return max(model.min_replicas, by_rate, 1)
