"""A few bins packed anew with one bin less, until the bound or the deadline.

Where little may be wasted, all packings that can take part (see `listing.py`) are found by one
search; else the most valuable. CP-SAT covers the items from the list.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.cover import cover
from placement.solver.packing.instance import Packing, price_of
from placement.solver.packing.knapsack import search, weights
from placement.solver.packing.listing import least_values
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

LISTED = 6000  # packings of a neighbourhood that are looked at
MOST = 150  # items of a neighbourhood
WORK_S = 3.0  # CP-SAT's deterministic time for one


def repack(
    table: Table,
    bins: list[Packing],
    values: Any,
    most: list[int],
    y: list[Any],
    random: np.random.Generator,
    items: int,
    deadline: Deadline,
) -> tuple[list[Packing], bool]:
    """The bins with some of them packed anew, and whether their price fell."""
    chosen = _choose(table, bins, values, random, items)
    old = [bins[n] for n in chosen]
    kept = [packing for n, packing in enumerate(bins) if n not in chosen]
    counts = np.zeros(len(table.counts), np.int64)
    for packing in old:
        for i, _ in packing.contents:
            counts[i] += 1
    target = price_of(table.instance, old) - table.instance.step()
    least = least_values(table, values, most, counts, target)
    if least is not None and not least:
        return bins, False  # no packing of these at that price
    left = _left(table, kept)
    columns: list[Packing] = []
    for kind, entries in enumerate(table.entries):
        if left[kind] == 0:
            continue
        above = max(0, least[kind] - 1) if least else 0
        tight = weights(entries, values, counts, y[kind], 15)
        found = search(entries, values, counts, above, tight, LISTED, LISTED, False, deadline)
        columns += [table.packing(kind, packing) for packing in found.packings]
    columns += old
    seed = int(random.integers(1 << 30))
    new = cover(table, counts, left, columns, target, deadline, seed, WORK_S).bins
    return (bins, False) if new is None else ([*kept, *new], True)


def _left(table: Table, bins: list[Packing]) -> list[int | None]:
    used = [0] * len(table.entries)
    for packing in bins:
        used[packing.bin] += 1
    return [
        None if kind.available is None else kind.available - number
        for kind, number in zip(table.instance.bins, used, strict=True)
    ]


def _choose(
    table: Table, bins: list[Packing], values: Any, random: np.random.Generator, items: int
) -> set[int]:
    """Bins with about so many items: more likely those that hold little for their price."""
    waste = np.asarray(
        [table.worth(p.bin) - sum(int(values[i]) for i, _ in p.contents) for p in bins],
        float,
    )
    keys = waste / max(1.0, float(np.abs(waste).max())) + random.uniform(0, 0.7, len(bins))
    chosen: set[int] = set()
    held, wasted = 0, 0.0
    spare = float(table.instance.step() * table.value_of_money)  # what has to be saved
    for n in np.argsort(-keys, kind="stable"):
        chosen.add(int(n))
        held += len(bins[n].contents)
        wasted += waste[n]
        if held >= items and (wasted >= spare or held >= MOST):
            break
    return chosen
