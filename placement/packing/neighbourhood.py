"""A few bins packed anew with one bin less, until the bound or the deadline.

With item values of which no bin of type b holds more than z[b], scaled so that this is its price,
the bins of a packing at the target price leave unused, together, the price less the items' value.
So none leaves more than that, and all packings that can take part are listed by one search where
little may be wasted (perfect packings: next to nothing). CP-SAT covers the items from the list.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from placement.packing.cover import cover
from placement.packing.instance import Packing, price_of
from placement.packing.knapsack import search, weights
from placement.packing.table import Table
from placement.result import Deadline

LISTED = 6000  # packings of a neighbourhood that are looked at
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
    known: list[Packing] = [],  # noqa: B006  # never written to
) -> tuple[list[Packing], bool]:
    """The bins with some of them packed anew, and whether their price fell."""
    chosen = _choose(table, bins, values, random, items)
    old = [bins[n] for n in chosen]
    kept = [packing for n, packing in enumerate(bins) if n not in chosen]
    counts = np.zeros(len(table.counts), np.int64)
    for packing in old:
        for i, _ in packing.contents:
            counts[i] += 1
    step = table.instance.step()
    paid = price_of(table.instance, old)
    target = paid - step
    money = table.value_of_money
    scale = max(
        (
            z / (kind.price * money)
            for z, kind in zip(most, table.instance.bins, strict=True)
            if kind.price
        ),
        default=Fraction(1),
    )
    slack = int(scale * target * money) - int((values * counts).sum())
    if slack < 0:
        return bins, False  # no packing of these at that price
    left = _left(table, kept)
    columns: list[Packing] = []
    for kind, entries in enumerate(table.entries):
        if left[kind] == 0:
            continue
        price = table.instance.bins[kind].price
        above = max(0, int(scale * price * money) - slack - 1)
        tight = weights(entries, values, counts, y[kind], 15)
        found = search(entries, values, counts, above, tight, LISTED, LISTED, False, deadline)
        columns += [table.packing(kind, packing) for packing in found.packings]
    columns += [p for p in known if all(counts[i] >= 1 for i, _ in p.contents)]
    columns += old
    new = cover(
        table, counts, left, columns, target, deadline, int(random.integers(1 << 30)), WORK_S
    )
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
    held = 0
    for n in np.argsort(-keys, kind="stable"):
        chosen.add(int(n))
        held += len(bins[n].contents)
        if held >= items:
            break
    return chosen
