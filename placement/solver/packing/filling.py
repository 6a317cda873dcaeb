"""One bin after the other, each filled as well as a narrow search can.

Sequential value correction (Belov and Scheithauer, "Setup and open-stacks minimization ...", 2007,
and earlier): a bin takes the packing of most value; items that ended up in bins with much room left
are worth more in the next pass.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.solver.packing.batch import fill_batches
from placement.solver.packing.instance import Packing
from placement.solver.packing.knapsack import Entries, search
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

LEARNING = 0.8  # of what a bin lacks, the part by which its items gain value
WINDOW = 240  # items looked at for one bin: the most valuable quarter, the rest evenly
MANY = 4000  # items from which many bins are filled at once


def fill(
    table: Table,
    values: Any,
    rest: Any,
    left: list[int | None],
    weights: list[Any],
    random: np.random.Generator,
    deadline: Deadline,
    width: int = 12,
    window: int = WINDOW,
) -> list[Packing] | None:
    """Bins for `rest` (copies per item); None past the bins or the time.

    `values` rank the items, `weights` are those per resource and bin type for the narrow search,
    `left` the bins of each type that may still be used.
    """
    rest, left = rest.copy(), list(left)
    bins: list[Packing] = []
    order = np.argsort(-values, kind="stable")
    order = order[rest[order] > 0]
    if len(order) > MANY:
        batched = fill_batches(table, values, rest, left, weights, random, deadline, width, window)
        if batched is None:
            return None
        bins += batched
        order = order[rest[order] > 0]
    while len(order):
        if deadline.left_s <= 0:
            return None
        items = order
        if len(order) > window:
            # Every so manieth, from a random start, so that all sizes are there.
            first = window // 4
            step = (len(order) - first) / (window - first)
            places = random.uniform(0, step) + step * np.arange(window - first)
            others = order[first + np.minimum(places.astype(int), len(order) - first - 1)]
            items = np.concatenate([order[:first], others])
        items = np.unique(items)
        best: tuple[float, int, list[int]] | None = None
        for kind, entries in enumerate(table.entries):
            if left[kind] == 0:
                continue
            rows = table.rows(kind, items)
            part = Entries(
                entries.capacity, entries.needs[rows], entries.owner[rows], entries.option[rows]
            )
            found = search(part, values, rest, 0, weights[kind], width, 1)
            if not found.packings:
                continue
            price = table.instance.bins[kind].price
            rate = found.values[0] / price if price else float("inf")
            if best is None or rate > best[0]:
                best = rate, kind, [int(e) for e in rows[found.packings[0]]]
        if best is None:
            return None
        _, kind, chosen = best
        chosen = _closed(table.entries[kind], chosen, rest, table.rows(kind, items))
        # Copies are many at times: the same bin once more, as often as it can be.
        inside, need = np.unique(table.entries[kind].owner[chosen], return_counts=True)
        times = int((rest[inside] // need).min())
        number = left[kind]
        if number is not None:
            times = min(times, number)
            left[kind] = number - times
        rest[inside] -= times * need
        order = order[rest[order] > 0]
        bins += [table.packing(kind, chosen)] * times
    return bins


def _closed(entries: Entries, chosen: list[int], rest: Any, rows: Any) -> list[int]:
    """The packing with what else of these rows fits: items without value, or left by the search."""
    chosen = list(chosen)
    room = entries.capacity - entries.needs[chosen].sum(axis=0)
    inside = Counter(entries.owner[chosen].tolist())
    candidates = rows[(entries.needs[rows] <= room).all(axis=1)]
    if not len(candidates):
        return chosen
    size = (entries.needs[candidates] / np.maximum(entries.capacity, 1)).sum(axis=1)
    for entry in candidates[np.argsort(-size, kind="stable")].tolist():
        item = int(entries.owner[entry])
        while rest[item] > inside[item] and (entries.needs[entry] <= room).all():
            chosen.append(entry)
            room = room - entries.needs[entry]
            inside[item] += 1
    return chosen


@dataclass
class Values:
    """Item values between passes: raised where bins stayed empty, with a little noise."""

    sizes: Any  # surrogate sizes, in units of item values
    power: float = 1.0  # above 1, large items first, passes began 5 % worse
    correction: Any = None

    def next(self, random: np.random.Generator, noise: float) -> Any:
        """Values for the next pass, as integers."""
        top = max(1, int(self.sizes.max()))
        value = (np.maximum(self.sizes, 1) / top) ** self.power
        if self.correction is not None:
            value = value * self.correction
        value = value * random.uniform(1 - noise, 1 + noise, len(value))
        # Sums over a bin stay near its price: what the search can hold in 64 bits.
        scale = top / max(float(value.max()), 1e-12)
        return np.maximum(1, value * scale).astype(np.int64)

    def learn(self, table: Table, bins: list[Packing]) -> None:
        """Raise what lies in bins that hold little."""
        held: list[float] = []
        for packing in bins:
            worth = max(1, table.worth(packing.bin))
            held.append(sum(int(self.sizes[i]) for i, _ in packing.contents) / worth)
        correction = np.ones(len(self.sizes)) if self.correction is None else self.correction
        for part, packing in zip(held, bins, strict=True):
            for i, _ in packing.contents:
                raised = 1.0 / max(part, 0.5)
                correction[i] = correction[i] * (1 + LEARNING * (raised - 1))
        self.correction = np.clip(correction / correction.mean(), 0.7, 1.5)
