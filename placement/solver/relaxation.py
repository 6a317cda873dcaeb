"""The aggregated relaxation: all devices of a type as one, and the dual prices of its resources.

Lagrangian dual, with prices l[t,r] >= 0 of a whole device's room of resource r, m[c] >= 0 of
limited device classes, n of `max_devices`, w of `max_moves` (Geoffrion, "Lagrangean relaxation for
integer programming", 1974):

    maximise  sum_i V_i(l, w) - sum_c count[c]·m[c] - max_devices·n - max_moves·w
    with      sum_r l[t,r] <= price[c] + m[c] + n              for each class c of type t
              sum_{u in q} sum_r l[u,r] <= price[c] + m[c] + n for each partition q into slices u

V_i is what item i costs at least at these prices, by whole replicas: one, or two, or two full ones
and the rest at the best price per unit of rate; or its penalty where it may be left unmet. Every
choice of prices bounds every layout from below, so the bound that is told is that of one choice,
evaluated anew: all terms but those of m, n and w are sums and products of non-negative floats,
fewer than 10^6 of them, so that a relative margin of 1e-9 covers all rounding (Higham, "Accuracy
and stability of numerical algorithms", 2002, section 3.1).

The prices are found by cutting planes (Kelley, "The cutting-plane method for solving convex
programs", 1960) with in-out steps (Ben-Ameur and Neto, "Acceleration of cutting-plane and column
generation algorithms", 2007): a linear program in some dozens of variables, whatever the number of
models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from placement.solver.instance import Instance, most_share
from placement.solver.item_values import ItemValues
from placement.solver.result import Deadline

MARGIN = 1e-9
REFUTED = 1e-3  # a bound of the feasibility problem, beyond which no better one is looked for
ROUNDS = 150  # of cutting planes, for each of the two precisions
CLOSE = 1e-4  # relative gap between the master and the best prices at which a phase ends
INWARD = 0.35  # part of the way from the best prices to those that the master proposes
BOX = 30.0  # times the dearest device: the most that m, n and w may be
SAMPLE = 5_000  # items; of more, so many are looked at first


@dataclass(frozen=True)
class Relaxation:
    """A proven lower bound of the cost, and the prices that prove it."""

    bound: float
    prices: Any  # (types, resources): of a device's whole room
    values: Any  # (items,): the least cost of each item at these prices
    worth: Any  # (types,): of a whole device

    def row_prices(self, instance: Instance) -> tuple[Any, Any]:
        """What each row costs at these prices: as soon as it is there, and at full share."""
        prices = self.prices[instance.type_of]
        return (instance.base * prices).sum(axis=1), (instance.slope * prices).sum(axis=1)


def relax(
    instance: Instance,
    deadline: Deadline,
    *,
    feasibility: bool = False,
    close: float = CLOSE,
    enough: float = REFUTED,
) -> Relaxation:
    """The best bound found before the deadline; it always comes, if only as zero.

    With `feasibility` devices and moves cost nothing: a bound above zero proves that there is no
    layout at all, and one above `enough` is not raised further.
    """
    if not len(instance.throughput):
        nothing = np.zeros(instance.limited.shape)
        return Relaxation(0.0, nothing, np.zeros(len(instance.items)), nothing.sum(axis=1))
    instance = _full(instance)
    dual = _Dual(instance, feasibility=feasibility)
    values = ItemValues(instance, dual.move_price)
    best, best_bound = dual.start(), -np.inf
    step = len(instance.items) // SAMPLE
    few, times = values, 1.0
    if step > 1:  # of many items a sample tells about where the prices are
        few = ItemValues(_sample(instance, step), dual.move_price)
        times = len(instance.items) / len(few.rate)
    for fine in (False, True):
        master = dual.master()
        centre, at_centre = best, -np.inf
        point = centre
        for _ in range(ROUNDS):
            cut = (values if fine else few).cut(*dual.split(point), fine=fine)
            value, usage, moved, constant = cut if fine else (times * part for part in cut)
            total = value - dual.cost(point)
            if total > at_centre:
                centre, at_centre = point, total
            upper, proposed = master.add(constant, usage, moved)
            if upper - at_centre <= close * max(abs(upper), 1e-9) or deadline.left_s <= 0:
                break
            if feasibility and (at_centre > enough or (fine and upper <= 0)):
                break
            point = INWARD * proposed + (1 - INWARD) * centre
        best = centre
        if deadline.left_s <= 0 or (feasibility and at_centre > enough):
            break
    best = dual.inside(best)
    prices, moves = dual.split(best)
    each = values.values(prices, moves, fine=True)
    best_bound = float(each.sum()) * (1 - MARGIN) - dual.cost(best) * (1 + MARGIN)
    return Relaxation(max(0.0, best_bound), prices, each, prices.sum(axis=1))


def _full(instance: Instance) -> Instance:
    """The instance with shares counted of the most that an empty device has room for."""
    # The checker's tolerance, and ten times that.
    most = np.minimum(1.0, most_share(instance) * (1 + 1e-8) + 1e-8)
    return replace(
        instance,
        slope=instance.slope * most[:, None],
        throughput=instance.throughput * most,
    )


def _sample(instance: Instance, step: int) -> Instance:
    """Every so manieth item, with its rows alone."""
    items, rows, number = [], [], 0
    for item in instance.items[::step]:
        length = item.rows.stop - item.rows.start
        rows.append(np.arange(item.rows.start, item.rows.stop))
        items.append(replace(item, rows=slice(number, number + length)))
        number += length
    order = np.concatenate(rows)
    return replace(
        instance,
        items=tuple(items),
        type_of=instance.type_of[order],
        base=instance.base[order],
        slope=instance.slope[order],
        throughput=instance.throughput[order],
    )


class _Dual:
    """The layout of the vector of prices, and the constraints on it."""

    def __init__(self, instance: Instance, *, feasibility: bool) -> None:
        problem = instance.problem
        self.instance = instance
        flexible = instance.flexible  # the fleet is there, at no price
        self.free = 0.0 if feasibility or flexible else 1.0
        self.feasibility = feasibility
        self.move_price = 0.0 if feasibility else problem.move_price
        types, resources = instance.limited.shape
        used = np.zeros((types, resources), bool)
        for t in set(instance.type_of.tolist()):
            mine = instance.type_of == t
            used[t] = ((instance.base[mine] > 0) | (instance.slope[mine] > 0)).any(axis=0)
        self.cells = np.argwhere(instance.limited & used)
        k = len(self.cells)
        self.counted = [c for c, cls in enumerate(instance.classes) if cls.count is not None]
        self.size = k + len(self.counted) + 2  # devices, moves
        self.costs = np.zeros(self.size)
        for place, c in enumerate(self.counted):
            self.costs[k + place] = instance.classes[c].count or 0
        self.costs[-2] = problem.max_devices or 0
        self.costs[-1] = problem.max_moves or 0
        dearest = max([1.0, *(cls.price for cls in instance.classes)])
        if flexible:
            dearest = max([item.penalty for item in instance.items], default=1.0) or 1.0
        self.largest = 1e4 * dearest * (len(instance.items) + 1)
        self.most = np.full(self.size, np.inf)
        self.most[k:] = BOX * dearest if not feasibility else 1.0
        if problem.max_devices is None:
            self.most[-2] = 0.0
        if problem.max_moves is None or not problem.current:
            self.most[-1] = 0.0
        self.rows: list[tuple[Any, float]] = []  # coefficients . x <= right-hand side
        of_type = [self.cells[:, 0] == t for t in range(types)]
        for c, cls in enumerate(instance.classes):
            side = np.zeros(self.size)
            if c in self.counted:
                side[k + self.counted.index(c)] = -1.0
            side[-2] = -1.0
            for kinds in ((cls.type,), *cls.partitions):
                row = side.copy()
                for t in kinds:
                    row[:k] += of_type[t]
                self.rows.append((row, cls.price * self.free))
        if feasibility:  # a scale for prices: the sum of all device classes' is one
            row = np.zeros(self.size)
            row[:k] = 1.0
            self.rows.append((row, float(max(1, types))))
        self.reached = np.zeros(k, bool)
        for row, _ in self.rows[: len(self.rows) - int(feasibility)]:
            self.reached |= row[:k] > 0
        self.most[:k][~self.reached] = 0.0  # types that no device offers

    def start(self) -> Any:
        """Prices spread evenly over the resources of each type."""
        point = np.zeros(self.size)
        k = len(self.cells)
        for row, limit in self.rows:
            mine = row[:k] > 0
            if mine.any() and limit < np.inf:
                each = max(limit, 0.0) / row[:k].sum()
                point[:k] = np.where(
                    mine, np.where(point[:k] > 0, np.minimum(point[:k], each), each), point[:k]
                )
        point[:k] = np.where(self.reached, point[:k], 0.0)
        return self.inside(point)

    def inside(self, point: Any) -> Any:
        """The point, moved so that every constraint holds in spite of rounding."""
        point = np.clip(point, 0.0, self.most)
        k = len(self.cells)
        factor = 1.0
        for row, limit in self.rows:
            have = float(row[:k] @ point[:k])
            may = limit - float(row[k:] @ point[k:])
            if have > may * (1 - 1e-12):
                factor = min(factor, max(0.0, may) / have * (1 - 1e-11)) if have > 0 else factor
        point[:k] *= factor
        return point

    def split(self, point: Any) -> tuple[Any, float]:
        """The prices as a table, and that of a move."""
        prices = np.zeros(self.instance.limited.shape)
        prices[self.cells[:, 0], self.cells[:, 1]] = point[: len(self.cells)]
        return prices, float(point[-1])

    def cost(self, point: Any) -> float:
        """What limits on devices and moves take off the bound."""
        return float(self.costs @ point)

    def master(self) -> _Master:
        """A linear program without cuts."""
        return _Master(self)


class _Master:
    """maximise theta - costs·x over the cuts theta <= constant + usage·x."""

    def __init__(self, dual: _Dual) -> None:
        from ortools.linear_solver import pywraplp

        self.dual = dual
        self.lp = pywraplp.Solver.CreateSolver("GLOP")
        infinity = self.lp.infinity()
        self.x = [self.lp.NumVar(0.0, min(float(m), infinity), "") for m in dual.most]
        self.theta = self.lp.NumVar(-dual.largest, dual.largest, "")  # GLOP fails without
        for row, limit in dual.rows:
            constraint = self.lp.Constraint(-infinity, float(limit))
            for place in np.flatnonzero(row):
                constraint.SetCoefficient(self.x[place], float(row[place]))
        goal = self.lp.Objective()
        goal.SetMaximization()
        goal.SetCoefficient(self.theta, 1.0)
        for place in np.flatnonzero(dual.costs):
            goal.SetCoefficient(self.x[place], -float(dual.costs[place]))

    def add(self, constant: float, usage: Any, moved: float) -> tuple[float, Any]:
        """The master's value and point with one more cut."""
        from ortools.linear_solver import pywraplp

        cut = self.lp.Constraint(-self.lp.infinity(), float(constant))
        cut.SetCoefficient(self.theta, 1.0)
        for place, (t, r) in enumerate(self.dual.cells):
            cut.SetCoefficient(self.x[place], -float(usage[t, r]))
        cut.SetCoefficient(self.x[-1], -float(moved))
        if self.lp.Solve() != pywraplp.Solver.OPTIMAL:
            return np.inf, np.zeros(self.dual.size)
        return self.lp.Objective().Value(), np.array([x.solution_value() for x in self.x])
