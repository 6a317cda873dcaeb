"""A placement problem as a packing, where that is all it is, and the packing as an answer.

That is so for the least hardware when every model runs once, as it was measured, wherever it fits:
no rates, replicas, rules, partitions or current layout. Equal models become one item with a count,
pools of one device type at one price become one bin type.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import lcm

from placement.problem import PlacementProblem
from placement.problem.colocation import Scale
from placement.problem.fleet import Unit
from placement.problem.options import usable
from placement.solver.assignment import Answer, Replica
from placement.solver.packing.engine import solve_packing
from placement.solver.packing.instance import BinType, Choice, ItemType, PackingInstance
from placement.solver.result import Deadline

NOTHING = (0,)  # the need of an item where no resource counts


def applies(problem: PlacementProblem) -> bool:
    """Whether the problem is nothing but a packing."""
    rules = problem.rules
    return (
        problem.objective == "min-hardware"
        and bool(problem.models)
        and not problem.current
        and not any((rules.pins, rules.forbidden, rules.apart, rules.together, rules.spread))
        and not any(pool.partitions for pool in problem.pools)
        and all(model.rate is None and model.min_replicas == 1 for model in problem.models)
    )


def pack(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int = 0
) -> tuple[Answer, str]:
    """The answer for a problem that `applies` says is a packing, and how it was found."""
    units, prices = _bins(fleet)
    if not units:
        return Answer("infeasible"), "packing"
    denominator = lcm(*(price.denominator for _, price in units))
    rooms = {kind.name: scale.room(kind) for kind in problem.types}
    copies: dict[tuple[Choice, ...], list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    choices: dict[str, tuple[tuple[Choice, ...], tuple[int, ...]]] = {}
    for name, model in problem.copies():
        if model.name not in choices:
            found = [
                (Choice(b, scale.needs(option) or NOTHING), k)
                for k, option in usable(model)
                for b, (kind, _) in enumerate(units)
                if kind == option.device_type
                and all(limit is None or limit >= 0 for limit in rooms[kind])
            ]
            choices[model.name] = tuple(c for c, _ in found), tuple(k for _, k in found)
        options, numbers = choices[model.name]
        copies[options].append((name, numbers))
    # A resource without a limit has room for everything.
    everything = [
        max(1, sum(max((o.needs[r] for o in c), default=0) * len(n) for c, n in copies.items()))
        for r in range(len(scale.resources) or len(NOTHING))
    ]
    bins = tuple(
        BinType(
            tuple(
                max(0, everything[r] if limit is None else limit)
                for r, limit in enumerate(rooms[kind] or (None,))
            ),
            int(price * denominator),
            None if prices[kind, price] else len(units[kind, price]),
        )
        for kind, price in units
    )
    items = tuple(ItemType(options, len(names)) for options, names in copies.items())
    result = solve_packing(PackingInstance(items, bins), deadline, seed)
    bound = float(Fraction(result.bound, denominator))
    if result.bins is None or result.price is None:
        return Answer(result.status, bound=bound), result.method
    names_left = [list(names) for names in copies.values()]
    free = [list(reversed(of_kind)) for of_kind in units.values()]
    replicas = []
    for packing in result.bins:
        unit = free[packing.bin].pop()
        for item, option in packing.contents:
            name, numbers = names_left[item].pop()
            replicas.append(Replica(name, numbers[option], unit.seats[0].name))
    value = float(Fraction(result.price, denominator))
    return Answer(result.status, tuple(replicas), value, bound), result.method


def _bins(
    fleet: list[Unit],
) -> tuple[dict[tuple[str, Fraction], list[Unit]], dict[tuple[str, Fraction], bool]]:
    """The devices by type and price, and whether there are as many as wanted."""
    units: dict[tuple[str, Fraction], list[Unit]] = defaultdict(list)
    unlimited: dict[tuple[str, Fraction], bool] = defaultdict(bool)
    for unit in fleet:
        key = unit.pool.device_type, Fraction(repr(float(unit.pool.price)))
        units[key].append(unit)
        unlimited[key] |= unit.pool.count is None
    return units, unlimited
