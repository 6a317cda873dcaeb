"""The devices of a problem one by one, as far as they may be wanted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from placement.problem import PlacementProblem, Pool


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


def means(unit: Unit, seat: Seat, name: str) -> bool:
    """Whether a rule that names a pool, a device or a slice means this seat."""
    return unit.answers_to(name) or seat.name == name


def is_singled_out(problem: PlacementProblem, unit: Unit) -> bool:
    """Whether a rule or the current layout names this very device: it then equals no other."""
    rules = problem.rules
    named = {device for _, device in (*rules.pins, *rules.forbidden, *problem.current)}
    return any(name in named for name in (unit.name, *(seat.name for seat in unit.seats)))
