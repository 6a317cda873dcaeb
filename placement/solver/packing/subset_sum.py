"""Bins of one resource, each filled to the brim where its items can do that.

Which sums the items can make is one integer, a bit for each sum, which grows by a shift for each
item. Read from the back it tells items that make a wanted sum, by preference large ones, so that
the small ones stay for the last bins. Where many items go into a bin, most bins can be filled
exactly, and a pass takes milliseconds (the minimum bin slack of J. N. D. Gupta and J. C. Ho, "A new
heuristic algorithm for the one-dimensional bin-packing problem", 1999, found by sums).
"""

from __future__ import annotations

import random

from placement.solver.packing.instance import Packing
from placement.solver.packing.progress import Progress
from placement.solver.packing.table import Table

CAPACITY = 100_000  # bits of a mask
ITEMS = 2000
PASSES = 200
PREFERENCES = (1.0, 0.9, 0.7, 0.5)  # chance that the larger item is taken where both ways lead on
SHARE = 0.05  # of the time


def applies(table: Table) -> bool:
    """Whether there is one resource, one bin type, one option for each item, and not too much."""
    return (
        len(table.entries) == 1
        and len(table.entries[0].capacity) == 1
        and 0 < int(table.entries[0].capacity[0]) <= CAPACITY
        and int(table.counts.sum()) <= ITEMS
        and len(table.entries[0].owner) == len(table.counts)
    )


def fill_up(search: Progress) -> None:
    """Offer bins as few as the bound, if a pass finds them."""
    table = search.table
    entries, price = table.entries[0], table.instance.bins[0].price
    if not price or not applies(table):
        return
    capacity, most = int(entries.capacity[0]), search.bound // price
    if search.left[0] is not None:
        most = min(most, search.left[0])
    sizes = entries.needs[:, 0].tolist()
    ascending = sorted(
        (e for e, owner in enumerate(entries.owner) for _ in range(int(table.counts[owner]))),
        key=lambda e: sizes[e],
    )
    draw = random.Random(search.seed)
    part = search.deadline.part(SHARE)
    for number in range(PASSES):
        if search.over or part.left_s <= 0:
            return
        chance = PREFERENCES[number % len(PREFERENCES)]
        bins = _one_pass(sizes, ascending, capacity, most, chance, draw)
        if bins is not None:
            packings: list[Packing] = [table.packing(0, chosen) for chosen in bins]
            search.offer(packings, "filling to the brim")
            return


def _one_pass(
    sizes: list[int], ascending: list[int], capacity: int, most: int, chance: float,
    draw: random.Random,
) -> list[list[int]] | None:  # fmt: skip
    """At most so many bins for the entries, which come in ascending order of size."""
    rest, left = ascending, sum(sizes[e] for e in ascending)
    slack = most * capacity - left
    bins = []
    within = (1 << (capacity + 1)) - 1
    while left > capacity:
        sums, mask = [1], 1  # of the first so many of the rest
        for e in rest:
            mask |= (mask << sizes[e]) & within
            sums.append(mask)
        wanted = mask.bit_length() - 1
        slack -= capacity - wanted
        if slack < 0:
            return None
        left -= wanted
        chosen, kept = [], []
        for before, e in zip(reversed(sums[:-1]), reversed(rest), strict=True):
            size = sizes[e]
            with_it = size <= wanted and before >> (wanted - size) & 1
            without = before >> wanted & 1
            if with_it and (not without or draw.random() < chance):
                chosen.append(e)
                wanted -= size
            else:
                kept.append(e)
        rest = kept[::-1]
        bins.append(chosen)
    return [*bins, rest]
