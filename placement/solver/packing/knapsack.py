"""The most valuable packings of one bin, and a value that provably none exceeds.

Entries e = (item g, option) of one bin type, values v[g] and needs w[e,r], all integers. Packings
grow item by item in a fixed order, breadth first, as rows of NumPy arrays. With any weights y >= 0
on the resources, what a partial packing with `rem` left can still reach is at most

    value + y·rem + sum over later items g of count[g] · max(0, max_e v[g] - y·w[e])   and
    value + rho · y·rem,  rho the greatest v[g] / y·w[e] of later entries.

Where more packings are alive than `width`, those with the least bound are dropped; the greatest
bound of a dropped one stays in the upper bound, which is thus exact however much was dropped. All
of it is integer arithmetic in int64: values are scaled by 2^14, ratios by 2^12, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.solver.result import Deadline

FINE = 14  # bits by which values are scaled, so that whole-numbered weights y are fine enough
RATIO = 12  # bits of rho
STEEP = 1 << 20  # ratios from here on bound nothing
LARGEST_VALUE = 10**7  # of a bin: 10^7 · 2^14 · 2^12 · some slack stays below 2^63
LOOKED = 200  # entries that a narrow search looks at, and 8 times its width
CELLS = 1_000_000  # states times entries looked at in one go


@dataclass(frozen=True)
class Entries:
    """The options of one bin type, those of one item side by side."""

    capacity: Any  # (R,)
    needs: Any  # (E, R)
    owner: Any  # (E,): the item
    option: Any  # (E,): its option


@dataclass(frozen=True)
class Found:
    """Packings as lists of entries, the most valuable first, and the proven upper bound."""

    packings: list[list[int]]
    values: list[int]
    upper: int


@dataclass(frozen=True)
class _Level:
    parent: Any
    entry: Any
    value: Any


def weights(entries: Entries, values: Any, counts: Any, start: Any, steps: int = 40) -> Any:
    """Weights y per resource that make the bound of the empty bin small: a subgradient search."""
    live = np.flatnonzero((values[entries.owner] > 0) & (counts[entries.owner] > 0))
    if not len(live):
        return start
    owner = entries.owner[live]
    firsts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    value = values[owner].astype(float)
    room = np.maximum(entries.capacity, 1).astype(float)
    needs = entries.needs[live] / room
    count = counts[owner[firsts]].astype(float)
    y = np.maximum(start * room, 0.0)
    best, best_y = np.inf, y
    size = max(float(y.sum()), 1e-9)
    for step in range(steps):
        profit = value - needs @ y
        most = np.maximum.reduceat(profit, firsts)
        total = float(y.sum() + (count * np.maximum(most, 0)).sum())
        if total < best:
            best, best_y = total, y
        chosen = (profit >= np.repeat(most, np.diff(np.r_[firsts, len(live)]))) & (profit > 0)
        slope = 1.0 - (needs * (chosen * counts[owner])[:, None]).sum(axis=0)
        norm = float(np.abs(slope).max())
        if norm < 1e-9:
            break
        y = np.maximum(0.0, y - slope / norm * size * 0.3 * 0.88**step)
    return best_y / room


def search(
    entries: Entries,
    values: Any,
    counts: Any,
    above: int,
    y: Any,
    width: int,
    most: int,
    diverse: bool = True,
    deadline: Deadline | None = None,
) -> Found:
    """Packings worth more than `above`: at most `most`, and no more copies than `counts`.

    The upper bound is at least `above`; `diverse` keeps only packings with an item that no better
    one has.
    """
    owner = entries.owner
    live = np.flatnonzero(
        (values[owner] > 0) & (counts[owner] > 0) & (entries.needs <= entries.capacity).all(axis=1)
    )
    none = Found([], [], max(above, 0))
    if not len(live):
        return none
    fine = np.maximum(0, np.round(np.asarray(y) * (1 << FINE))).astype(np.int64)
    # Weights that make y·capacity overflow bound nothing sensible: leave them out.
    limit = LARGEST_VALUE << (FINE + 2)
    fine = np.where(fine > limit // np.maximum(entries.capacity, 1), 0, fine)
    floor = above << FINE
    needs, value = entries.needs[live], values[owner[live]] << FINE
    cost = needs @ fine
    profit = value - cost
    firsts = np.flatnonzero(np.r_[True, np.diff(owner[live]) != 0])
    sizes = np.diff(np.r_[firsts, len(live)])
    gain = np.maximum(0, np.maximum.reduceat(profit, firsts))
    count = counts[owner[live][firsts]]
    whole = int(entries.capacity @ fine) + int((gain * count).sum())
    if whole <= floor:
        return none
    # What a packing with this entry is worth at most.
    with_it = whole - np.repeat(gain, sizes) + profit
    keep = np.flatnonzero(with_it > floor)
    looked = LOOKED + 8 * width
    upper = floor
    if len(keep) > looked:
        first = np.argsort(-with_it[keep], kind="stable")
        upper = int(with_it[keep[first[looked]]])
        keep = np.sort(keep[first[:looked]])
    live, needs, value, cost, profit = (
        live[keep], needs[keep], value[keep], cost[keep], profit[keep],
    )  # fmt: skip
    if not len(live):
        return none
    ratio = np.minimum(STEEP, -((-value << RATIO) // np.maximum(cost, 1)))
    items, group = np.unique(owner[live], return_inverse=True)
    best_ratio = np.zeros(len(items), np.int64)
    np.maximum.at(best_ratio, group, ratio)
    rank = np.empty(len(items), np.int64)
    rank[np.argsort(-best_ratio, kind="stable")] = np.arange(len(items))
    order = np.lexsort((-ratio, rank[group]))
    live, needs, value, profit, ratio = (
        live[order], needs[order], value[order], profit[order], ratio[order],
    )  # fmt: skip
    group = rank[group][order]
    firsts = np.flatnonzero(np.r_[True, np.diff(group) != 0])
    gain = np.maximum(0, np.maximum.reduceat(profit, firsts))
    count = counts[owner[live][firsts]].astype(np.int64)
    later = np.r_[np.cumsum((gain * count)[::-1])[::-1], 0]
    # An entry's later ones include itself: of equal items more may follow.
    steep = np.maximum.accumulate(ratio[::-1])[::-1]
    numbers = np.arange(len(live))

    rem = entries.capacity[None, :].astype(np.int64)
    got = np.zeros(1, np.int64)
    last = np.full(1, -1)
    used = np.zeros(1, np.int64)
    levels: list[_Level] = []
    while len(got):
        parts = []
        chunk = max(1, CELLS // len(live))
        for start in range(0, len(got), chunk):
            if deadline is not None and (start or levels) and deadline.left_s <= 0:
                return Found([], [], max(above, -(-whole >> FINE)))
            stop = start + chunk
            before = last[start:stop, None]
            may = numbers[None, :] >= before
            for r in range(needs.shape[1]):
                may &= needs[None, :, r] <= rem[start:stop, r, None]
            state, entry = np.nonzero(may)
            state += start
            same = (last[state] >= 0) & (group[last[state]] == group[entry])
            times = np.where(same, used[state] + 1, 1)
            # rem may shrink fast, the bounds come first for those that the count allows
            allowed = times <= count[group[entry]]
            state, entry, times = state[allowed], entry[allowed], times[allowed]
            new_rem = rem[state] - needs[entry]
            new_got = got[state] + value[entry]
            free = new_rem @ fine
            here = group[entry]
            bound = np.minimum(
                new_got + free + (count[here] - times) * gain[here] + later[here + 1],
                np.where(
                    steep[entry] >= STEEP,
                    np.iinfo(np.int64).max,
                    new_got + ((free * np.minimum(steep[entry], STEEP)) >> RATIO) + 1,
                ),
            )
            good = bound > floor
            parts.append(
                (state[good], entry[good], times[good], new_rem[good], new_got[good], bound[good])
            )
        state, entry, times, rem, got, bound = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        if len(got) > width:
            chosen = np.argsort(-bound, kind="stable")
            upper = max(upper, int(bound[chosen[width]]))
            chosen = chosen[:width]
            state, entry, times, rem, got = (
                state[chosen], entry[chosen], times[chosen], rem[chosen], got[chosen],
            )  # fmt: skip
        levels.append(_Level(state, entry, got))
        last, used = entry, times
    found = _read(levels, live, owner, floor, most, diverse)
    best = found[1][0] if found[1] else above
    return Found(*found, max(above, best, -(-upper >> FINE)))


def _read(
    levels: list[_Level], live: Any, owner: Any, floor: int, most: int, diverse: bool
) -> tuple[list[list[int]], list[int]]:
    values, places = [], []
    for depth, level in enumerate(levels):
        good = np.flatnonzero(level.value > floor)
        values.append(level.value[good])
        places.append(np.stack([np.full(len(good), depth), good], axis=1))
    value, place = np.concatenate(values), np.concatenate(places)
    packings: list[list[int]] = []
    worth: list[int] = []
    seen: set[int] = set()
    for number in np.argsort(-value, kind="stable")[: 20 * most]:
        depth, row = place[number]
        packing = []
        for level in reversed(levels[: depth + 1]):
            packing.append(int(live[level.entry[row]]))
            row = level.parent[row]
        items = {int(owner[entry]) for entry in packing}
        if diverse and items <= seen:
            continue
        seen |= items
        packings.append(packing)
        worth.append(int(value[number]) >> FINE)
        if len(packings) == most:
            break
    return packings, worth


def best_by_sizes(entries: Entries, values: Any, counts: Any) -> tuple[list[int], int]:
    """One resource: a most valuable packing and its value, by dynamic programming over sizes."""
    capacity = int(entries.capacity[0])
    reach = np.zeros(capacity + 1, np.int64)
    taken: list[tuple[list[tuple[int, int]], list[Any]]] = []
    live = np.flatnonzero((values[entries.owner] > 0) & (counts[entries.owner] > 0))
    for item in np.unique(entries.owner[live]):
        # Copies one by one where options differ; by powers of two where there is but one option.
        mine = live[entries.owner[live] == item]
        left = int(counts[item])
        times = 1
        while left > 0:
            times = min(times, left)
            left -= times
            choices, marks = [], []
            before = reach
            for entry in mine:
                size = int(entries.needs[entry, 0]) * times
                if size > capacity:
                    continue
                new = before[: capacity + 1 - size] + int(values[item]) * times
                better = np.zeros(capacity + 1, bool)
                better[size:] = new > reach[size:]
                if not better.any():
                    continue
                reach = reach.copy() if reach is before else reach
                reach[size:] = np.maximum(reach[size:], new)
                choices.append((int(entry), times))
                marks.append(better)
            if choices:
                taken.append((choices, marks))
            elif int(entries.needs[mine, 0].min()) * times > capacity:
                break
            if len(mine) == 1:
                times *= 2
    room = capacity
    packing: list[int] = []
    for choices, marks in reversed(taken):
        for (entry, times), better in zip(reversed(choices), reversed(marks), strict=True):
            if better[room]:  # the last that improved is what `reach` holds
                packing += [entry] * times
                room -= int(entries.needs[entry, 0]) * times
                break
    return packing, int(reach[capacity])
