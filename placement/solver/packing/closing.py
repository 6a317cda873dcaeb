"""All packings that the bound leaves are listed, and bins chosen among them: found, or proven.

Where no choice of them holds all copies at the price of the bound, the bound is one step higher.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.cover import cover, cover_many
from placement.solver.packing.instance import Packing
from placement.solver.packing.listing import least_values, listed
from placement.solver.packing.progress import Progress
from placement.solver.packing.table import Table

COLUMNS = 30_000  # packings from which HiGHS chooses
FULL = 0.999  # part of a bin's value above which bins are full
WORK_S = 15.0  # CP-SAT's own time
FIRST_S = 3.0  # the same before HiGHS is asked


def close(search: Progress, values: Any, most: list[int], y: list[Any]) -> None:
    """Offer bins at the price of the bound, or raise it, where that can be decided.

    Of the item values no bin of type b holds more than most[b].
    """
    table = search.table
    least = least_values(table, values, most, table.counts, search.bound)
    if not least:
        return
    counts = np.where(values > 0, table.counts, 0)  # fewer items are never dearer
    full = all(v > FULL * z for v, z in zip(least, most, strict=True))
    columns: list[Packing] = []
    for kind, entries in enumerate(table.entries):
        packings = listed(
            entries, values, counts, least[kind], y[kind], search.deadline, finished=not full
        )
        if packings is None:
            return
        columns += [table.packing(kind, packing) for packing in packings]
    if len(columns) > COLUMNS:
        return
    part, seed = search.deadline.part(0.6), search.seed
    if full:
        found = cover(
            table, counts, search.left, columns, search.bound, part, seed, FIRST_S, once=True
        )
    if not full or (found.bins is None and not found.impossible):
        found = cover_many(table, counts, search.left, columns, search.bound, part, seed, WORK_S)
    if found.impossible:
        search.raise_bound(search.bound + search.step)
    elif found.bins is not None:
        search.offer(_with_the_rest(table, found.bins, values), "all packings that matter")


def _with_the_rest(table: Table, bins: list[Packing], values: Any) -> list[Packing] | None:
    """The bins with the items that have no value put where they fit best; None without room."""
    bins = list(bins)
    room = [
        np.asarray(table.instance.bins[p.bin].capacity)
        - np.sum([table.instance.items[i].options[k].needs for i, k in p.contents], axis=0)
        for p in bins
    ]
    ways: dict[int, list[tuple[int, int, Any]]] = {
        int(i): [] for i in np.flatnonzero((values <= 0) & (table.counts > 0))
    }
    for b, entries in enumerate(table.entries):
        for i, k, needs in zip(
            entries.owner.tolist(), entries.option.tolist(), entries.needs, strict=True
        ):
            if i in ways:
                ways[i].append((b, k, needs))
    for i in sorted(ways, key=lambda i: -max(int(needs.sum()) for _, _, needs in ways[i])):
        for _ in range(int(table.counts[i])):
            fits = [
                (int((free - needs).sum()), n, k)
                for n, free in enumerate(room)
                for b, k, needs in ways[i]
                if b == bins[n].bin and (needs <= free).all()
            ]
            if not fits:
                return None
            _, n, k = min(fits)
            bins[n] = Packing(bins[n].bin, (*bins[n].contents, (i, k)))
            room[n] = room[n] - np.asarray(table.instance.items[i].options[k].needs)
    return bins
