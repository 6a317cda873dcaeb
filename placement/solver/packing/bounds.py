"""Lower bounds on the price of any packing, in exact integers.

Surrogate: weights on the resources of each bin type make one size of all needs. An item's size is
that of its cheapest option, in money; a bin holds at most its price of it. The weights are those
whose sum of sizes is greatest; dual feasible functions sharpen them where all bins are of one type
(Fekete and Schepers, "New classes of fast lower bounds for bin packing problems", 2001).
Farley ("A note on bounding a class of linear programming problems", 1990): item values of which
each bin type provably holds no more than z[b] bound the price likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from placement.solver.packing.table import Table

WHOLE = 1 << 20  # a bin's capacity as a surrogate size


@dataclass(frozen=True)
class Surrogate:
    """Weights per bin type (summing to 1 over the resources), item sizes in money, the bound."""

    weights: Any  # (bins, R), relative to capacity
    sizes: Any  # (items,), in units of item values, rounded down
    bound: int  # a price


def farley(table: Table, values: Any, most: list[int]) -> Fraction:
    """The bound from item values of which a bin of type b holds no more than most[b].

    Values divided by a scale s are dual prices when no bin without a limit on its number holds
    more than its price; bins with a limit pay for what they hold beyond it.
    """
    bins = table.instance.bins
    total = int((values.astype(object) * table.counts).sum())
    money = table.value_of_money
    scales = {
        z / (kind.price * money)
        for z, kind in zip(most, bins, strict=True)
        if kind.price > 0 and z > 0
    }
    least = max(
        (
            z / (kind.price * money) if kind.price else None
            for z, kind in zip(most, bins, strict=True)
            if kind.available is None and z > 0
        ),
        key=lambda scale: (scale is None, scale or 0),
        default=Fraction(0),
    )
    if least is None or not scales:  # bins for nothing, as many as wanted; or no values
        return Fraction(0)
    best = Fraction(0)
    for scale in scales:
        if scale < least:
            continue
        paid = sum(
            (
                kind.available * max(Fraction(0), z / money / scale - kind.price)
                for z, kind in zip(most, bins, strict=True)
                if kind.available is not None
            ),
            Fraction(0),
        )
        best = max(best, total / money / scale - paid)
    return best


def to_price(table: Table, bound: Fraction) -> int:
    """The least sum of prices that is not below the bound."""
    step = table.instance.step()
    return -(-bound // step) * step


def surrogate(table: Table, steps: int = 150) -> Surrogate:
    """The best weights that a subgradient search finds, with the bound that they prove."""
    bins = table.instance.bins
    resources = len(bins[0].capacity)
    shape = (len(bins), resources)
    relative = [e.needs / np.maximum(e.capacity, 1) for e in table.entries]
    kinds = np.concatenate([np.full(len(e.owner), b) for b, e in enumerate(table.entries)])
    owner = np.concatenate([e.owner for e in table.entries])
    sizes = np.concatenate(relative) * np.asarray([float(k.price) for k in bins])[kinds, None]
    order = np.argsort(owner, kind="stable")
    kinds, owner, sizes = kinds[order], owner[order], sizes[order]
    firsts = np.flatnonzero(np.r_[True, np.diff(owner) != 0])
    lengths = np.diff(np.r_[firsts, len(owner)])
    # Resources without a capacity weigh nothing: their needs are all zero.
    usable = np.asarray([[c > 0 for c in kind.capacity] for kind in bins])
    w = np.where(usable, 1.0, 0.0) / np.maximum(1, usable.sum(axis=1, keepdims=True))
    best, best_w = -1.0, w
    trials = [w]
    for r in range(resources):
        if usable[:, r].all() and resources > 1:
            alone = np.zeros(shape)
            alone[:, r] = 1.0
            trials.append(alone)

    def evaluate(w: Any) -> tuple[float, Any]:
        cost = (sizes * w[kinds]).sum(axis=1)
        least = np.minimum.reduceat(cost, firsts)
        total = float((least * table.counts).sum())
        chosen = cost <= np.repeat(least, lengths)
        number = np.cumsum(chosen)
        chosen &= number - np.repeat(number[firsts] - chosen[firsts], lengths) == 1  # the first
        slope = np.zeros(shape)
        np.add.at(slope, kinds[chosen], sizes[chosen] * table.counts[owner[chosen], None])
        return total, slope

    for number in range(steps if resources > 1 or len(bins) > 1 else 1):
        total, slope = evaluate(w)
        if total > best:
            best, best_w = total, w
        slope = np.where(usable, slope, 0.0)
        # Multiplicative steps stay on the simplex of each bin type.
        push = np.exp(0.5 * 0.97**number * slope / max(float(np.abs(slope).max()), 1e-12))
        w = np.where(usable, w * push, 0.0)
        w /= np.maximum(w.sum(axis=1, keepdims=True), 1e-12)
    trials.append(best_w)
    bound = max(_proven(table, np.where(usable, trial, 0.0)) for trial in trials)
    bound = max(bound, _alone(table))
    return Surrogate(best_w, _sizes(table, best_w), bound)


def _whole_weights(w: Any, whole: int) -> list[list[int]]:
    """Weights in whole numbers whose sum per bin type does not exceed `whole`."""
    return [[int(x * whole) for x in row] for row in w]


def _sizes(table: Table, w: Any) -> Any:
    """Each item's least surrogate size over its options, in units of item values."""
    found = np.full(len(table.counts), np.iinfo(np.int64).max)
    for b, entries in enumerate(table.entries):
        cost = np.zeros(len(entries.owner), np.int64)
        for r, weight in enumerate(_whole_weights(w, table.worth(b))[b]):
            capacity = max(1, int(entries.capacity[r]))
            cost += entries.needs[:, r] * weight // capacity
        np.minimum.at(found, entries.owner, cost)
    return np.where(table.counts > 0, found, 0)


def _proven(table: Table, w: Any) -> int:
    """The bound of these weights; sharpened by functions when there is one bin type."""
    sizes = _sizes(table, w)
    # Rounded down one by one, sizes in a bin add up to at most its price.
    worths = [table.worth(b) for b in range(len(table.entries))]
    bound = to_price(table, farley(table, sizes, worths))
    if len(worths) == 1 and table.instance.bins[0].price > 0:
        bins = _dual_feasible(np.repeat(sizes, table.counts), worths[0])
        bound = max(bound, bins * table.instance.bins[0].price)
    return bound


def _alone(table: Table) -> int:
    """The bound of each resource by itself, in its own units, where all bins are of one type."""
    if len(table.entries) > 1 or table.instance.bins[0].price == 0:
        return 0
    entries = table.entries[0]
    most = 0
    for r, capacity in enumerate(entries.capacity):
        if capacity > 0:
            least = np.full(len(table.counts), np.iinfo(np.int64).max)
            np.minimum.at(least, entries.owner, entries.needs[:, r])
            most = max(most, _dual_feasible(np.repeat(least, table.counts), int(capacity)))
    return most * table.instance.bins[0].price


def _dual_feasible(sizes: Any, capacity: int) -> int:
    """Bins of one capacity: the best over the functions U (L2) and f0, in exact integers."""
    sizes = np.sort(sizes)
    total = np.r_[0, np.cumsum(sizes)]
    best = -(-int(total[-1]) // capacity)
    n = len(sizes)
    for small in np.unique(np.r_[0, sizes[2 * sizes <= capacity]])[:4000]:
        # Above capacity - small: alone in the bin; below small: nothing; else as it is.
        low = int(np.searchsorted(sizes, small, side="left"))
        high = int(np.searchsorted(sizes, capacity - small, side="right"))
        size = (n - high) * capacity + int(total[high] - total[low])
        best = max(best, -(-size // capacity))
    for k in range(1, 31):
        # f1 of Fekete and Schepers: (k+1)x whole stays, else floor((k+1)x)/k; capacity is k.
        scaled = (k + 1) * sizes
        whole = scaled % capacity == 0
        value = np.where(whole, k * sizes, scaled // capacity * capacity)
        best = max(best, -(-int(value.sum()) // (k * capacity)))
    return best
