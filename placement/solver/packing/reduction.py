"""What of a placement problem is a packing, and a packing as replicas.

A packing knows models that run once or several times as they were measured, on devices of some
types; it knows no rules, moves, partitions or slowdown. Where a problem has them, the packing
without them is a relaxation: its bound holds, and its layout is one to start from. Equal models
become one item with a count, pools of one device type at one price one bin type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, lcm

from placement.layout.replica import Replica
from placement.problem import Model, PlacementProblem, Pool
from placement.problem.numbers import fraction
from placement.problem.options import usable
from placement.solver.instance import owns
from placement.solver.packing.engine import solve_packing
from placement.solver.packing.instance import (
    BinType,
    Choice,
    ItemType,
    Packing,
    PackingInstance,
)
from placement.solver.result import Deadline, Status

NOTHING = (0,)  # the need of an item where no resource counts
MANY = 2000  # models from which the first packing is told
FINEST = 2**50  # times a figure: denominators beyond are not multiplied out


@dataclass(frozen=True)
class Packed:
    """A packing's answer; value and bound in money."""

    status: Status
    bound: float
    replicas: tuple[Replica, ...] | None
    method: str


def is_plain(problem: PlacementProblem) -> bool:
    """Whether every model runs as it was measured, on whole devices: a packing relaxes it."""
    return (
        problem.objective == "min-hardware"
        and bool(problem.models)
        and not any(pool.partitions for pool in problem.pools)
        and all(model.rate is None for model in problem.models)
    )


def is_packing(problem: PlacementProblem) -> bool:
    """Whether the problem is a packing and nothing else."""
    rules = problem.rules
    return (
        is_plain(problem)
        and not problem.current
        and problem.max_devices is None
        and not any((rules.pins, rules.forbidden, rules.apart, rules.together, rules.spread))
        and all(model.min_replicas == 1 for model in problem.models)
        and not any(option.sensitivity for model in problem.models for option in model.options)
    )


def pack(
    problem: PlacementProblem,
    deadline: Deadline,
    seed: int = 0,
    on_first: Callable[[tuple[Replica, ...]], object] | None = None,
) -> Packed:
    """The best packing of a problem that `is_plain`, rules and moves left out.

    `on_first` is called with the first packing where models are many.
    """
    bins = _bins(problem)
    if not bins:
        wanted = any(model.min_replicas for model in problem.models)
        return Packed("infeasible" if wanted else "optimal", 0.0, None if wanted else (), "packing")
    prices = [fraction(price) for _, price in bins]
    denominator = lcm(*(price.denominator for price in prices))
    instance, copies = _instance(problem, bins, prices, denominator)

    def first(found: tuple[Packing, ...]) -> None:
        if on_first is not None and len(copies) > MANY:
            on_first(_replicas(problem, bins, copies, found))

    result = solve_packing(instance, deadline, seed, on_first=first)
    bound = float(Fraction(result.bound, denominator))
    if result.bins is None or result.price is None:
        return Packed(result.status, bound, None, result.method)
    replicas = _replicas(problem, bins, copies, result.bins)
    return Packed(result.status, bound, replicas, result.method)


Bins = dict[tuple[str, float], list[Pool]]
Copies = list[tuple[list[str], tuple[int, ...]]]


def _instance(
    problem: PlacementProblem, bins: Bins, prices: list[Fraction], denominator: int
) -> tuple[PackingInstance, Copies]:
    kinds = {kind.name: kind for kind in problem.types}
    units = [_unit(problem, resource.name) for resource in problem.resources]
    rooms: dict[str, tuple[int | None, ...]] = {}
    for name, kind in kinds.items():
        room: list[int | None] = []
        for resource, unit in zip(problem.resources, units, strict=True):
            limit = kind.capacity.get(resource.name)
            free = None
            if limit is not None:
                free = floor(
                    (fraction(limit) - fraction(kind.baseline.get(resource.name, 0.0))) / unit
                )
            room.append(free)
        rooms[name] = tuple(room)
    copies: dict[tuple[Choice, ...], tuple[list[str], tuple[int, ...]]] = {}
    choices: dict[str, tuple[tuple[Choice, ...], tuple[int, ...]]] = {}
    for name, model in problem.copies():
        if model.name not in choices:
            choices[model.name] = _choices(problem, model, bins, rooms, units)
        options, numbers = choices[model.name]
        # Replicas on distinct devices are, without that rule, so many copies.
        mine = copies.setdefault((*options, *_mark(numbers)), ([], numbers))
        mine[0].extend([name] * model.min_replicas)
    kept = [(key, value) for key, value in copies.items() if value[0]]
    everything = [
        max(1, sum(max((o.needs[r] for o in key if o.bin >= 0), default=0) * len(value[0])
                   for key, value in kept))
        for r in range(len(units) or len(NOTHING))
    ]  # fmt: skip
    types = []
    for (kind_name, price), pools in bins.items():
        del price
        room_of = rooms[kind_name] or (None,)
        count: int | None = 0
        for pool in pools:
            number = _count(problem, pool)
            count = None if count is None or number is None else count + number
        types.append((room_of, count))
    bin_types = tuple(
        BinType(
            tuple(
                max(0, most if free is None else free)
                for most, free in zip(everything, room, strict=True)
            ),
            int(price * denominator),
            count,
        )
        for (room, count), price in zip(types, prices, strict=True)
    )  # fmt: skip
    items = tuple(
        ItemType(tuple(o for o in key if o.bin >= 0), len(value[0])) for key, value in kept
    )
    return PackingInstance(items, bin_types), [value for _, value in kept]


def _mark(numbers: tuple[int, ...]) -> tuple[Choice, ...]:
    """Equal models whose options stand in another order in their lists are kept apart."""
    return (Choice(-1, numbers),)


def _choices(
    problem: PlacementProblem,
    model: Model,
    bins: Bins,
    rooms: dict[str, tuple[int | None, ...]],
    units: list[Fraction],
) -> tuple[tuple[Choice, ...], tuple[int, ...]]:
    found = []
    for k, option in usable(model):
        needs = tuple(
            ceil(fraction(option.needs.get(r.name, 0.0)) / unit)
            for r, unit in zip(problem.resources, units, strict=True)
        )
        for b, (kind, _) in enumerate(bins):
            if kind == option.device_type and all(x is None or x >= 0 for x in rooms[kind]):
                found.append((Choice(b, needs or NOTHING), k))
    return tuple(c for c, _ in found), tuple(k for _, k in found)


def _unit(problem: PlacementProblem, resource: str) -> Fraction:
    """Of what every need is a multiple; a power of ten where that would be too fine."""
    figures = {
        fraction(option.needs.get(resource, 0.0))
        for model in problem.models
        for option in model.options
    } - {Fraction(0)}
    denominator = 1
    for figure in figures:
        denominator = lcm(denominator, figure.denominator)
        if denominator > FINEST:
            break
    largest = max(figures, default=Fraction(1))
    if denominator > FINEST or largest * denominator > FINEST:
        return largest / FINEST
    common = 0
    for figure in figures:
        common = gcd(common, int(figure * denominator))
    return Fraction(common or 1, denominator)


def _bins(problem: PlacementProblem) -> Bins:
    """Pools by device type and price, those of which nothing is left out."""
    bins: Bins = defaultdict(list)
    for pool in problem.pools:
        if _count(problem, pool) != 0:
            bins[pool.device_type, pool.price].append(pool)
    return dict(bins)


def _count(problem: PlacementProblem, pool: Pool) -> int | None:
    excluded = set(problem.rules.excluded_devices)
    if pool.name in excluded:
        return 0
    if pool.count is None:
        return None
    return pool.count - sum(owns(pool, name) for name in excluded)


def names(problem: PlacementProblem, pools: list[Pool]) -> Iterator[str]:
    """Devices of the pools that are not excluded, one after the other."""
    excluded = set(problem.rules.excluded_devices)
    for pool in pools:
        number = 0
        while pool.count is None or number < pool.count:
            number += 1
            name = pool.name if pool.count == 1 else f"{pool.name}-{number}"
            if name not in excluded and pool.name not in excluded:
                yield name


def _replicas(
    problem: PlacementProblem, bins: Bins, copies: Copies, packings: tuple[Packing, ...]
) -> tuple[Replica, ...]:
    free = [names(problem, pools) for pools in bins.values()]
    left = [list(reversed(mine)) for mine, _ in copies]
    replicas = []
    for packing in packings:
        seat = next(free[packing.bin])
        for item, option in packing.contents:
            replicas.append(Replica(left[item].pop(), copies[item][1][option], seat))
    return tuple(replicas)
