"""Many bins filled at once, each from items of its own: the same narrow search as array operations.

Where items are many, windows that have none in common are dealt to some hundred bins. A beam search
fills all of these side by side: a state takes one more entry, of a later item in the order of value
for size, and of all that follow in one bin the `width` best stay,

    score = value + value of what is left, at the best ratio of value to size of what may follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.instance import Packing
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

BATCH = 192  # bins at once
LEFT = 2000  # copies that are left to a search bin by bin
FRONT = 4  # one in so many of a window is of the most valuable


def fill_batches(
    table: Table,
    values: Any,
    rest: Any,
    left: list[int | None],
    weights: list[Any],
    random: np.random.Generator,
    deadline: Deadline,
    width: int,
    window: int,
) -> list[Packing] | None:
    """Bins for most of the copies, which are taken off `rest` and `left`; None past the time."""
    order = np.argsort(-values, kind="stable")
    order = np.repeat(order, rest[order])
    kinds = [_Kind(table, b, values, np.asarray(w, float)) for b, w in enumerate(weights)]
    # Items of the same bin types go together: what cannot go into a bin has no place in its window.
    fitting = np.zeros(len(rest), np.int64)
    for b, entries in enumerate(table.entries):
        fitting[np.unique(entries.owner)] += 1 << b
    bins: list[Packing] = []
    for which in np.unique(fitting[order]).tolist():
        found = _fill(
            table, {b: kind for b, kind in enumerate(kinds) if which >> b & 1},
            order[fitting[order] == which], rest, left, random, deadline, width, window,
        )  # fmt: skip
        if found is None:
            return None
        bins += found
    return bins


def _fill(
    table: Table, kinds: dict[int, _Kind], order: Any, rest: Any, left: list[int | None],
    random: np.random.Generator, deadline: Deadline, width: int, window: int,
) -> list[Packing] | None:  # fmt: skip
    """The same for copies in `order`, all of which fit the same kinds of bins."""
    bins: list[Packing] = []
    while len(order) > LEFT:
        if deadline.left_s <= 0:
            return None
        number = min(BATCH, len(order) // (2 * window))
        open_kinds = [b for b in kinds if left[b] != 0]
        number = min([number, *(n for b in open_kinds if (n := left[b]) is not None)])
        if number < 1 or not open_kinds:
            break
        places = _deal(len(order), number, window, random)
        items = order[places]
        best = np.full(number, -1.0)
        chosen: list[tuple[int, list[int], list[int]] | None] = [None] * number
        for b in open_kinds:
            price = table.instance.bins[b].price
            found, value = kinds[b].search(items, width)
            rate = value / price if price else np.where(value > 0, np.inf, -1.0)
            for n in np.flatnonzero((rate > best) & (value > 0)).tolist():
                best[n] = rate[n]
                chosen[n] = (b, *found(n))
        used = np.zeros(len(order), bool)
        for n, way in enumerate(chosen):
            if way is None:
                continue
            b, entries, columns = way
            bins.append(table.packing(b, entries))
            used[places[n, columns]] = True
            number_left = left[b]
            if number_left is not None:
                left[b] = number_left - 1
        if not used.any():
            break
        np.subtract.at(rest, order[used], 1)
        order = order[~used]
    return bins


def _deal(length: int, number: int, window: int, random: np.random.Generator) -> Any:
    """Places (bins, window): a part from the front, the rest evenly from what follows it."""
    first = window // FRONT
    front = np.arange(number * first).reshape(first, number).T
    others = number * (window - first)
    step = (length - number * first) / others
    # Distinct, as the steps are at least one; each bin has some of all sizes.
    places = number * first + (step * (np.arange(others) + random.uniform(0, 1))).astype(int)
    places = np.minimum(places, length - 1).reshape(window - first, number)
    return np.concatenate([front, random.permuted(places, axis=1).T], axis=1)


class _Kind:
    """The entries of a bin type by item."""

    def __init__(self, table: Table, kind: int, values: Any, weights: Any) -> None:
        entries = table.entries[kind]
        self.entries = entries
        number = np.bincount(entries.owner, minlength=len(table.counts))
        self.most: int = max(number.tolist(), default=0)
        first = np.cumsum(number) - number
        options = np.arange(self.most)
        # (items, options): the entry, or one that fits no bin
        self.entry = np.where(
            options < number[:, None], first[:, None] + options, len(entries.owner)
        )
        needs = entries.needs.astype(float)
        cost = needs @ weights
        value = values[entries.owner].astype(float)
        self.capacity = entries.capacity.astype(float)
        self.needs = np.vstack([needs, self.capacity + 1.0])
        self.cost = np.append(cost, 1.0)
        self.value = np.append(value, 0.0)
        self.ratio = np.append(value / np.maximum(cost, 1e-9), -1.0)
        self.weights = weights

    def search(self, items: Any, width: int) -> tuple[Any, Any]:
        """For each row of items a packing, as a function of its number, and the values."""
        bins, window = items.shape
        entry = self.entry[items]  # (bins, window, options)
        best = self.ratio[entry].max(axis=2)
        order = np.argsort(-best, axis=1, kind="stable")
        entry = np.take_along_axis(entry, order[:, :, None], axis=1).reshape(bins, -1)
        group = np.repeat(np.arange(window), self.most)
        ratio = self.ratio[entry]
        steep = np.maximum.accumulate(ratio[:, ::-1], axis=1)[:, ::-1]
        needs = [self.needs[entry, r][:, None, :] for r in range(len(self.capacity))]
        value, cost = self.value[entry], self.cost[entry]
        gain = (value - cost * steep)[:, None, :]
        steep = steep[:, None, :]
        rem = np.tile(self.capacity, (bins, 1, 1))
        got = np.zeros((bins, 1))
        last = np.full((bins, 1), -1)
        top, top_place = np.zeros(bins), np.full((bins, 2), -1)
        levels: list[tuple[Any, Any]] = []
        rows = np.arange(bins)[:, None]
        size = entry.shape[1]
        while True:
            score = (rem @ self.weights)[:, :, None] * steep
            score += gain
            score += got[:, :, None]
            bad = group <= last[:, :, None]
            for r, need in enumerate(needs):
                bad |= need > rem[:, :, r, None]
            score[bad] = -np.inf
            score = score.reshape(bins, -1)
            if score.shape[1] > width:
                places = np.argpartition(-score, width - 1, axis=1)[:, :width]
            else:
                places = np.tile(np.arange(score.shape[1]), (bins, 1))
            alive = score[rows, places] > -np.inf
            if not alive.any():
                break
            parent, column = places // size, places % size
            levels.append((parent, column))
            got = np.where(alive, got[rows, parent] + value[rows, column], -np.inf)
            rem = rem[rows, parent] - self.needs[entry[rows, column]]
            rem[~alive] = -1.0
            last = group[column]
            state = got.argmax(axis=1)
            reached = got[rows[:, 0], state]
            better = reached > top
            top = np.where(better, reached, top)
            top_place[better] = np.stack([np.full(bins, len(levels) - 1), state], axis=1)[better]

        def packing(n: int) -> tuple[list[int], list[int]]:
            """The entries, and the columns of the bin's items."""
            depth, state = top_place[n].tolist()
            chosen, columns = [], []
            for parent, column in reversed(levels[: depth + 1]):
                place = int(column[n, state])
                chosen.append(int(entry[n, place]))
                columns.append(int(order[n, group[place]]))
                state = parent[n, state]
            return chosen, columns

        return packing, top
