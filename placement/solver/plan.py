"""Layouts from plans: a linear program fixes rows and shares, and the rest is a packing.

    y[i,j] >= 0   the part of item i that runs as row j, by as many replicas as its rate needs
    z[i,j] >= 0   the part that stands by as row j and is not carried, at its penalty
    n[c]   >= 0   devices of class c, at most as many as there are

    sum_j y + z = 1
    sum over rows of type t of their use <= (1 - air) · devices of type t, for each resource
    minimise sum price·n + sum penalty·z

All but a few items are in one row at the optimum, as a basic solution has as many positive
variables as rows. With rows and shares fixed what is left is a packing, at which the packing engine
is strong. Rules are left out: what they refuse is inserted afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from placement.solver.incumbent import Incumbent
from placement.solver.instance import LEAST, Instance, most_share
from placement.solver.packing.engine import solve_packing
from placement.solver.packing.instance import BinType, Choice, ItemType, PackingInstance
from placement.solver.result import Deadline
from placement.solver.start import by_value, construct

UNITS = 1_000_000  # of a device's room
PRICES = 1_000  # units of the dearest device's price
MOST = 20_000  # items up to which the program is solved
NEAR = 1.1  # times the cheapest way's cost at the dual prices: what is dearer is left out


@dataclass(frozen=True)
class Planned:
    """An item's row, replicas, and the share of each."""

    item: int
    row: int
    replicas: int
    share: float


def cheapest(incumbent: Incumbent) -> list[Planned]:
    """Each item by its cheapest way at the dual prices: the plan for as many items as there are."""
    instance = incumbent.instance
    asked = [
        (i, item)
        for i, item in enumerate(instance.items)
        if (item.replicas or item.rate > 0) and item.rows.start < item.rows.stop
    ]
    if not asked:
        return []
    firsts = np.array([item.rows.start for _, item in asked])
    lengths = np.array([item.rows.stop - item.rows.start for _, item in asked])
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(int(lengths.sum())) + np.repeat(firsts - starts, lengths)
    rates = np.repeat([item.rate for _, item in asked], lengths)
    least = np.repeat([max(1, item.replicas) for _, item in asked], lengths)
    full = most_share(instance)[rows]
    part = rates / instance.throughput[rows]
    with np.errstate(divide="ignore"):
        number = np.where(full > LEAST, np.maximum(least, np.ceil(part / full - 1e-9)), np.inf)
    offered = np.isin(instance.type_of[rows], [cls.type for cls in instance.classes])
    number[~offered] = np.inf
    finite = np.isfinite(number)
    cost = np.full(len(rows), np.inf)
    # The very prices: spread over resources as insertion has them they leave types out of balance.
    there, carrying = (price[rows] for price in incumbent.relaxation.row_prices(instance))
    cost[finite] = number[finite] * there[finite] + part[finite] * carrying[finite]
    best = np.minimum.reduceat(cost, starts)
    chosen = np.flatnonzero(cost <= np.repeat(best, lengths))
    owner = np.repeat(np.arange(len(asked)), lengths)[chosen]
    _, place = np.unique(owner, return_index=True)
    chosen = chosen[place]
    return [
        Planned(asked[o][0], int(rows[p]), int(number[p]), min(1.0, float(part[p] / number[p])))
        for o, p in zip(owner[place].tolist(), chosen.tolist(), strict=True)
        if np.isfinite(cost[p])
    ]


def by_share(incumbent: Incumbent) -> list[int]:
    """Items by the dominant share of a device that a replica of their cheapest way takes, in money.

    Large ones come first in whichever resource they are large, as first fit decreasing has it.
    """
    instance = incumbent.instance
    size = np.zeros(len(instance.items))
    ways = cheapest(incumbent)
    rows = np.array([way.row for way in ways], dtype=int)
    shares = np.array([way.share for way in ways])
    use = instance.base[rows] + shares[:, None] * instance.slope[rows]
    size[[way.item for way in ways]] = use.max(axis=1) * incumbent.worth[instance.type_of[rows]]
    return [int(i) for i in np.argsort(-size, kind="stable")]


def plan(incumbent: Incumbent, air: float, deadline: Deadline) -> list[Planned] | None:
    """The rounded optimum with so much of every device left free; None where there is none."""
    from ortools.linear_solver import pywraplp

    instance = incumbent.instance
    if len(instance.items) > MOST or any(cls.partitions for cls in instance.classes):
        return None
    lp = pywraplp.Solver.CreateSolver("GLOP")
    lp.SetTimeLimit(int(1000 * deadline.left_s) + 1)
    infinity = lp.infinity()
    goal = lp.Objective()
    goal.SetMinimization()
    types, resources = instance.limited.shape
    room = [[lp.Constraint(0.0, infinity) for _ in range(resources)] for _ in range(types)]
    for cls in instance.classes:
        n = lp.NumVar(0.0, infinity if cls.count is None else float(cls.count), "")
        if not instance.flexible:
            goal.SetCoefficient(n, float(cls.price))
        for r in range(resources):
            room[cls.type][r].SetCoefficient(n, 1.0 - air)
    offered = {cls.type for cls in instance.classes}
    columns: list[tuple[Planned, Any]] = []
    full = most_share(instance)
    for i, item in enumerate(instance.items):
        if not item.replicas and item.rate <= 0:
            continue
        whole = lp.Constraint(1.0, 1.0)
        ways = [
            way
            for j in range(item.rows.start, item.rows.stop)
            if instance.type_of[j] in offered and full[j] > LEAST
            for way in _ways(instance, i, j, float(full[j]))
        ]
        for planned in _near(incumbent, ways):
            j = planned.row
            column = lp.NumVar(0.0, infinity, "")
            whole.SetCoefficient(column, 1.0)
            if not planned.share and instance.flexible:
                goal.SetCoefficient(column, item.penalty)
            use = planned.replicas * (instance.base[j] + planned.share * instance.slope[j])
            for r in range(resources):
                if use[r]:
                    room[instance.type_of[j]][r].SetCoefficient(column, -float(use[r]))
            columns.append((planned, column))
        if instance.flexible and not item.replicas:
            column = lp.NumVar(0.0, infinity, "")
            whole.SetCoefficient(column, 1.0)
            goal.SetCoefficient(column, item.penalty)
    if lp.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    best: dict[int, tuple[float, Planned]] = {}
    for planned, column in columns:
        value = column.solution_value()
        if value > best.get(planned.item, (0.0,))[0]:
            best[planned.item] = value, planned
    return [planned for _, planned in best.values()]


def _near(incumbent: Incumbent, ways: list[Planned]) -> list[Planned]:
    """The ways that cost little more than the cheapest of their kind, carrying or standing by."""
    kept: list[Planned] = []
    for kind in (True, False):
        mine = [way for way in ways if (way.share > 0) is kind]
        costs = [
            way.replicas * float(incumbent.h[way.row] + way.share * incumbent.c[way.row])
            for way in mine
        ]
        least = min(costs, default=0.0)
        kept += [w for w, cost in zip(mine, costs, strict=True) if cost <= NEAR * least + 1e-9]
    return kept


def _ways(instance: Instance, i: int, j: int, full: float) -> list[Planned]:
    item = instance.items[i]
    part = item.rate / float(instance.throughput[j])
    number = max(item.replicas, ceil(part / full - 1e-9), 1)
    ways = [Planned(i, j, number, min(1.0, part / number))]
    if instance.flexible and item.replicas:
        ways.append(Planned(i, j, item.replicas, 0.0))
    return ways


def pack(
    incumbent: Incumbent, planned: list[Planned], deadline: Deadline, seed: int, *, first: bool
) -> bool:
    """Fill the incumbent, which is empty, by a packing of the plan; False when none was found.

    With `first` the first packing will do.
    """
    instance = incumbent.instance
    items = []
    for way in planned:
        use = instance.base[way.row] + way.share * instance.slope[way.row]
        needs = tuple(ceil(float(u) * UNITS - 1e-3) for u in use)
        choices = tuple(
            Choice(c, needs)
            for c, cls in enumerate(instance.classes)
            if cls.type == instance.type_of[way.row]
        )
        items.append(ItemType(choices, way.replicas))
    dearest = max([*incumbent.device_price, 0.0])
    bins = tuple(
        BinType(
            (UNITS,) * instance.resources,
            max(1, round(price / dearest * PRICES)) if dearest else 1,
            cls.count,
        )
        for cls, price in zip(instance.classes, incumbent.device_price, strict=True)
    )
    until = deadline.at_most(deadline.left_s)

    def enough(price: int | None, bound: int) -> None:
        del bound
        if first and price is not None:
            until.stop()

    result = solve_packing(PackingInstance(tuple(items), bins), until, seed, enough)
    if result.bins is None:
        return False
    for packing in result.bins:
        gpu = incumbent.any_closed(packing.bin)
        if gpu is None:
            continue
        d = incumbent.open_seat(gpu, instance.classes[packing.bin].type, gpu.name)
        for number, _ in packing.contents:
            way = planned[number]
            if incumbent.fits(way.item, d, way.row, way.share):
                incumbent.put(way.item, d, way.row, way.share)
        incumbent.close_empty(d)
    for i in range(len(instance.items)):
        incumbent.recount(i)
    lacking = set(incumbent.lacking().tolist())
    construct(incumbent, [i for i in by_value(incumbent) if i in lacking], deadline)
    return True
