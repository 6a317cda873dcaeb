"""The bound by numbers: where no bin holds more than k items, n of them take n / k bins.

Sums of sizes see little of it: items of more than a third of a bin in one resource or another, by
turns, go by twos, though they fill but two fifths of the bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.generation import WIDTHS
from placement.solver.packing.knapsack import search as knapsack
from placement.solver.packing.progress import Progress

ITEM = 1000  # the value of each, which leaves room for a bound between two numbers
MOST = 4  # items in a bin up to which that can soon be told


def count(search: Progress, y: list[Any]) -> None:
    """Raise the bound, where one bin type holds too few items for it to be reached."""
    table = search.table
    price = table.instance.bins[0].price
    if len(table.entries) > 1 or price == 0 or search.bound < price:
        return
    items, bins = int(table.counts.sum()), search.bound // price
    fewer = -(-items // bins) - 1  # in each bin, and the bound is not reached
    if not 0 < fewer <= MOST:
        return
    values = np.full(len(table.counts), ITEM, np.int64)
    for width in WIDTHS:
        if search.deadline.left_s <= 0:
            return
        found = knapsack(
            table.entries[0], values, table.counts, fewer * ITEM, y[0], width, 1,
            deadline=search.deadline,
        )  # fmt: skip
        if found.packings:
            return
        if found.upper < (fewer + 1) * ITEM:
            search.raise_bound(-(-items // fewer) * price)
            return
