"""Best fit: item by item, the bulkiest first, each into the open bin that it leaves least room in.

The answer that is there at once: what a slower search improves on, or falls back to in time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.instance import Packing
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

CHEAPEST = 4  # options looked at for an item in open bins, those of least surrogate size
PART = 1000  # copies that are placed at once; of more, every so manieth, which keeps all sizes


def best_fit(
    table: Table,
    sizes: Any,
    rest: Any,
    left: list[int | None],
    weights: list[Any],
    deadline: Deadline,
) -> list[Packing] | None:
    """Bins for the copies `rest`; None where the bins of a type, or the time, run out.

    `sizes` rank the items; `weights` are those per bin type and resource that make one size of
    needs, in money, so that sizes compare across bin types. Many copies are placed in parts, on
    bins of their own, so that the time grows as their number does.
    """
    cost = [e.needs @ np.asarray(w, float) for e, w in zip(table.entries, weights, strict=True)]
    choices: dict[int, list[tuple[float, int, int]]] = {}
    for b, entries in enumerate(table.entries):
        for e, (i, size) in enumerate(zip(entries.owner.tolist(), cost[b].tolist(), strict=True)):
            choices.setdefault(i, []).append((size, b, e))
    order = np.argsort(-sizes, kind="stable")
    copies = int(rest.sum())
    if copies <= 2 * PART or any(number is not None for number in left):
        return _placed(table, choices, order, rest, left, weights, deadline)
    copy = np.repeat(order, rest[order])
    found: list[Packing] = []
    parts = copies // PART
    for number in range(parts):
        mine, times = np.unique(copy[number::parts], return_counts=True)
        part = np.zeros_like(rest)
        part[mine] = times
        items = order[part[order] > 0]
        bins = _placed(table, choices, items, part, left, weights, deadline)
        if bins is None:
            return None
        found += bins
    return found


def _placed(
    table: Table,
    choices: dict[int, list[tuple[float, int, int]]],
    order: Any,
    rest: Any,
    left: list[int | None],
    weights: list[Any],
    deadline: Deadline,
) -> list[Packing] | None:
    bins = table.instance.bins
    capacity = [np.maximum(e.capacity, 0).astype(np.int64) for e in table.entries]
    room = [np.empty((64, len(c)), np.int64) for c in capacity]
    used = [0] * len(bins)
    inside: list[list[list[int]]] = [[] for _ in bins]
    placed = 0
    for i in order.tolist():
        ways = sorted(choices.get(i, ()))
        for _ in range(int(rest[i])):
            placed += 1
            if placed % 1000 == 0 and deadline.left_s <= 0:
                return None
            best: tuple[float, int, int, int] | None = None
            for size, b, e in ways[:CHEAPEST] if any(used) else []:
                if not used[b]:
                    continue
                free = room[b][: used[b]] - table.entries[b].needs[e]
                fits = np.flatnonzero((free >= 0).all(axis=1))
                if not len(fits):
                    continue
                spare = free[fits] @ np.asarray(weights[b], float)
                n = int(np.argmin(spare))
                score = float(spare[n]) + size  # a wasteful option must earn its waste
                if best is None or score < best[0]:
                    best = score, b, e, int(fits[n])
            if best is None:
                new = _opened(ways, used, left)
                old = None if new else _anywhere(table, ways, used, room)
                if new:
                    b, e = new
                    n = used[b]
                    used[b] += 1
                    if n == len(room[b]):
                        room[b] = np.concatenate([room[b], np.empty_like(room[b])])
                    room[b][n] = capacity[b]
                    inside[b].append([])
                elif old:
                    b, e, n = old
                else:
                    return None
            else:
                _, b, e, n = best
            room[b][n] -= table.entries[b].needs[e]
            inside[b][n].append(e)
    return [table.packing(b, chosen) for b, lists in enumerate(inside) for chosen in lists]


def _opened(
    ways: list[tuple[float, int, int]], used: list[int], left: list[int | None]
) -> tuple[int, int] | None:
    """The cheapest way in a new bin that may still be used."""
    for _, b, e in ways:
        available = left[b]
        if available is None or used[b] < available:
            return b, e
    return None


def _anywhere(
    table: Table, ways: list[tuple[float, int, int]], used: list[int], room: list[Any]
) -> tuple[int, int, int] | None:
    """Any way into an open bin, where no new bin may be used."""
    for _, b, e in ways[CHEAPEST:]:
        fits = np.flatnonzero((room[b][: used[b]] >= table.entries[b].needs[e]).all(axis=1))
        if len(fits):
            return b, e, int(fits[0])
    return None
