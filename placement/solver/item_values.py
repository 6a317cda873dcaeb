"""What each item costs at least at given dual prices, and the use of the plans that attain it.

An item may run as one replica, as several, or be left at its penalty. The least over these is a
concave, piecewise linear function of the prices, as it is the minimum of functions that are linear
for each plan: the use of the cheapest plan is its supergradient, which the cutting planes of
`relaxation.py` need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.solver.instance import Instance, owns

CELLS = 400_000  # of a table of pairs that is looked at in one go

_Part = tuple[Any, Any, Any, Any]  # by item: row, replicas, shares, penalty paid


@dataclass(frozen=True)
class _Plans:
    """By item: what a plan costs, and what it consists of."""

    cost: Any
    parts: list[_Part]


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
        self.alone = self.ok & (self.replicas <= 1)[:, None]
        if self.must:
            self.alone &= self.part <= 1 + 1e-12
            self.penalty = np.full(n, np.inf)
        self.share_of_one = np.minimum(self.part, 1.0)
        paid = np.where(np.isfinite(self.penalty), self.penalty, 0.0)[:, None]
        self.beyond_one = paid * np.maximum(0.0, 1.0 - 1.0 / np.maximum(self.part, 1.0))
        self.unit_penalty = self.penalty / np.where(self.rate > 0, self.rate, 1.0)
        least = np.where(self.ok, self.part, 0).max(axis=1)
        mean = (least > 1 + 1e-12) | (self.replicas > 1)
        self.several = np.flatnonzero(mean & self.ok.any(axis=1))
        self.moves = self._moves()

    def _moves(self) -> Any:
        """Moves that a replica makes in any case: none of the row's type runs the item now."""
        instance = self.instance
        moves = np.zeros(len(instance.throughput))
        if not instance.problem.current:
            return moves
        of_pool = {pool.name: (pool, cls) for cls in instance.classes for pool in cls.pools}
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
        """Values, and by row how many replicas and shares of all plans; penalties paid.

        An item is the least of: one replica; several; none that carries anything, at its penalty.
        """
        instance = self.instance
        bases = np.zeros(len(instance.throughput))
        shares = np.zeros_like(bases)
        if not len(bases):
            return np.zeros(len(self.rate)), bases, shares, 0.0
        of_row = prices[instance.type_of]
        there = (instance.base * of_row).sum(axis=1) + self.moves * (self.move_price + move)
        full = (instance.slope * of_row).sum(axis=1)
        h = np.where(self.ok, there[self.row], np.inf)
        c = np.where(self.ok, full[self.row], 0.0)
        plans = [self._one(h, c)]
        least, cheapest = self._least(h)
        if len(self.several):
            several = self._pairs(h, c, least, cheapest) if fine else self._linear(h, c)
            plans.append(several)
        if not self.must:
            plans.append(self._none(least, cheapest))
        costs = np.stack([p.cost for p in plans])
        best = costs.argmin(axis=0)
        values = costs[best, np.arange(len(self.rate))]
        constant = 0.0
        for number, plan in enumerate(plans):
            mine = np.flatnonzero((best == number) & np.isfinite(values))
            for row, count, share, paid in plan.parts:
                np.add.at(bases, row[mine], count[mine])
                np.add.at(shares, row[mine], share[mine])
                constant += float(paid[mine].sum())
        values[~np.isfinite(values)] = 0.0
        return values, bases, shares, constant

    def _one(self, h: Any, c: Any) -> _Plans:
        """One replica, at full share or as much as the rate needs; what is beyond is left."""
        number = np.arange(len(self.rate))
        single = np.where(self.alone, h + c * self.share_of_one + self.beyond_one, np.inf)
        best = number, single.argmin(axis=1)
        part = self.row[best], np.ones(len(number)), self.share_of_one[best], self.beyond_one[best]
        return _Plans(single[best], [part])

    def _none(self, least: Any, cheapest: Any) -> _Plans:
        """The replicas that are demanded stand by, or there is none; the whole penalty is paid."""
        bare = np.where(self.replicas > 0, self.replicas * least, 0.0)
        nothing = np.zeros(len(self.rate))
        return _Plans(bare + self.penalty, [(cheapest, self.replicas, nothing, self.penalty)])

    def _least(self, h: Any) -> tuple[Any, Any]:
        """What a replica that carries nothing costs, and its row."""
        best = h.argmin(axis=1)
        number = np.arange(len(self.rate))
        return np.where(np.isfinite(h[number, best]), h[number, best], 0.0), self.row[number, best]

    def _best_whole(self, h: Any, c: Any) -> tuple[Any, Any, Any]:
        """The row whose full replicas carry a unit for least, that price, and its throughput."""
        number = np.arange(len(self.rate))
        whole = np.where(self.ok, (h + c) / self.throughput, np.inf)
        best = whole.argmin(axis=1)
        return self.row[number, best], whole[number, best], self.throughput[number, best]

    def _linear(self, h: Any, c: Any) -> _Plans:
        """Several replicas that carry all at the best price per unit; less than any plan costs."""
        n, mine = len(self.rate), self.several
        row, unit, speed = self._best_whole(h, c)
        cost = np.full(n, np.inf)
        cost[mine] = self.rate[mine] * np.minimum(unit, self.unit_penalty)[mine]
        part = row, np.zeros(n), np.zeros(n), np.zeros(n)
        _carry(
            part, mine, self.rate[mine], unit[mine], self.unit_penalty[mine], speed[mine],
            whole=True,
        )  # fmt: skip
        return _Plans(cost, [part])

    def _pairs(self, h: Any, c: Any, least: Any, cheapest: Any) -> _Plans:
        """Two replicas, filled one after the other, and further ones at the best price per unit.

        Of any replicas the two that carry a unit for least may as well be filled first; each
        further one costs no less per unit than the best full one. What costs more than the penalty
        is left at it. `least`, `cheapest`: what a replica that carries nothing costs, and its row.
        """
        n = len(self.rate)
        best_row, best_unit, speed = self._best_whole(h, c)
        cost = np.full(n, np.inf)
        rows = best_row.copy(), best_row.copy(), best_row, cheapest
        parts = [(row, np.zeros(n), np.zeros(n), np.zeros(n)) for row in rows]
        width = self.ok.shape[1]
        step = max(1, CELLS // width**2)
        unit = np.where(self.ok, c / self.throughput, 0.0)
        there = np.where(self.ok, h, 0.0)
        for start in range(0, len(self.several), step):
            mine = self.several[start : start + step]
            most = self.unit_penalty[mine][:, None, None]
            rate = self.rate[mine][:, None, None]
            one, two = self.throughput[mine][:, :, None], self.throughput[mine][:, None, :]
            first = np.minimum(rate, one)
            second = np.minimum(rate - first, two)
            rest = rate - first - second
            spare = np.maximum(0, self.replicas[mine] - 2)[:, None, None] * (rest <= 0)
            ok = self.ok[mine]
            pair = (
                there[mine][:, :, None] + there[mine][:, None, :]
                + np.minimum(unit[mine][:, :, None], most) * first
                + np.minimum(unit[mine][:, None, :], most) * second
                + np.minimum(best_unit[mine][:, None, None], most) * rest
                + spare * least[mine][:, None, None]
            )  # fmt: skip
            pair = np.where(ok[:, :, None] & ok[:, None, :], pair, np.inf).reshape(len(mine), -1)
            place = pair.argmin(axis=1)
            number = np.arange(len(mine))
            cost[mine] = pair[number, place]
            k, m = place // width, place % width
            amounts = np.broadcast_to(first, rest.shape), second, rest
            carried = [amount[number, k, m] for amount in amounts]
            for part, which, amount in zip(parts, (k, m), carried, strict=False):
                part[0][mine] = self.row[mine, which]
                part[1][mine] = 1.0
                at = self.throughput[mine, which]
                _carry(part, mine, amount, unit[mine, which], self.unit_penalty[mine], at)
            _carry(
                parts[2], mine, carried[2], best_unit[mine], self.unit_penalty[mine], speed[mine],
                whole=True,
            )  # fmt: skip
            parts[3][1][mine] = spare[number, k, m]
        return _Plans(cost, parts)


def _carry(
    part: _Part, mine: Any, amount: Any, unit: Any, penalty: Any, speed: Any, *, whole: bool = False
) -> None:
    """Note an amount of rate as carried by the part's row, or as left where that is cheaper."""
    carried = unit <= penalty
    share = np.where(carried, amount / speed, 0.0)
    part[2][mine] = share
    if whole:
        part[1][mine] = share
    part[3][mine] = np.where(carried, 0.0, penalty) * amount


def _types_of(instance: Instance, of_pool: Any, device: str) -> set[int]:
    """The type of a named device, or of a named slice."""
    parent, _, part = device.partition("/")
    for pool, cls in of_pool.values():
        if owns(pool, device):
            return {cls.type}
        if part and owns(pool, parent):
            name = part.rsplit("-", 1)[0]
            return {t for t, known in enumerate(instance.types) if known == name}
    return set()
