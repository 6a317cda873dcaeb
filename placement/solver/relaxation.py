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
from placement.solver.result import Deadline

MARGIN = 1e-9
REFUTED = 1e-3  # a bound of the feasibility problem, beyond which no better one is looked for
ROUNDS = 150  # of cutting planes, for each of the two precisions
CLOSE = 1e-4  # relative gap between the master and the best prices at which a phase ends
INWARD = 0.35  # part of the way from the best prices to those that the master proposes
BOX = 30.0  # times the dearest device: the most that m, n and w may be
SAMPLE = 5_000  # items; of more, so many are looked at first
CELLS = 400_000  # of a table of pairs that is looked at in one go


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


class ItemValues:
    """The least cost of each item at given prices, and the use of the plans that attain it."""

    def __init__(self, instance: Instance, move_price: float) -> None:
        self.instance, self.move_price = instance, move_price
        items = instance.items
        n = len(items)
        width = max((i.rows.stop - i.rows.start for i in items), default=0) or 1
        first = np.array([i.rows.start for i in items], dtype=int)
        length = np.array([i.rows.stop - i.rows.start for i in items], dtype=int)
        places = np.arange(width)
        self.ok = places[None, :] < length[:, None]
        self.row = np.where(self.ok, first[:, None] + places[None, :], 0)
        self.rate = np.array([i.rate for i in items])
        self.replicas = np.array([i.replicas for i in items])
        self.penalty = np.array([i.penalty for i in items])
        self.must = not instance.flexible
        if len(instance.throughput) == 0:
            self.ok = np.zeros((n, 1), bool)
            self.row = np.zeros((n, 1), int)
            self.part = np.zeros((n, 1))
        else:
            self.throughput = np.where(self.ok, instance.throughput[self.row], 1.0)
            self.part = self.rate[:, None] / self.throughput  # of full replicas
        asked = (self.rate > 0) | (self.replicas > 0)
        self.ok &= asked[:, None]
        self.alone = self.ok & (self.part <= 1 + 1e-12) & (self.replicas <= 1)[:, None]
        least = np.where(self.ok, self.part, 0).max(axis=1)
        mean = (least > 1 + 1e-12) | (self.replicas > 1)
        self.several = np.flatnonzero(mean & self.ok.any(axis=1))
        self.moves = self._moves()

    def _moves(self) -> Any:
        """Moves that a replica makes in any case: none of the row's type runs the item now."""
        instance = self.instance
        moves = np.zeros(len(instance.throughput))
        of_pool = {
            pool.name: (pool, cls) for cls in instance.classes for pool in cls.pools
        }  # fmt: skip
        if not instance.problem.current:
            return moves
        excluded = set(instance.problem.rules.excluded_devices)
        for item in instance.items:
            if not item.running or len(item.members) > 1:
                continue
            kinds: set[int] = set()
            for device in item.current - excluded:
                if device.partition("/")[0] not in excluded:
                    kinds |= _types_of(instance, of_pool, device)
            for j in range(item.rows.start, item.rows.stop):
                if instance.type_of[j] not in kinds:
                    moves[j] = item.running
        return moves

    def values(self, prices: Any, move: float, *, fine: bool) -> Any:
        """The values alone."""
        return self._evaluate(prices, move, fine=fine)[0]

    def cut(self, prices: Any, move: float, *, fine: bool) -> tuple[float, Any, float, float]:
        """The sum of the values, and the linear function of prices that is nowhere below it."""
        values, bases, shares, constant = self._evaluate(prices, move, fine=fine)
        instance = self.instance
        use = instance.base * bases[:, None] + instance.slope * shares[:, None]
        types, resources = instance.limited.shape
        usage = np.empty((types, resources))
        for r in range(resources):
            usage[:, r] = np.bincount(instance.type_of, weights=use[:, r], minlength=types)
        moved = float(bases @ self.moves)
        constant += moved * self.move_price
        return float(values.sum()), usage, moved, constant

    def _evaluate(self, prices: Any, move: float, *, fine: bool) -> tuple[Any, Any, Any, float]:
        """Values, and by row how many replicas and shares of all plans; penalties paid."""
        instance = self.instance
        n = len(self.rate)
        bases = np.zeros(len(instance.throughput))
        shares = np.zeros_like(bases)
        if not len(bases):
            return np.zeros(n), bases, shares, 0.0
        of_row = prices[instance.type_of]
        there = (instance.base * of_row).sum(axis=1) + self.moves * (self.move_price + move)
        full = (instance.slope * of_row).sum(axis=1)
        h = np.where(self.ok, there[self.row], np.inf)
        c = np.where(self.ok, full[self.row], 0.0)
        number = np.arange(n)
        whole = (h + c) / self.throughput  # price of a unit of rate by full replicas
        best_whole = whole.argmin(axis=1)
        each = whole[number, best_whole]
        if not self.must:
            values, constant = self._penalised(h, c, bases, shares)
            return values, bases, shares, constant
        single = np.where(self.alone, h + c * np.minimum(self.part, 1.0), np.inf)
        best_single = single.argmin(axis=1)
        values = single[number, best_single]
        plain = np.isfinite(values)
        if len(self.several):
            plain[self.several] = False
            self._pairs(fine, h, c, each, best_whole, single, values, bases, shares)
        mine = np.flatnonzero(plain)
        rows = self.row[mine, best_single[mine]]
        np.add.at(bases, rows, 1.0)
        np.add.at(shares, rows, np.minimum(self.part[mine, best_single[mine]], 1.0))
        values[~np.isfinite(values)] = 0.0
        return values, bases, shares, 0.0

    def _penalised(self, h: Any, c: Any, bases: Any, shares: Any) -> tuple[Any, float]:
        """Values where a part x of the rate may be left at a penalty: the least of

        - standing by: the replicas that are demanded, or nothing, and the whole penalty;
        - one replica at full share, or as much of it as the rate needs;
        - several, which take at least their bases, and x times what all of the rate costs.
        """
        number = np.arange(len(self.rate))
        ok, part, penalty = self.ok, self.part, self.penalty
        there = np.where(ok, h, 0.0)
        least = np.where(ok.any(axis=1), np.where(ok, h, np.inf).min(axis=1), 0.0)
        cheapest = np.where(ok, h, np.inf).argmin(axis=1)
        idle = self.replicas * least + penalty
        one = there + c * np.minimum(part, 1.0)
        left = penalty[:, None] * np.maximum(0.0, 1.0 - 1.0 / np.maximum(part, 1.0))
        one = np.where(ok & (self.replicas <= 1)[:, None], one + left, np.inf)
        best_one = one.argmin(axis=1)
        alone = one[number, best_one]
        linear = np.where(ok, np.where(part <= 1, there + c * part, (there + c) * part), np.inf)
        best_linear = linear.argmin(axis=1)
        whole = linear[number, best_linear]
        count = np.maximum(2, self.replicas)
        bare = count * least
        some = ok.any(axis=1) & ((self.replicas > 1) | (np.where(ok, part, 0.0).max(axis=1) > 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(whole > 0, np.minimum(1.0, bare / whole), 1.0)
        reach = np.nan_to_num(reach, nan=1.0)
        partly = np.where(some, bare + penalty * (1.0 - reach), np.inf)
        wholly = np.where(some, np.maximum(bare, whole), np.inf)
        every = np.stack([idle, alone, partly, wholly])
        way = every.argmin(axis=0)
        values = every[way, number]
        constant = float(penalty[way == 0].sum() + (penalty * (1.0 - reach))[way == 2].sum())
        standing = np.flatnonzero((way == 0) & ok.any(axis=1))
        np.add.at(bases, self.row[standing, cheapest[standing]], self.replicas[standing] * 1.0)
        mine = np.flatnonzero(way == 1)
        rows = self.row[mine, best_one[mine]]
        np.add.at(bases, rows, 1.0)
        np.add.at(shares, rows, np.minimum(part[mine, best_one[mine]], 1.0))
        constant += float(left[mine, best_one[mine]].sum())
        mine = np.flatnonzero((way == 2) | ((way == 3) & (bare > whole)))
        np.add.at(bases, self.row[mine, cheapest[mine]], count[mine] * 1.0)
        mine = np.flatnonzero((way == 3) & (bare <= whole))
        rows = self.row[mine, best_linear[mine]]
        np.add.at(bases, rows, np.maximum(1.0, part[mine, best_linear[mine]]))
        np.add.at(shares, rows, part[mine, best_linear[mine]])
        return values, constant

    def _pairs(
        self, fine: bool, h: Any, c: Any, each: Any, best_whole: Any, single: Any,
        values: Any, bases: Any, shares: Any,
    ) -> None:  # fmt: skip
        """Items of which several replicas may be cheaper than one, or are demanded."""
        several, width = self.several, self.ok.shape[1]
        if not fine:
            cost = each[several] * self.rate[several]
            enough = self.replicas[several] * h[several].min(axis=1)
            one = values[several]
            values[several] = np.minimum(one, np.maximum(cost, 0.0))
            by_one = one <= cost
            alone = several[by_one]
            rows = self.row[alone, single[alone].argmin(axis=1)]
            np.add.at(bases, rows, 1.0)
            np.add.at(shares, rows, self.part[alone, single[alone].argmin(axis=1)])
            rest = several[~by_one]
            rows = self.row[rest, best_whole[rest]]
            count = self.part[rest, best_whole[rest]]
            np.add.at(bases, rows, count)
            np.add.at(shares, rows, count)
            del enough
            return
        step = max(1, CELLS // width**2)
        for start in range(0, len(several), step):
            mine = several[start : start + step]
            rate = self.rate[mine][:, None, None]
            one, two = self.throughput[mine][:, :, None], self.throughput[mine][:, None, :]
            first = np.minimum(rate, one)
            second = np.minimum(rate - first, two)
            rest = rate - first - second
            ok = self.ok[mine]
            there = np.where(ok, h[mine], 0.0)
            unit = np.where(ok, c[mine] / self.throughput[mine], 0.0)
            cost = (
                there[:, :, None] + there[:, None, :]
                + unit[:, :, None] * first + unit[:, None, :] * second
                + each[mine][:, None, None] * rest
            )  # fmt: skip
            cost = np.where(ok[:, :, None] & ok[:, None, :], cost, np.inf).reshape(len(mine), -1)
            place = cost.argmin(axis=1)
            number = np.arange(len(mine))
            pair = cost[number, place]
            k, m = place // width, place % width
            alone = single[mine].argmin(axis=1)
            by_one = single[mine][number, alone] <= pair
            values[mine] = np.minimum(single[mine][number, alone], pair)
            rows = self.row[mine[by_one], alone[by_one]]
            np.add.at(bases, rows, 1.0)
            np.add.at(shares, rows, np.minimum(1.0, self.part[mine[by_one], alone[by_one]]))
            by_two = np.flatnonzero(~by_one)
            for places, amount in ((k, first[:, :, 0]), (m, second)):
                rows = self.row[mine[by_two], places[by_two]]
                carried = (
                    amount[by_two, places[by_two]]
                    if amount.ndim == 2
                    else amount[by_two, k[by_two], m[by_two]]
                )
                np.add.at(bases, rows, 1.0)
                np.add.at(shares, rows, carried / self.throughput[mine[by_two], places[by_two]])
            rows = self.row[mine[by_two], best_whole[mine[by_two]]]
            left = rest[by_two, k[by_two], m[by_two]]
            count = left / self.throughput[mine[by_two], best_whole[mine[by_two]]]
            np.add.at(bases, rows, count)
            np.add.at(shares, rows, count)


def _types_of(instance: Instance, of_pool: Any, device: str) -> set[int]:
    """The type of a named device, or of a named slice."""
    from placement.solver.instance import owns

    parent, _, part = device.partition("/")
    for pool, cls in of_pool.values():
        if owns(pool, device):
            return {cls.type}
        if part and owns(pool, parent):
            name = part.rsplit("-", 1)[0]
            return {t for t, known in enumerate(instance.types) if known == name}
    return set()
